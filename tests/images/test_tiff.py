"""TIFF of all layouts, against tifffile as an independent reader or against the samples that were packed by hand."""

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from handmade import ADOBE_RGB, saved
from PIL import Image as Pil

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import read

HEIGHT, WIDTH = 40, 37
NOTE = "its samples of more than 8 bits became 8 bits"


def ramps(channels: int, bits: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    shapes = [x * 3 + y * 3, x * 4 + 40 - y, y * 5 + x, 255 - x * 2 - y]
    levels = np.clip(np.stack(shapes[:channels], axis=-1), 0, 255) / 255
    return np.round(levels * ((1 << bits) - 1)).astype(np.uint8 if bits <= 8 else np.uint16)


def tiff(samples: np.ndarray, *, planar: bool = False, photometric: str = "", **options: Any) -> bytes:
    channels = samples.shape[2]
    kind = photometric or {1: "minisblack", 2: "minisblack", 3: "rgb", 4: "rgb"}[channels]
    if channels == 2 or (channels == 4 and kind == "rgb"):
        options["extrasamples"] = ["unassalpha"]
    data = np.ascontiguousarray(np.moveaxis(samples, 2, 0)) if planar else samples if channels > 1 else samples[:, :, 0]
    if channels > 1:
        options["planarconfig"] = "separate" if planar else "contig"
    output = io.BytesIO()
    tifffile.imwrite(output, data, photometric=kind, **options)
    return output.getvalue()


def shown(data: bytes) -> np.ndarray:
    """Pixels and alpha of what is read, 0..1."""
    image = read(data)
    channels = image.pixels[:, :, :1] if image.grey else image.pixels
    return (channels if image.alpha is None else np.dstack([channels, image.alpha])) / 255


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 16)}], ids=["one", "strips", "tiles"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_every_layout_gives_the_same_picture(order, planar, channels, bits, layout, compression) -> None:
    if planar and channels == 1:
        return
    samples = ramps(channels, bits)
    data = tiff(samples, planar=planar, byteorder=order, compression=compression, **layout)
    assert np.abs(shown(data) - samples / ((1 << bits) - 1)).max() < 1 / 255
    assert (NOTE in read(data).notes) == (bits == 16)
    if channels != 2 or bits == 8:  # alike, byte by byte, whatever the layout
        usual = tiff(samples, byteorder="<", compression="zlib")
        assert np.array_equal(shown(data), shown(usual))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero(order, bits, compression) -> None:
    samples = ramps(1, bits)
    data = tiff(samples, photometric="miniswhite", byteorder=order, compression=compression)
    assert np.abs(shown(data) - (1 - samples / ((1 << bits) - 1))).max() <= 0.51 / 255


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_cmyk_of_16_bits(planar, order) -> None:
    samples = ramps(4, 16)
    data = tiff(samples, planar=planar, photometric="separated", byteorder=order)
    levels = samples / 65535
    wanted = (1 - levels[:, :, :3]) * (1 - levels[:, :, 3:])
    assert np.abs(read(data).pixels / 255 - wanted).max() <= 2 / 255


# Samples of other numbers of bits, packed by hand


def packed(samples: np.ndarray, bits: int, order: str, *, photometric: int = 1, rows: int = 40) -> bytes:
    """Uncompressed strips whose rows begin on whole bytes (TIFF 6.0)."""
    height, width, channels = samples.shape
    strips = []
    for top in range(0, height, rows):
        strip = samples[top : top + rows].reshape(-1, width * channels)
        ones = (strip[:, :, None] >> np.arange(bits - 1, -1, -1, dtype=np.uint16)) & 1
        strips.append(np.packbits(ones.reshape(len(strip), -1).astype(np.uint8), axis=1).tobytes())
    tags = {258: (3, (bits,) * channels), 262: (3, (photometric,)), 277: (3, (channels,))}
    extra = {338: (3, (2,))} if channels in (2, 4) else {}
    return by_tags(order, width, height, strips, {**tags, **extra})


def by_tags(order: str, width: int, height: int, strips: list[bytes], tags: dict[int, tuple[int, Any]]) -> bytes:
    """A TIFF of one page with the tags given: number -> (type, values)."""
    body = b"".join(strips)
    places = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    rows = -(-height // len(strips))
    entries = {
        256: (3, (width,)), 257: (3, (height,)), 259: (3, (1,)), 273: (4, tuple(places)), 278: (3, (rows,)),
        279: (4, tuple(map(len, strips))), **tags,
    }  # fmt: skip
    start = 8 + len(body) + len(body) % 2
    directory, beyond = struct.pack(order + "H", len(entries)), b""
    for number, (kind, values) in sorted(entries.items()):
        code = {1: "B", 2: "c", 3: "H", 4: "I", 7: "B"}[kind]
        content = values if isinstance(values, bytes) else struct.pack(f"{order}{len(values)}{code}", *values)
        count = len(values)
        if len(content) > 4:
            place = start + 2 + 12 * len(entries) + 4 + len(beyond)
            beyond += content + bytes(len(content) % 2)
            content = struct.pack(order + "I", place)
        directory += struct.pack(order + "HHI", number, kind, count) + content.ljust(4, b"\0")
    magic = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 42)
    return magic + struct.pack(order + "I", start) + body + bytes(len(body) % 2) + directory + bytes(4) + beyond


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [9, 10, 12, 14])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [40, 8])
def test_packed_samples(order, bits, channels, rows) -> None:
    samples = ramps(channels, bits)
    data = packed(samples, bits, order, photometric=1 if channels < 3 else 2, rows=rows)
    assert np.abs(shown(data) - samples / ((1 << bits) - 1)).max() <= 0.51 / 255
    assert NOTE in read(data).notes


