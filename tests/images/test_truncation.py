"""Pictures whose data end early: refused or noted; whole ones never."""

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from handmade import file_of, png, saved
from pictures import smooth
from PIL import Image as Pil

from kcompress.errors import InputError, UnsupportedError
from kcompress.evaluation.comparison import opened
from kcompress.images import read, read_canonical

NOISE = np.random.default_rng(1).integers(0, 256, (96, 112, 3)).astype(np.uint8) // 2 + smooth(112, 96) // 2
EOI = b"\xff\xd9"
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 5},
    "4:4:4": {"subsampling": 0},
    "grey": {"mode": "L"},
    "grey progressive": {"mode": "L", "progressive": True},
    "CMYK": {"mode": "CMYK"},
    "CMYK progressive": {"mode": "CMYK", "progressive": True},
}


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    return saved(Pil.fromarray(NOISE).convert(mode), "JPEG", quality=85, **options)


def zeroed(data: bytes, end: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(len(data) - half - len(end)) + end


DAMAGES = {
    "cut": lambda data: data[: len(data) // 2],
    "cut, then an end": lambda data: data[: len(data) // 2] + EOI,
    "cut late, then an end": lambda data: data[: int(len(data) * 0.97)] + EOI,
    "cut, ends, and more": lambda data: data[: len(data) // 2] + EOI + b"ftyp" + bytes(500),
    "zeros": lambda data: zeroed(data, b""),
    "zeros, then an end": lambda data: zeroed(data, EOI),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_jpeg_whose_data_end_early_is_refused(kind, damage) -> None:
    data = DAMAGES[damage](jpeg(**KINDS[kind]))
    for reading in (read, read_canonical, opened):
        with pytest.raises(InputError, match=r"boat\.jpg .*(truncated|corrupt)"):
            reading(data, name="boat.jpg")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"", bytes(1000), b"more", EOI * 3], ids=["as is", "zeros", "text", "ends"])
@pytest.mark.parametrize("flat", [False, True])
def test_a_whole_jpeg_is_read_as_pillow_reads_it(kind, tail, flat) -> None:
    mode, options = KINDS[kind].get("mode", "RGB"), {k: v for k, v in KINDS[kind].items() if k != "mode"}
    source = np.full_like(NOISE, 255) if flat else NOISE
    data = saved(Pil.fromarray(source).convert(mode), "JPEG", quality=85, **options)
    with Pil.open(io.BytesIO(data)) as file:
        expected = np.asarray(file.convert("RGB"))
    image = read(data + tail)
    assert np.array_equal(image.pixels, expected)
    assert [note for note in image.notes if "CMYK" not in note] == []
    if mode != "CMYK":  # an end marker alone is no loss; Pillow, which decodes CMYK, insists on it
        assert np.array_equal(read(data.removesuffix(EOI)).pixels, expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("subsampling", [0, 1, 2, "4:1:1", "4:4:0"])
@pytest.mark.parametrize("side", [1, 7, 16, 33])
def test_every_sampling_as_pillow_reads_it(mode, subsampling, side) -> None:
    picture = Pil.fromarray(NOISE[:side, : side + 2]).convert(mode)
    data = saved(picture, "JPEG", **({"subsampling": subsampling} if mode == "RGB" and subsampling != "4:4:0" else {}))
    with Pil.open(io.BytesIO(data)) as file:
        assert np.array_equal(read(data).pixels, np.asarray(file.convert("RGB")))


def test_missing_scans_are_noted() -> None:
    data = jpeg(progressive=True)
    scans = [found.start() for found in re.finditer(rb"\xff\xda", data)]
    assert len(scans) > 5
    for kept in (2, len(scans) - 1):
        notes = read(data[: scans[kept]] + EOI).notes
        assert any("last scans are missing" in note for note in notes)
    assert read(data).notes == ()


def test_damage_in_the_middle_is_noted() -> None:
    data = jpeg(optimize=True)
    place = len(data) // 2
    damaged = data[:place] + bytes([255, 0] * 100) + data[place + 200 :]
    assert any("damaged" in note for note in read(damaged).notes)


@pytest.mark.parametrize("bits", [12, 16])
def test_jpegs_of_more_than_8_bits_are_refused_with_a_reason(bits: int) -> None:
    data = bytearray(jpeg())
    place = data.index(b"\xff\xc0")
    data[place + 1], data[place + 4] = 0xC1, bits
    with pytest.raises(UnsupportedError, match=rf"boat\.jpg: this kind is not supported: JPEG with {bits} bits"):
        read(bytes(data), name="boat.jpg")


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC7, 0xCB, 0xCF])
def test_lossless_and_hierarchical_jpegs_are_refused_with_a_reason(marker: int) -> None:
    data = bytearray(jpeg())
    data[data.index(b"\xff\xc0") + 1] = marker
    with pytest.raises(UnsupportedError, match="this kind is not supported: lossless or hierarchical JPEG"):
        read(bytes(data))


# Other formats: data that end early though the file does not


def test_a_png_whose_data_end_early_is_refused() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in NOISE)
    for short in (rows[: len(rows) // 2], rows[:-1], b""):
        with pytest.raises(InputError, match="truncated"):
            read(png(112, 96, 8, 2, short))
    whole = png(112, 96, 8, 2, rows)
    start = whole.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", whole, start)
    body = whole[start + 8 : start + 8 + length // 2]
    cut = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    with pytest.raises(InputError, match="truncated"):
        read(whole[:start] + cut + whole[-12:])


@pytest.mark.parametrize("part", [0.3, 0.7, 0.95])
def test_a_gif_whose_data_end_early_is_refused(part: float) -> None:
    data = saved(Pil.fromarray(NOISE).quantize(256), "GIF")
    start = data.index(b"\x2c", 700)
    blocks, place = [], start + 11
    while data[place]:
        blocks.append(data[place : place + 1 + data[place]])
        place += 1 + data[place]
    kept = blocks[: int(len(blocks) * part)]
    with pytest.raises(InputError):
        read(data[: start + 11] + b"".join(kept) + b"\0;")


@pytest.mark.parametrize("lossless", [False, True])
def test_a_webp_whose_data_end_early_is_refused(lossless: bool) -> None:
    data = file_of(NOISE, "WEBP", lossless=lossless)
    half = len(data) // 4 * 2
    cut = b"RIFF" + struct.pack("<I", half - 8) + data[8:16] + struct.pack("<I", half - 20) + data[20:half]
    with pytest.raises(InputError):
        read(cut)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_whose_strips_end_early_is_refused(compression) -> None:
    data = bytearray(saved(Pil.fromarray(NOISE), "TIFF", compression=compression))
    with Pil.open(io.BytesIO(bytes(data))) as file:
        counts = file.tag_v2[279]  # type: ignore[attr-defined]
    wide = struct.pack("<HHI", 279, 4, len(counts))
    place = data.index(wide) + 8
    if len(counts) > 1:
        (place,) = struct.unpack_from("<I", data, place)
    struct.pack_into("<I", data, place, counts[0] // 2)
    with pytest.raises(InputError):
        read(bytes(data))


@pytest.mark.parametrize("format", ["BMP", "PPM"])
def test_rows_that_are_missing_are_refused(format: str) -> None:
    with pytest.raises(InputError):
        read(file_of(NOISE, format)[:-200])


@pytest.mark.parametrize("format", ["AVIF", "HEIF"])
def test_an_item_that_ends_early_is_refused(format: str) -> None:
    """The zeros in place of its tail are found by the decoder or not at all; a cut file always."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    data = file_of(NOISE, format)
    for part in (0.5, 0.9, 0.99):
        with pytest.raises(InputError):
            read(data[: int(len(data) * part)])
