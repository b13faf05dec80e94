import io
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pictures import in_grey, load
from PIL import Image as Pil
from PIL import ImageCms, ImageFile

from kcompress.codecs import CODECS, Backend
from kcompress.codecs.containers.jpeg import is_complete, with_best_scans, with_metadata
from kcompress.codecs.jpeg import _vips, written_tables
from kcompress.codecs.quantisation import STANDARD
from kcompress.encoding import Session, effective
from kcompress.errors import ProgramError, UnsupportedError, UsageError
from kcompress.images import Image, read

pytestmark = pytest.mark.encoders

JPEG = CODECS["jpeg"]
CJPEG, PILLOW = JPEG.backends
MOZJPEG, JPEGLI = JPEG.only_by_name
QUALITIES = [0, 1, 2, 10, 24, 25, 26, 49, 50, 75, 90, 95, 100]
# mozjpeg's cjpeg has the same name and other bytes.
TURBO = pytest.mark.skipif(
    "libjpeg-turbo" not in (CJPEG.version() or ""), reason="the cjpeg of libjpeg-turbo is not installed"
)
EXIF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'


def encoded(image: Image, quality: int, chroma: str = "420", effort: int = 1, backend: Backend = PILLOW) -> bytes:
    return backend.encode(image, JPEG.setting(quality, chroma, effort))


@TURBO
@pytest.mark.parametrize("effort", [0, 1, 2])
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("kind", ["balloons", "grey", "one_pixel", "thin", "lake"])
def test_cjpeg_and_pillow_write_the_same_bytes(
    kind: str, chroma: str, effort: int, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue(kind)
    for quality in QUALITIES:
        ours, theirs = (encoded(image, quality, chroma, effort, way) for way in (PILLOW, CJPEG))
        assert ours == theirs, f"quality {quality}"


@pytest.mark.parametrize("size", [(256, 256), (4096, 1)], ids=str)
@pytest.mark.parametrize("quality", [94, 100])
def test_noise_that_outgrows_pillows_buffer(size: tuple[int, int], quality: int) -> None:
    noise = Image(np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8))
    usual = ImageFile.MAXBLOCK
    for effort in (0, 1, 2):
        assert is_complete(encoded(noise, quality, "444", effort))
    assert usual == ImageFile.MAXBLOCK


def test_the_tables_are_those_of_libjpeg_at_every_quality() -> None:
    picture = Pil.fromarray(np.zeros((8, 8, 3), np.uint8))
    for quality in range(101):
        output = io.BytesIO()
        picture.save(output, "JPEG", quality=max(1, quality))
        with Pil.open(io.BytesIO(output.getvalue())) as file:
            # Pillow gives the file's zigzag order as row order.
            written = {number: tuple(table) for number, table in file.quantization.items()}
        assert written == dict(enumerate(STANDARD.at(quality))), f"quality {quality}"


def test_the_tables_travel_in_row_order() -> None:
    luma, _ = STANDARD.at(50)
    assert luma[:8] == (16, 11, 10, 16, 24, 40, 51, 61)
    assert JPEG.setting(50).tables == STANDARD.at(50)


@pytest.mark.parametrize("chroma", ["420", "444"])
def test_the_sampling_is_what_was_asked_for(chroma: str, balloons: Image) -> None:
    for quality in (5, 79, 85, 95):
        with Pil.open(io.BytesIO(encoded(balloons, quality, chroma))) as file:
            assert file.layer[0][1:3] == ((2, 2) if chroma == "420" else (1, 1))


@pytest.mark.parametrize("backend", [PILLOW, CJPEG, MOZJPEG, JPEGLI], ids=lambda backend: backend.name)
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("effort", [0, 1, 2])
def test_grey_stays_one_plane_and_effort_is_the_kind_of_file(
    backend: Backend, chroma: str, effort: int, grey: Image, balloons: Image
) -> None:
    if backend.version() is None:
        pytest.skip(f"{backend.name} is not installed")
    if chroma not in (backend.chromas or JPEG.chromas):
        pytest.skip(f"{backend.name} has no {chroma}")
    for image in (grey, balloons):
        if backend.refuses(image):
            continue
        with Pil.open(io.BytesIO(encoded(image, 60, chroma, effort, backend))) as file:
            assert file.mode == ("L" if image.grey else "RGB")
            assert ("progressive" in file.info) == bool(effort)


