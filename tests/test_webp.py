import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from pictures import in_grey
from PIL import Image as Pil
from PIL import ImageCms, features

from kcompress.codecs import CODECS, Backend
from kcompress.codecs.containers.webp import is_complete, with_metadata
from kcompress.encoding import effective, encode
from kcompress.images import Image, read
from kcompress.metrics import psnr
from kcompress.programs import ffmpeg

pytestmark = pytest.mark.encoders

WEBP = CODECS["webp"]
CWEBP, LIBWEBP, PILLOW = WEBP.backends
LIMITED = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
"""BT.601 of levels 0..255, to 16..235 and 16..240."""
QUALITIES = [0, 1, 5, 10, 24, 25, 40, 50, 75, 90, 99, 100]
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ICC = (len(SRGB) + 1).to_bytes(4, "big") + SRGB[4:] + b"\0"  # of an odd length, which RIFF fills up


def encoded(
    image: Image, quality: int = 75, effort: int = 4, backend: Backend = PILLOW, *, sharp: bool = False
) -> bytes:
    return backend.encode(image, WEBP.setting(quality, None, effort, sharp_yuv=sharp))


def beside(image: Image) -> Image:
    """The picture with levels beside its pixels."""
    change = np.random.default_rng(0).uniform(-3, 3, image.pixels.shape)
    if image.grey:
        change[:] = change[:, :, :1]
    return replace(image, remainder=change.astype(np.float16))


def planar(image: Image, quality: int, backend: Backend) -> bytes:
    return backend.encode(image, effective(WEBP.setting(quality), backend))


def decoded_planes(data: bytes) -> np.ndarray:
    """Mean Y, Cb, Cr of a file, by ffmpeg's decoder, which is not libwebp."""
    told = ["-v", "error", "-i", "pipe:0", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"]
    samples = np.frombuffer(ffmpeg().run(told, data), np.uint8)
    luma = len(samples) * 2 // 3
    return np.array([samples[:luma].mean(), *samples[luma:].reshape(2, -1).mean(1)])


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
@pytest.mark.parametrize("kind", ["balloons", "grey", "alpha", "one_pixel", "thin"])
@pytest.mark.parametrize("effort", [0, 2, 4, 6, 7])
def test_all_backends_write_the_same_bytes(kind: str, effort: int, request: pytest.FixtureRequest) -> None:
    image = request.getfixturevalue(kind)
    for quality in QUALITIES if effort == 4 else QUALITIES[::3]:
        theirs = encoded(image, quality, effort, CWEBP)
        assert encoded(image, quality, effort, LIBWEBP) == theirs, f"quality {quality}"
        if effort < 7 and image.alpha is None:
            assert encoded(image, quality, effort, PILLOW) == theirs, f"quality {quality}"


@pytest.mark.skipif(CWEBP.version() is None, reason="cwebp is not installed")
@pytest.mark.parametrize("kind", ["balloons", "grey", "one_pixel", "thin"])
def test_cwebp_and_libwebp_take_the_same_planes(kind: str, request: pytest.FixtureRequest) -> None:
    image = beside(request.getfixturevalue(kind))
    for quality in QUALITIES[::3]:
        ours, theirs = (planar(image, quality, backend) for backend in (LIBWEBP, CWEBP))
        assert ours == theirs, f"quality {quality}"


@pytest.mark.parametrize("backend", [CWEBP, LIBWEBP], ids=lambda backend: backend.name)
def test_what_rounding_took_reaches_the_file(backend: Backend) -> None:
    """Grey and coloured levels between whole ones, and beyond those that RGB has."""
    if backend.version() is None:
        pytest.skip(f"{backend.name} is not installed")
    for colour, more in ((100, -0.45), (101, -0.45), ((90, 160, 40), (0.4, -0.3, 0.45)), ((230, 9, 9), (-3, -40, -40))):
        pixels = np.full((32, 32, 3), colour, np.uint8)
        image = Image(pixels, remainder=np.full(pixels.shape, more, np.float16))
        shown, plain = (decoded_planes(planar(each, 100, backend)) for each in (image, Image(pixels)))
        wanted = LIMITED @ np.broadcast_to(np.add(colour, more), 3) + (16, 128, 128)
        assert np.abs(shown - wanted).max() <= 0.6 and np.abs(plain - wanted).sum() > np.abs(shown - wanted).sum()


def test_pixels_alone_are_converted_by_libwebp(alpha: Image, balloons: Image) -> None:
    """Planes are for opaque pictures of a preprocessor, where the encoder is not to compute chroma itself."""
    for image in (balloons, beside(alpha)):
        assert planar(image, 60, LIBWEBP) == encoded(replace(image, remainder=None), 60, 7, LIBWEBP)
    assert planar(beside(balloons), 60, LIBWEBP) != planar(balloons, 60, LIBWEBP)
    assert planar(beside(balloons), 60, PILLOW) == planar(balloons, 60, PILLOW)
    assert effective(WEBP.setting(), CWEBP).planes and effective(WEBP.setting(), LIBWEBP).planes
    assert not effective(WEBP.setting(sharp_yuv=True), CWEBP).planes and not effective(WEBP.setting(), PILLOW).planes


@pytest.mark.parametrize("backend", [CWEBP, LIBWEBP], ids=lambda backend: backend.name)
def test_the_last_effort_searches_strengths_of_the_filter(backend: Backend, lake: Image) -> None:
    """Which are numbers in the header: the picture is nearer, and all else stays."""
    if backend.version() is None:
        pytest.skip(f"{backend.name} is not installed")
    slow, slowest = (encoded(lake, 30, effort, backend) for effort in (6, 7))
    assert slow != slowest and abs(len(slow) - len(slowest)) <= 8
    near, nearer = (psnr.prepare(lake.pixels)(read(data).pixels) for data in (slow, slowest))
    assert nearer > near
    assert (WEBP.effort.default, WEBP.plain_effort) == (7, 6)


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
