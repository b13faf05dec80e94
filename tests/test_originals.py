"""Files that a codec wrote itself: recognised, their quality told, their metadata taken out without another encode."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pil
from PIL import ImageCms

from kcompress.bitstream.vp8 import quantisers
from kcompress.codecs import CODECS, decode
from kcompress.codecs.containers import jpeg
from kcompress.codecs.lossless import LOSSLESS
from kcompress.codecs.originals import codec_of, own_tables, under_policy, webp_quality
from kcompress.encoding import encode
from kcompress.errors import ProgramError
from kcompress.images import Image, read

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><secret/></x:xmpmeta>'


def turned(orientation):
    exif = Pil.Exif()
    exif[0x0112], exif[0x010F] = orientation, "secret"
    return exif.tobytes()


def saved(image, format, **options):
    output = io.BytesIO()
    Pil.fromarray(image.pixels).save(output, format, **options)
    return output.getvalue()


@pytest.mark.parametrize("name", CODECS)
def test_what_codecs_write_is_recognised(lake, name):
    small = Image(lake.pixels[:64, :64])
    assert codec_of(encode(small, CODECS[name], CODECS[name].setting()).data) == name


def test_what_no_codec_writes(lake):
    for format in ("PNG", "BMP", "GIF", "TIFF"):
        assert codec_of(saved(lake, format)) is None
    assert codec_of(b"") is None and own_tables(b"\xff\xd8\xff\xe0") is None


@given(st.integers(1, 100), st.sampled_from([0, 2]))
def test_the_quality_of_libjpeg_is_found(quality, subsampling):
    flat = Image(np.full((8, 8, 3), 90, np.uint8))
    own = own_tables(saved(flat, "JPEG", quality=quality, subsampling=subsampling))
    assert own is not None
    assert own.at(5) == own.at(95) == CODECS["jpeg"].tables.at(quality)
    assert own.at(0) == CODECS["jpeg"].tables.at(own.quality)
    assert own.sampling == ("420" if subsampling else "444")


@pytest.mark.parametrize("quality", [0, 5, 20, 40, 60, 75, 85, 95, 100])
def test_the_quality_of_webp_is_found(lake, balloons, alpha, quality):
    pictures = [lake.pixels, balloons.pixels, lake.pixels[:33, :40], np.dstack([alpha.pixels, alpha.alpha])]
    for pixels in pictures:
        output = io.BytesIO()
        Pil.fromarray(pixels).save(output, "WEBP", quality=quality, method=6)
        found = webp_quality(output.getvalue())
        assert quality - 20 <= found <= quality + 1
        with pytest.raises(ValueError, match="no VP8"):
            quantisers(output.getvalue())


def test_lossless_webp_has_no_quality(balloons):
    assert webp_quality(saved(balloons, "WEBP", lossless=True)) is None


def test_tables_of_grey_and_of_what_is_no_ycbcr(lake):
    grey = io.BytesIO()
    Pil.fromarray(lake.pixels[:, :, 0]).save(grey, "JPEG", quality=60)
    own = own_tables(grey.getvalue())
    assert own is not None and own.luma == own.chroma and own.quality == 60
    cmyk = io.BytesIO()
    Pil.fromarray(lake.pixels).convert("CMYK").save(cmyk, "JPEG")
    assert own_tables(cmyk.getvalue()) is None
    assert own_tables(saved(lake, "JPEG", keep_rgb=True)) is None
    assert own_tables(saved(lake, "PNG")) is None


@pytest.mark.parametrize("best_scans", [False, True])
@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("metadata", ["icc", "none"])
@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_metadata_go_and_the_picture_stays(balloons, format, metadata, orientation, best_scans):
    data = saved(balloons, format, quality=80, exif=turned(orientation), icc_profile=ICC, xmp=XMP)
    found = under_policy(data, format.lower(), metadata, best_scans=best_scans)
    assert found is not None and b"secret" in data and b"secret" not in found
    before, after = read(data, metadata="icc"), read(found, metadata="all")
    assert np.array_equal(before.pixels, after.pixels) and after.pixels.shape == (
        (217, 333, 3) if orientation == 1 else (333, 217, 3)
    )
    assert after.icc == (ICC if metadata == "icc" else None) and after.xmp is None
    assert len(found) < len(data)
    with Pil.open(io.BytesIO(found)) as file:
        assert np.array_equal(np.asarray(file), np.asarray(Pil.open(io.BytesIO(data))))


def test_with_all_metadata_only_scans_change(balloons):
    data = saved(balloons, "JPEG", quality=90, exif=turned(3), icc_profile=ICC, xmp=XMP, comment=b"mine")
    assert under_policy(data, "jpeg", "all") == data
    found = under_policy(data, "jpeg", "all", best_scans=True)
    before, after = read(data, metadata="all"), read(found, metadata="all")
    assert len(found) < len(data) and np.array_equal(before.pixels, after.pixels)
    assert (before.icc, before.exif, before.xmp) == (after.icc, after.exif, after.xmp)
    assert Pil.open(io.BytesIO(found)).info["comment"] == b"mine"
    film = data + b"\0\0\0\x18ftypmp42film"
    assert under_policy(film, "jpeg", "all", best_scans=True) == film, "offsets into it must stay true"
    assert under_policy(film, "jpeg", "icc").endswith(b"\xff\xd9")


def test_alpha_and_animations_of_webp_are_kept_whole(alpha):
    output = io.BytesIO()
    Pil.fromarray(np.dstack([alpha.pixels, alpha.alpha])).save(output, "WEBP", exif=turned(1))
    found = under_policy(output.getvalue(), "webp", "icc")
    assert np.array_equal(decode(found).alpha, decode(output.getvalue()).alpha)


def test_heif_files_with_metadata_cannot_lose_them_here(lake):
    codec, small = CODECS["hevc"], Image(lake.pixels[:64, :64])
    plain = encode(small, codec, codec.setting()).data
    told = encode(Image(small.pixels, xmp=XMP), codec, codec.setting()).data
    assert under_policy(plain, "hevc", "icc") == plain
    assert under_policy(told, "hevc", "icc") is None and under_policy(told, "hevc", "all") == told


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_lossless_files_are_lossless(balloons, alpha, name):
    for image in (Image(balloons.pixels[:90, :101]), alpha):
        way = CODECS[name].lossless
        for level in way.levels(image):
            found = decode(way.encode(image, 4, level))
            if level == LOSSLESS:
                seen = slice(None) if image.alpha is None else image.alpha > 0
                assert np.array_equal(found.pixels[seen], image.pixels[seen])
            assert (found.alpha is None) == (image.alpha is None)
            assert image.alpha is None or np.array_equal(found.alpha, image.alpha)


def test_best_scans_in_a_process_of_their_own(balloons, monkeypatch):
    data = saved(balloons, "JPEG", quality=80)
    assert jpeg.with_best_scans_apart(data) == jpeg.with_best_scans(data)
    for broken in (b"no jpeg", data[:300]):
        with pytest.raises(ProgramError):
            jpeg.with_best_scans_apart(broken)

    def ended(jpeg):
        raise ProgramError("python failed with code 1: DCT coefficient out of range")

    monkeypatch.setattr(jpeg, "with_best_scans_apart", ended)
    assert under_policy(data, "jpeg", "icc", best_scans=True) == data


@given(st.sampled_from(["JPEG", "WEBP", "AVIF"]), st.integers(4, 400), st.integers(0, 255), st.integers(20, 900))
@settings(max_examples=60, deadline=None)
def test_broken_files_raise_nothing(name, place, value, end):
    pixels = np.tile(np.arange(24, dtype=np.uint8) * 9, (24, 3, 1)).transpose(0, 2, 1)
    data = bytearray(saved(Image(np.ascontiguousarray(pixels)), name, exif=turned(6), icc_profile=ICC))
    data[place % len(data)] = value
    broken = bytes(data[:end])
    codec = codec_of(broken)
    if codec is not None:
        for metadata in ("icc", "none", "all"):
            under_policy(broken, codec, metadata)
    own_tables(broken), webp_quality(broken)