@pytest.mark.parametrize("quality", [40, 75, 90])
@pytest.mark.parametrize("chroma", ["420", "444"])
@pytest.mark.parametrize("kind", ["lake", "balloons", "grey"])
def test_chosen_scans_hold_the_same_picture_in_fewer_bytes(
    kind: str, chroma: str, quality: int, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue(kind)
    sequential, by_script, chosen = (encoded(image, quality, chroma, effort) for effort in range(3))
    assert len(chosen) < len(by_script)
    files = [Pil.open(io.BytesIO(data)) for data in (sequential, by_script, chosen)]
    assert all(np.array_equal(np.asarray(file), np.asarray(files[0])) for file in files)
    assert all((file.quantization, file.layer) == (files[0].quantization, files[0].layer) for file in files)


def test_what_an_encoder_did_not_finish_is_an_error() -> None:
    with pytest.raises(ProgramError, match="no whole jpeg file"):
        with_best_scans(encoded(Image(np.zeros((8, 8, 3), np.uint8)), 50)[:30])


@pytest.mark.parametrize("backend", [MOZJPEG, JPEGLI], ids=lambda backend: backend.name)
@pytest.mark.parametrize("quality", [20, 75, 95])
def test_tables_of_encoders_that_have_their_own(backend: Backend, quality: int) -> None:
    if backend.version() is None:
        pytest.skip(f"{backend.name} is not installed")
    setting = JPEG.setting(quality)
    luma, chroma = written_tables(backend, setting)
    assert len(luma) == len(chroma) == 64
    assert (luma, chroma) != STANDARD.at(quality)
    assert luma[0] < luma[63]
    carried = effective(setting, backend)
    assert carried.tables == (luma, chroma) and carried.trellis
    assert effective(setting, PILLOW) == replace(setting, tables_name="standard")
    assert written_tables(PILLOW, setting) == STANDARD.at(quality)


@pytest.mark.skipif(JPEGLI.version() is None, reason="pyjpegli is not installed")
@pytest.mark.parametrize("quality", [0, 1, 50, 75, 100])
def test_jpegli_is_the_package_made_progressive_without_loss(quality: int, lake: Image) -> None:
    import pyjpegli

    file = pyjpegli.encode(lake.pixels.tobytes(), lake.width, lake.height, max(1, quality))
    assert encoded(lake, quality, effort=0, backend=JPEGLI) == file
    progressive = encoded(lake, quality, backend=JPEGLI)
    assert len(progressive) < len(file)
    assert np.array_equal(read(progressive).pixels, read(file).pixels)


@pytest.mark.skipif(JPEGLI.version() is None, reason="pyjpegli is not installed")
def test_jpegli_refuses_what_it_cannot_write(grey: Image, balloons: Image) -> None:
    with pytest.raises(UnsupportedError, match="--backend jpegli writes no grey pictures"):
        Session.of(grey, JPEG, JPEG.setting(), "jpegli")
    with pytest.raises(UsageError, match="--chroma 444: the backend jpegli has only 420"):
        Session.of(balloons, JPEG, JPEG.setting(chroma="444"), "jpegli")


@pytest.mark.skipif(MOZJPEG.version() is None, reason="pyvips is not installed")
@pytest.mark.parametrize("quality", [20, 50, 75, 90])
def test_mozjpeg_is_smaller_at_the_same_quality(quality: int, lake: Image) -> None:
    smaller = encoded(lake, quality, backend=MOZJPEG)
    assert len(smaller) < len(encoded(lake, quality))
    with Pil.open(io.BytesIO(smaller)) as file:
        assert file.layer[0][1:3] == (2, 2)


def test_a_libvips_without_mozjpeg_is_not_taken_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = SimpleNamespace(jpegsave_buffer=lambda **_: b"the same")
    vips = SimpleNamespace(__spec__="some", Image=SimpleNamespace(black=lambda *_: flat), version=lambda _: 8)
    monkeypatch.setitem(sys.modules, "pyvips", vips)
    _vips.cache_clear()
    try:
        assert MOZJPEG.version() is None
    finally:
        _vips.cache_clear()


@pytest.mark.parametrize("length", [1, 500, 65519, 65520, 150_000])
def test_a_profile_is_split_over_segments(length: int, balloons: Image) -> None:
    # Bytes 16 to 19 must not say GRAY; the rest can be anything.
    icc = np.random.default_rng(5).bytes(length)
    data, notes = with_metadata(encoded(balloons, 50), icc)
    assert notes == []
    with Pil.open(io.BytesIO(data)) as file:
        assert file.info["icc_profile"] == icc
        assert np.array_equal(np.asarray(file), read(encoded(balloons, 50)).pixels)


def test_metadata_arrive_in_front_of_the_picture(balloons: Image) -> None:
    plain = encoded(balloons, 50)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    icc = (len(profile) + 100_000).to_bytes(4, "big") + profile[4:] + bytes(100_000)  # of two segments
    data, notes = with_metadata(plain, icc, EXIF, XMP)
    assert notes == []
    assert data[:4] == b"\xff\xd8\xff\xe0"
    assert is_complete(data)
    with Pil.open(io.BytesIO(data)) as file:
        assert file.info["exif"] == b"Exif\0\0" + EXIF
        assert file.info["xmp"] == XMP
        assert file.info["icc_profile"] == icc
    image = read(data, metadata="all")
    assert (image.icc, image.exif, image.xmp) == (icc, EXIF, XMP)
    assert with_metadata(plain) == (plain, [])


def test_what_is_too_long_for_a_segment_is_left_out_with_a_note(balloons: Image) -> None:
    plain = encoded(balloons, 50)
    data, notes = with_metadata(plain, None, bytes(65_528), bytes(65_505))
    assert data == plain
    assert [note.split()[0] for note in notes] == ["EXIF", "XMP"]
    fitting, notes = with_metadata(plain, None, EXIF + bytes(65_527 - len(EXIF)), bytes(65_504))
    assert notes == []
    assert len(fitting) == len(plain) + 2 * (2 + 65_535)
    _, notes = with_metadata(plain, bytes(256 * 65_519))
    assert "ICC" in notes[0]


def test_what_is_no_whole_file_is_told_from_one() -> None:
    data = encoded(in_grey(load("balloons-333x217.png")), 30)
    assert is_complete(data)
    assert not any(is_complete(part) for part in (b"", data[:-1], data[:100], data[1:]))
