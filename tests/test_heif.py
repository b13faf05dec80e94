import io
import re
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from pictures import BACKENDS, in_grey, psnr, smooth
from PIL import Image as Pil
from PIL import ImageCms

from kcompress.codecs import CODECS, Backend, Codec, decode
from kcompress.errors import InputError
from kcompress.images import Image, Pixels, read
from kcompress.programs import ffmpeg

pytestmark = pytest.mark.encoders

HEVC = CODECS["hevc"]
WAYS = pytest.mark.parametrize(("codec", "backend"), [way for way in BACKENDS if str(way.id).startswith("hevc")])
SIZES = [(64, 48), (333, 217), (1, 1), (1, 200), (200, 1), (17, 31), (8, 9), (640, 2)]
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def encoded(image: Image, quality: int = 12, chroma: str = "420", backend: str = "ffmpeg") -> bytes:
    return HEVC.backend(backend).encode(image, HEVC.setting(quality, chroma, 1))


def opened(data: bytes) -> pillow_heif.HeifFile:
    return pillow_heif.open_heif(io.BytesIO(data))


def pixels_of(data: bytes) -> Pixels:
    return np.asarray(opened(data))


def boxes(data: bytes) -> dict[bytes, bytes]:
    """Contents of the property boxes of a file."""
    start = data.index(b"ipco") - 4
    end, place, found = start + struct.unpack_from(">I", data, start)[0], start + 8, {}
    while place < end:
        length, kind = struct.unpack_from(">I4s", data, place)
        found[kind] = data[place + 8 : place + length]
        place += length
    return found


@WAYS
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_libheif_reads_the_right_size_and_colours(
    codec: Codec, backend: Backend, chroma: str, size: tuple[int, int]
) -> None:
    image = Image(smooth(*size))
    found = pixels_of(backend.encode(image, codec.setting(8, chroma, 1)))
    assert found.shape == image.pixels.shape
    assert psnr(found, image.pixels) > 36
    assert np.abs(found.mean(axis=(0, 1)) - image.pixels.mean(axis=(0, 1))).max() < 1.5


@WAYS
@pytest.mark.parametrize("chroma", ["420", "444"])
def test_a_photograph_keeps_its_colours(codec: Codec, backend: Backend, chroma: str, balloons: Image) -> None:
    found = pixels_of(backend.encode(balloons, codec.setting(8, chroma, 1)))
    assert psnr(found, balloons.pixels) > (44 if chroma == "444" else 32)
    # A wrong range or matrix moves the mean of a channel by several levels.
    assert np.abs(found.mean(axis=(0, 1)) - balloons.pixels.mean(axis=(0, 1))).max() < 0.5


@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize(
    "colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255), (16, 16, 16), (235, 235, 235)]
)
def test_pure_colours_show_range_and_matrix(colour: tuple[int, int, int], chroma: str) -> None:
    found = pixels_of(encoded(Image(np.full((33, 47, 3), colour, np.uint8)), 4, chroma))
    assert np.abs(found.astype(int) - colour).max() <= 3


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_grey_is_one_plane(size: tuple[int, int]) -> None:
    image = in_grey(Image(smooth(*size)))
    data = encoded(image, 8)
    back = decode(data)
    assert (back.width, back.height, back.grey) == (*size, True)
    assert psnr(back.pixels, image.pixels) > 38
    assert boxes(data)[b"pixi"] == bytes([0, 0, 0, 0, 1, 8])


def test_the_colour_space_is_signalled(balloons: Image) -> None:
    data = encoded(balloons)
    # primaries BT.709, transfer sRGB, matrix BT.601, full range
    assert boxes(data)[b"colr"] == b"nclx" + struct.pack(">HHHB", 1, 13, 6, 0x80)
    profile = opened(data).info["nclx_profile"]
    assert profile["color_primaries"] == 1
    assert profile["transfer_characteristics"] == 13
    assert profile["matrix_coefficients"] == 6
    assert profile["full_range_flag"] == 1


@WAYS
def test_the_brand_is_what_the_stream_is(codec: Codec, backend: Backend, balloons: Image) -> None:
    # Every reader takes `heic`, Main Still Picture; 4:4:4 and grey are range extensions.
    for image, chroma, brand in (
        (balloons, "420", b"heic"),
        (balloons, "444", b"heix"),
        (in_grey(balloons), None, b"heix"),
    ):
        data = backend.encode(image, codec.setting(30, chroma, 1))
        assert data[4:12] == b"ftyp" + brand