@pytest.mark.parametrize("bits", [4, 10, 12, 14])
def test_packed_samples_with_white_at_zero(bits) -> None:
    samples = ramps(1, bits)
    wanted = 1 - samples / ((1 << bits) - 1)
    assert np.abs(shown(packed(samples, bits, "<", photometric=0)) - wanted).max() <= 0.51 / 255


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}], ids=["one", "strips", "tiles"])
def test_packed_samples_as_tifffile_packs_them(planar, layout) -> None:
    pytest.importorskip("imagecodecs")
    for channels in (1, 3):
        samples = ramps(channels, 12)
        data = tiff(samples, planar=planar and channels == 3, bitspersample=12, **layout)
        assert np.abs(shown(data) - samples / 4095).max() <= 0.51 / 255


# What has no 8-bit form


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("dtype", "word"),
    [(np.int8, "signed"), (np.int16, "signed"), (np.int32, "signed"), (np.uint32, "32 bits"), (np.float16, "floating"),
     (np.float32, "floating"), (np.float64, "floating")],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_signed_floating_and_wide_samples_are_refused(order, dtype, word, channels) -> None:
    samples = ramps(channels, 8).astype(dtype)
    with pytest.raises(UnsupportedError, match=rf"this kind is not supported: TIFF of .*{word}.* Convert it"):
        read(tiff(samples, photometric="minisblack" if channels == 1 else "rgb", byteorder=order))


def test_samples_of_different_bits_are_refused() -> None:
    tags = {258: (3, (5, 6, 5)), 262: (3, (2,)), 277: (3, (3,))}
    with pytest.raises(InputError, match="not supported"):
        read(by_tags("<", 4, 4, [bytes(64)], tags))


def test_lzw_that_needs_imagecodecs_is_read_or_says_so() -> None:
    """Written by libtiff through Pillow: white at zero, 16 bits."""
    data = bytearray(saved(Pil.fromarray(ramps(1, 16)[:, :, 0]), "TIFF", compression="tiff_lzw"))
    place = data.index(struct.pack("<HHI", 262, 3, 1)) + 8
    data[place] = 0
    try:
        import imagecodecs  # noqa: F401
    except ImportError:
        with pytest.raises(UnsupportedError, match=r"compressed by LZW.*pip install 'kcompress\[tiff\]'"):
            read(bytes(data))
    else:
        assert np.abs(shown(bytes(data)) - (1 - ramps(1, 16) / 65535)).max() <= 0.51 / 255


@pytest.mark.parametrize("bits", [12, 16])
def test_a_cut_page_is_refused(bits) -> None:
    data = packed(ramps(3, bits), bits, ">", photometric=0, rows=8) if bits == 12 else tiff(ramps(3, 16), planar=True)
    place = data.rindex(data[2000:2100])
    with pytest.raises(InputError):
        read(data[: place + 100])


# Pages and tags


def test_each_page_has_its_own_profile_orientation_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    with tifffile.TiffWriter(output) as file:
        tags = [(34675, "B", len(ADOBE_RGB), ADOBE_RGB, True)]
        file.write(np.full((20, 30, 3), 10, np.uint8), photometric="rgb", extratags=tags)
        file.write(np.full((20, 30, 3), 20, np.uint8), photometric="rgb", extratags=[(274, "H", 1, 6, True)])
        file.write(np.full((40, 50, 3), 30, np.uint8), photometric="rgb", extratags=tags)
        file.write(np.full((12, 9), 40 * 257, np.uint16), photometric="miniswhite", extratags=[(274, "H", 1, 6, True)])
        file.write(np.full((8, 8, 3), 50, np.uint8), photometric="rgb")
    pages = [read(output.getvalue(), frame=frame) for frame in range(5)]
    assert [image.icc for image in pages] == [ADOBE_RGB, None, ADOBE_RGB, None, None]
    assert [(image.width, image.height) for image in pages] == [(30, 20), (20, 30), (50, 40), (12, 9), (8, 8)]
    assert [int(image.pixels[0, 0, 0]) for image in pages] == [10, 20, 30, 215, 50]
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "600")
    assert read(output.getvalue(), frame=0).width == 30
    with pytest.raises(InputError, match="50x40 pixels, more than the 600"):
        read(output.getvalue(), frame=2)


@pytest.mark.parametrize("number", [34675, 700, 274, 33723, 34377])
@pytest.mark.parametrize(
    ("kind", "values"), [(2, b"sRGB built\0"), (4, (1, 2, 3, 4)), (3, (9, 8)), (7, b"abc"), (1, b"")]
)
@pytest.mark.parametrize("bits", [8, 12])
def test_tags_of_any_type_end_well(number, kind, values, bits) -> None:
    samples = ramps(3, bits)
    strip = samples.tobytes() if bits == 8 else packed(samples, bits, "<")[8 : 8 + HEIGHT * -(-WIDTH * 3 * bits // 8)]
    tags = {258: (3, (bits,) * 3), 262: (3, (2,)), 277: (3, (3,)), number: (kind, values)}
    image = read(by_tags("<", WIDTH, HEIGHT, [strip], tags), metadata="all")
    assert np.abs(image.pixels / 255 - samples / ((1 << bits) - 1)).max() <= 0.51 / 255
    assert image.icc is None
    if number == 34675 and values:
        assert "its ICC profile is corrupt and was dropped" in image.notes


def test_orientation_of_a_deep_page() -> None:
    samples = ramps(1, 16)
    for orientation in range(1, 9):
        options = {"photometric": "miniswhite", "extratags": [(274, "H", 1, orientation, True)]}
        eight = tiff((samples >> 8).astype(np.uint8), photometric="miniswhite", extratags=options["extratags"])
        deep = read(tiff((samples >> 8) * 257, **options))
        assert np.array_equal(deep.pixels, read(eight).pixels)
