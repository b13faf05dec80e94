import io
import struct

import numpy as np
import pytest
from pictures import in_grey
from PIL import Image as Pil
from PIL import ImageCms, features

from kcompress.codecs import CODECS, Backend
from kcompress.codecs.containers.webp import is_complete, with_metadata
from kcompress.encoding import encode
from kcompress.images import Image, read

pytestmark = pytest.mark.encoders

WEBP = CODECS["webp"]
CWEBP, PILLOW = WEBP.backends
QUALITIES = [0, 1, 5, 10, 24, 25, 40, 50, 75, 90, 99, 100]
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ICC = (len(SRGB) + 1).to_bytes(4, "big") + SRGB[4:] + b"\0"  # of an odd length, which RIFF fills up


def encoded(
    image: Image, quality: int = 75, effort: int = 4, backend: Backend = PILLOW, *, sharp: bool = False
) -> bytes:
    return backend.encode(image, WEBP.setting(quality, None, effort, sharp_yuv=sharp))


def chunks(data: bytes) -> list[bytes]:
    """Names of the chunks in their order."""
    assert data[:4] == b"RIFF"
    assert struct.unpack_from("<I", data, 4)[0] + 8 == len(data)
    place, names = 12, []
    while place < len(data):
        names.append(data[place : place + 4])
        (length,) = struct.unpack_from("<I", data, place + 4)
        place += 8 + length + length % 2
    assert place == len(data)
    return names


@pytest.mark.skipif(CWEBP.version() is None, reason="cwebp is not installed")
@pytest.mark.parametrize("kind", ["balloons", "grey", "one_pixel", "thin"])
@pytest.mark.parametrize("effort", [0, 2, 4, 6])
def test_cwebp_and_pillow_write_the_same_bytes(kind: str, effort: int, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(kind)
    for quality in QUALITIES if effort == 4 else QUALITIES[::3]:
        ours, theirs = (encoded(image, quality, effort, way) for way in (PILLOW, CWEBP))
        assert ours == theirs, f"quality {quality}"


@pytest.mark.skipif(CWEBP.version() is None, reason="cwebp is not installed")
def test_sharp_chroma_keeps_colours() -> None:
    """Red beside blue: between them means lose light and colour."""
    pixels = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    pixels[5:30, 5:31] = pixels[41] = pixels[:, 51:53] = 255, 0, 0
    lost = [
        np.abs(read(encoded(Image(pixels), 95, 6, CWEBP, sharp=sharp)).pixels.astype(int) - pixels).mean()
        for sharp in (False, True)
    ]
    assert lost[1] < 0.95 * lost[0]


def test_where_chroma_cannot_be_sharp_a_note_says_so(balloons: Image) -> None:
    means, sharp = (encode(balloons, WEBP, WEBP.setting(sharp_yuv=sharp), None, "pillow") for sharp in (False, True))
    assert means.data == sharp.data and not sharp.setting.sharp_yuv
    assert not WEBP.setting().sharp_yuv and means.notes == () and "pillow knows no sharp chroma" in sharp.notes[0]


@pytest.mark.parametrize("backend", WEBP.backends, ids=lambda backend: backend.name)
def test_alpha_comes_back_without_loss(backend: Backend, alpha: Image) -> None:
    if backend.version() is None:
        pytest.skip(f"{backend.name} is not installed")
    data = encoded(alpha, 90, backend=backend)
    assert chunks(data)[:3] == [b"VP8X", b"ALPH", b"VP8 "]
    back = read(data).alpha
    assert back is not None
    assert np.array_equal(back, alpha.alpha)


@pytest.mark.parametrize("transparent", [False, True])
def test_metadata_take_their_place(transparent: bool, alpha: Image, balloons: Image) -> None:
    image = alpha if transparent else balloons
    data = with_metadata(encoded(image), image.width, image.height, ICC, EXIF, XMP)
    picture = [b"ALPH", b"VP8 "] if transparent else [b"VP8 "]
    assert chunks(data) == [b"VP8X", b"ICCP", *picture, b"EXIF", b"XMP "]
    assert data[20] == (0x3C if transparent else 0x2C)
    assert is_complete(data)
    with Pil.open(io.BytesIO(data)) as file:
        assert file.info["icc_profile"] == ICC
        assert file.info["exif"].removeprefix(b"Exif\0\0") == EXIF
        assert file.info["xmp"] == XMP
        assert file.size == (image.width, image.height)
    back, plain = read(data, metadata="all"), read(encoded(image))
    assert (back.icc, back.exif, back.xmp) == (ICC, EXIF, XMP)
    assert np.array_equal(back.pixels, plain.pixels)
    # Nothing to write: the plain file stays as it is.
    assert with_metadata(encoded(image), image.width, image.height) == encoded(image)


@pytest.mark.parametrize("kept", ["icc", "exif", "xmp"])
def test_each_kind_of_metadata_alone(kept: str, balloons: Image) -> None:
    content = {"icc": ICC, "exif": EXIF, "xmp": XMP}[kept]
    data = with_metadata(encoded(balloons), balloons.width, balloons.height, **{kept: content})
    assert len(chunks(data)) == 3
    back = read(data, metadata="all")
    assert {name: getattr(back, name) for name in ("icc", "exif", "xmp")} == {
        "icc": None, "exif": None, "xmp": None, kept: content
    }  # fmt: skip


def test_lossless_alpha_is_signalled_too() -> None:
    """A VP8L picture tells its alpha itself; the extended header has to repeat it."""
    for channels in (3, 4):
        output = io.BytesIO()
        Pil.fromarray(np.full((5, 7, channels), 99, np.uint8)).save(output, "WEBP", lossless=True)
        data = with_metadata(output.getvalue(), 7, 5, exif=EXIF)
        assert bool(data[20] & 0x10) == (channels == 4)


def test_what_is_no_whole_file_is_told_from_one(balloons: Image) -> None:
    data = encoded(in_grey(balloons), 30)
    assert is_complete(data)
    assert not any(is_complete(part) for part in (b"", b"RIFF", data[:-1], data[:12], data + b"x"))


def test_the_version_names_the_library() -> None:
    assert features.version_module("webp") in (PILLOW.version() or "")