@WAYS
@pytest.mark.parametrize("size", [(97, 61), (1, 1), (40, 200)], ids=str)
def test_alpha_is_an_auxiliary_picture(codec: Codec, backend: Backend, size: tuple[int, int]) -> None:
    width, height = size
    ramp = np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None], height, axis=0)
    image = Image(smooth(width, height), ramp)
    data = backend.encode(image, codec.setting(8, "420", 1))
    assert b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0" in data
    file = opened(data)
    assert (file.mode, file.size) == ("RGBA", size)
    found = np.asarray(file)
    assert psnr(found[:, :, 3], ramp) > 40
    assert psnr(found[:, :, :3], image.pixels) > 36
    back = decode(data)
    assert (back.alpha is None) == (int(ramp.min()) == 255)


@pytest.mark.parametrize("with_alpha", [False, True])
def test_metadata_arrive(with_alpha: bool, alpha: Image) -> None:
    image = replace(alpha if with_alpha else replace(alpha, alpha=None), icc=ICC, exif=EXIF, xmp=XMP)
    data = encoded(image)
    info = opened(data).info
    assert info["icc_profile"] == ICC
    assert info["exif"].removeprefix(b"Exif\0\0") == EXIF
    assert info["xmp"] == XMP
    back = read(data, metadata="all")
    assert (back.icc, back.exif, back.xmp) == (ICC, EXIF, XMP)


@pytest.mark.parametrize("kept", ["icc", "exif", "xmp"])
def test_each_kind_of_metadata_alone(kept: str, alpha: Image) -> None:
    image = replace(alpha, alpha=None, **{kept: {"icc": ICC, "exif": EXIF, "xmp": XMP}[kept]})
    back = read(encoded(image), metadata="all")
    assert (back.icc, back.exif, back.xmp) == (image.icc, image.exif, image.xmp)


@WAYS
@pytest.mark.parametrize(
    ("size", "chroma", "seen"),
    [
        ((64, 48), "420", (64, 48)),
        ((334, 218), "420", (334, 218)),
        ((333, 217), "444", (333, 217)),
        # ffmpeg cuts 4:2:0 at whole chroma samples only, so it takes one more column and row off than the clean
        # aperture says. It does the same to what libheif itself writes, with the same boxes as ours.
        ((333, 217), "420", (332, 216)),
        ((17, 30), "420", (16, 30)),
    ],
)
def test_ffmpeg_reads_it(
    codec: Codec, backend: Backend, size: tuple[int, int], chroma: str, seen: tuple[int, int], tmp_path: Path
) -> None:
    image = Image(smooth(*size))
    file = tmp_path / "picture.heic"
    file.write_bytes(backend.encode(image, codec.setting(8, chroma, 1)))
    raw = ffmpeg().run(["-v", "error", "-i", str(file), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"])
    width, height = seen
    found = np.frombuffer(raw, np.uint8).reshape(height, width, 3)
    assert psnr(found, image.pixels[:height, :width]) > 32


def test_odd_sizes_are_written_as_libheif_writes_them(balloons: Image) -> None:
    output = io.BytesIO()
    pillow_heif.from_pillow(Pil.fromarray(balloons.pixels)).save(output, quality=60, chroma=420)
    theirs, ours = boxes(output.getvalue()), boxes(encoded(balloons))
    for kind in (b"ispe", b"clap", b"pixi", b"colr"):
        assert ours[kind] == theirs[kind]


@pytest.mark.skipif(shutil.which("heif-convert") is None, reason="heif-convert is not installed")
@pytest.mark.parametrize("size", [(64, 48), (333, 217), (1, 1), (17, 31)], ids=str)
@pytest.mark.parametrize("with_alpha", [False, True])
def test_an_older_libheif_reads_it(size: tuple[int, int], with_alpha: bool, tmp_path: Path) -> None:
    image = Image(smooth(*size))
    if with_alpha:
        image = replace(image, alpha=np.ascontiguousarray(image.pixels[:, :, 1] // 2))
    (tmp_path / "in.heic").write_bytes(encoded(image, 8))
    subprocess.run(["heif-convert", "in.heic", "out.png"], cwd=tmp_path, check=True, capture_output=True)
    back = read((tmp_path / "out.png").read_bytes())
    assert (back.width, back.height) == size
    assert psnr(back.pixels, image.pixels) > 33
    assert (back.alpha is not None) == with_alpha


@pytest.mark.parametrize("part", [0.01, 0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_is_refused(part: float, balloons: Image) -> None:
    data = encoded(balloons)
    with pytest.raises(InputError, match=re.compile(r"\.$")):
        decode(data[: int(len(data) * part)])
