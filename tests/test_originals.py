"""Files that a codec wrote itself: recognised, their quality told, their metadata taken out without another encode."""

import io
import zlib
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pil
from PIL import ImageCms

from kcompress.bitstream.vp8 import quantisers
from kcompress.codecs import CODECS, decode
from kcompress.codecs.containers import heif_alone, jpeg
from kcompress.codecs.lossless import LOSSLESS
from kcompress.codecs.originals import codec_of, own_tables, under_policy, webp_quality
from kcompress.encoding import encode
from kcompress.errors import ProgramError
from kcompress.images import Image, read
from kcompress.programs import AVIFENC, ffmpeg

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PROVENANCE = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:dcterms="http://purl.org/dc/terms/"><rdf:Description '
    b'dcterms:provenance="https://example.com/manifest" dcterms:title="mine"/></x:xmpmeta>'
)
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


def beside(image, format, **options):
    """A HEIC or AVIF file by another encoder, with all metadata that it can have."""
    pillow_heif.register_heif_opener(thumbnails=False)
    stacked = image.pixels if image.alpha is None else np.dstack([image.pixels, image.alpha])
    return saved(Image(stacked), format, quality=80, exif=turned(1), icc_profile=ICC, xmp=XMP, **options)


@pytest.mark.parametrize("icc", [True, False])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("format", ["HEIF", "AVIF"])
def test_heif_files_lose_metadata_and_nothing_else(balloons, alpha, format, transparent, icc):
    data = beside(alpha if transparent else balloons, format)
    found = under_policy(data, codec_of(data), "icc" if icc else "none")
    with Pil.open(io.BytesIO(data)) as before, Pil.open(io.BytesIO(found)) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after)) and before.mode == after.mode
        assert after.info.get("icc_profile") == (ICC if icc else None) and before.info["icc_profile"] == ICC
    assert b"secret" in data and b"secret" not in found and (ICC in found) == icc
    assert len(data) - len(found) > len(XMP) + (0 if icc else len(ICC))
    assert under_policy(data, codec_of(data), "all") == data
    assert under_policy(found, codec_of(data), "icc" if icc else "none") == found, "there is nothing left to take out"
    decoded = [ffmpeg().run(["-v", "error", "-i", "pipe:", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], each)
               for each in (data, found)]  # fmt: skip
    assert decoded[0] == decoded[1] != b""


@pytest.mark.parametrize("name", ["hevc", "avif"])
def test_our_own_files_lose_them_too(lake, name):
    codec, small = CODECS[name], Image(lake.pixels[:64, :64])
    plain = encode(small, codec, codec.setting()).data
    told = encode(Image(small.pixels, exif=turned(1).removeprefix(b"Exif\0\0"), xmp=XMP), codec, codec.setting()).data
    found = under_policy(told, name, "icc")
    assert b"secret" not in found and np.array_equal(decode(found).pixels, decode(told).pixels)
    assert len(found) - len(plain) <= 16, "numbers of 32 bits"
    assert under_policy(plain, name, "icc") == plain


def test_thumbnails_and_further_pictures_of_heic_go(balloons, lake):
    first, other = Pil.fromarray(balloons.pixels), Pil.fromarray(lake.pixels[:200, :200])
    pillow_heif.register_heif_opener(thumbnails=False)
    output = io.BytesIO()
    first.save(output, "HEIF", quality=60, save_all=True, append_images=[other])
    found = under_policy(output.getvalue(), "hevc", "icc")
    assert np.array_equal(decode(found).pixels, decode(output.getvalue()).pixels)
    assert read(output.getvalue()).notes == ("left out: its 1 further picture",) and read(found).notes == ()
    alone = saved(balloons, "HEIF", quality=60)
    assert len(found) - len(alone) <= 32


@pytest.mark.encoders
@pytest.mark.skipif(AVIFENC.version() is None, reason="needs avifenc")
def test_tiles_stay_together(lake, tmp_path):
    source, target = tmp_path / "a.png", tmp_path / "a.avif"
    Pil.fromarray(lake.pixels[:256, :384]).save(source, exif=turned(1))
    AVIFENC.run(["--grid", "3x2", "--speed", "10", "-o", str(target), str(source)])
    data = target.read_bytes()
    found = under_policy(data, "avif", "none")
    assert b"grid" in data and b"secret" in data and b"secret" not in found
    assert np.array_equal(decode(found).pixels, decode(data).pixels) and decode(found).pixels.shape == (256, 384, 3)


def test_items_that_are_the_rest_of_the_file_count_in_full(balloons, monkeypatch):
    """A length of 0 means all that follows: many such items would make a small file a large one."""
    data = saved(balloons, "HEIF", quality=60, exif=turned(1))
    still = heif_alone.parse(data)
    places = {item: (method, [(0, 0)] * 2) for item, (method, _) in still.places.items()}
    monkeypatch.setattr(heif_alone, "parse", lambda _: replace(still, places=places))
    assert heif_alone.picture_alone(data, icc=True) is None


def test_films_are_left_to_another_encode(balloons):
    frames = [Pil.fromarray(balloons.pixels[:64, :64]), Pil.fromarray(balloons.pixels[9:73, :64])]
    output = io.BytesIO()
    frames[0].save(output, "AVIF", save_all=True, append_images=frames[1:], exif=turned(1))
    assert under_policy(output.getvalue(), "avif", "icc") is None


def with_credentials(data):
    """The file with a box that begins as a C2PA manifest does."""
    manifest = b"\0\0\0\x28jumb\0\0\0\x20jumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0"
    if data.startswith(b"\xff\xd8"):
        content = b"JP\0\1\0\0\0\1" + manifest
        return data[:2] + b"\xff\xeb" + (2 + len(content)).to_bytes(2, "big") + content + data[2:]
    if data.startswith(b"\x89PNG"):
        chunk = b"caBX" + manifest
        return data[:33] + len(manifest).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:]
    if data[:4] == b"RIFF":
        whole = data[8:] + b"C2PA" + len(manifest).to_bytes(4, "little") + manifest + b"\0" * (len(manifest) % 2)
        return b"RIFF" + len(whole).to_bytes(4, "little") + whole
    content = bytes.fromhex("d8fec3d61b0e483c92975828877ec481") + manifest
    return data + (8 + len(content)).to_bytes(4, "big") + b"uuid" + content  # before it, the picture's data would move


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_credentials_go_with_a_note(balloons, format):
    plain = saved(balloons, format, xmp=PROVENANCE) if format != "PNG" else saved(balloons, format)
    data = with_credentials(plain)
    for metadata in ("icc", "all"):
        image = read(data, metadata=metadata)
        assert any("Content Credentials" in note for note in image.notes)
        assert image.xmp is None or b"provenance" not in image.xmp.replace(b"dcterms:title", b"")
        again = encode(image, CODECS["jpeg"], CODECS["jpeg"].setting())
        assert b"c2pa" not in again.data and any("Content Credentials" in note for note in again.notes)
    assert not any("Credentials" in note for note in (*read(plain).notes, *read(data, metadata="none").notes))
    if format != "PNG":
        codec = codec_of(data)
        assert b"c2pa" not in under_policy(data, codec, "icc")
        assert under_policy(data, codec, "all", best_scans=True) == data, "they stay true for these bytes"


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
