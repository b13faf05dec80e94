import io
import re
import struct
import zlib
from dataclasses import replace

import numpy as np
import pillow_heif
import pytest
from handmade import ADOBE_RGB, GREY_GAMMA_1, NAMED, file_of, png, profile, saved
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import in_grey, psnr, smooth
from PIL import Image as Pil
from PIL import ImageCms, ImageOps

from kcompress.codecs import CODECS
from kcompress.encoding import encode
from kcompress.errors import InputError, UnsupportedError, UsageError
from kcompress.images import (
    Image,
    Metadata,
    Pixels,
    apply_metadata_policy,
    is_grey_profile,
    luma,
    pillow,
    pnm,
    read,
    write,
)

RGB = smooth(37, 23)
GREY = luma(RGB)
ALPHA = np.repeat(np.linspace(0, 255, 37).astype(np.uint8)[None], 23, axis=0)
WIDE = np.arange(37 * 23, dtype=np.uint16).reshape(23, 37) * 77
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB, CMYK = profile(b"Lab ", NAMED), profile(b"CMYK", NAMED)
LINK = ADOBE_RGB[:12] + b"link" + ADOBE_RGB[16:]
# As the command line does: Pillow warns of much that it then reads.
QUIET = pytest.mark.filterwarnings("ignore")
MANY = settings(deadline=None, max_examples=150, derandomize=True)
SEVERAL_BITS = "its samples of more than 8 bits became 8 bits"


# Kinds of pixels


def test_png_of_1_bit() -> None:
    bits = GREY > 128
    image = read(saved(Pil.fromarray(bits), "PNG"))
    assert image.grey
    assert np.array_equal(image.pixels[:, :, 0], bits * np.uint8(255))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "GIF", "JPEG"])
def test_grey(format: str) -> None:
    image = read(file_of(GREY, format, **({"lossless": True} if format == "WEBP" else {})))
    assert image.pixels.shape == (23, 37, 3)
    # WebP has no grey.
    assert image.grey == (format != "WEBP")
    assert psnr(image.pixels[:, :, 0], GREY) > (35 if format == "JPEG" else 99)
    assert image.alpha is None
    assert image.notes == ()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "WEBP", "JPEG", "AVIF", "HEIF"])
def test_colour(format: str) -> None:
    pillow_heif.register_heif_opener()
    options = {"WEBP": {"lossless": True}, "AVIF": {"quality": 95}, "HEIF": {"quality": 95}}.get(format, {})
    image = read(file_of(RGB, format, **options))
    assert psnr(image.pixels, RGB) > (28 if format in ("JPEG", "AVIF", "HEIF") else 99)
    assert (image.grey, image.alpha, image.icc, image.notes) == (False, None, None, ())


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_colour_with_alpha(format: str) -> None:
    pillow_heif.register_heif_opener()
    options = {"WEBP": {"lossless": True, "exact": True}, "AVIF": {"quality": 95}, "HEIF": {"quality": 95}}
    image = read(file_of(np.dstack([RGB, ALPHA]), format, **options.get(format, {})))
    assert image.alpha is not None
    assert psnr(image.alpha, ALPHA) > (35 if format in ("AVIF", "HEIF") else 99)
    assert psnr(image.pixels, RGB) > (25 if format in ("AVIF", "HEIF") else 99)


def test_grey_with_alpha() -> None:
    image = read(saved(Pil.merge("LA", (Pil.fromarray(GREY), Pil.fromarray(ALPHA))), "PNG"))
    assert image.grey
    assert np.array_equal(image.pixels[:, :, 1], GREY)
    assert image.alpha is not None
    assert np.array_equal(image.alpha, ALPHA)


def test_palette() -> None:
    picture = Pil.fromarray(RGB).quantize(16)
    image = read(saved(picture, "PNG"))
    assert np.array_equal(image.pixels, np.asarray(picture.convert("RGB")))
    assert image.alpha is None
    transparent = read(saved(picture, "PNG", transparency=3))
    assert transparent.alpha is not None
    assert np.array_equal(transparent.alpha == 0, np.asarray(picture) == 3)


def test_one_transparent_grey_level_or_colour() -> None:
    level = read(saved(Pil.fromarray(GREY), "PNG", transparency=int(GREY[0, 0])))
    assert level.grey
    assert level.alpha is not None
    assert np.array_equal(level.alpha == 0, GREY[0, 0] == GREY)
    colour = read(saved(Pil.fromarray(RGB), "PNG", transparency=tuple(map(int, RGB[0, 0]))))
    assert colour.alpha is not None
    assert np.array_equal(colour.alpha == 0, (RGB[0, 0] == RGB).all(axis=2))


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_with_a_note(format: str) -> None:
    samples = WIDE.copy()
    samples[0, :2] = 0, 65535
    image = read(saved(Pil.fromarray(samples), format))
    assert image.notes == (SEVERAL_BITS,)
    assert image.grey
    assert np.abs(image.pixels[:, :, 0] - samples / 257).max() <= 0.51
    assert image.pixels[0, :2, 0].tolist() == [0, 255]


def test_16_bit_grey_with_alpha_stays_grey() -> None:
    samples = np.dstack([WIDE, ALPHA.astype(np.uint16) * 257]).astype(">u2")
    image = read(png(37, 23, 16, 4, b"".join(b"\0" + row.tobytes() for row in samples)))
    assert image.grey
    assert np.abs(image.pixels[:, :, 0] - WIDE / 257).max() <= 1
    assert image.alpha is not None
    assert np.array_equal(image.alpha, ALPHA)


def test_16_bit_grey_with_one_clear_level() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in WIDE.astype(">u2"))
    image = read(png(37, 23, 16, 0, rows, struct.pack(">H", int(WIDE[3, 4]))))
    assert image.grey
    assert image.alpha is not None
    assert np.argwhere(image.alpha == 0).tolist() == [[3, 4]]


def test_16_bit_colour_has_a_note() -> None:
    samples = np.dstack([WIDE, WIDE[::-1], WIDE[:, ::-1]]).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    ppm = b"P6\n37 23\n65535\n" + samples.tobytes()
    for data in (png(37, 23, 16, 2, rows), ppm):
        image = read(data)
        assert image.notes == (SEVERAL_BITS,)
        assert np.abs(image.pixels - samples / 257).max() <= 1


def test_ppm_with_comments() -> None:
    data = b"P6\n# one\n37 23\n# two\n255\n" + RGB.tobytes()
    assert np.array_equal(read(data).pixels, RGB)
    assert read(data).notes == ()


def test_a_tiff_whose_next_page_is_broken() -> None:
    data = saved(Pil.fromarray(RGB), "TIFF", save_all=True, append_images=[Pil.fromarray(RGB)])
    second = struct.pack("<HHII", 256, 4, 1, 37)  # the width of a page, as TIFF writes it
    place = data.rindex(second)
    assert place != data.index(second)
    with pytest.raises(InputError, match="whole copy"):
        read(data[:place] + struct.pack("<H", 65000) + data[place + 2 :])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile(format: str) -> None:
    cmyk = Pil.fromarray(RGB).convert("CMYK")
    image = read(saved(cmyk, format))
    assert "plain formula" in image.notes[0]
    assert psnr(image.pixels, RGB) > 25


def test_cmyk_with_a_profile_for_something_else_becomes_rgb_by_the_plain_formula() -> None:
    cmyk = Pil.fromarray(RGB).convert("CMYK")
    image = read(saved(cmyk, "TIFF", icc_profile=SRGB))
    assert image.notes[0] == "its ICC profile is for another kind of picture and was dropped"
    assert np.array_equal(image.pixels, read(saved(cmyk, "TIFF")).pixels)


def test_an_opaque_alpha_channel_is_dropped_with_a_note() -> None:
    image = read(file_of(np.dstack([RGB, np.full_like(GREY, 255)]), "PNG"))
    assert image.alpha is None
    assert image.notes == ("its alpha channel is opaque everywhere and was dropped",)
    assert read(file_of(np.dstack([RGB, np.full_like(GREY, 254)]), "PNG")).alpha is not None


# Orientation


def oriented(orientation: int) -> bytes:
    exif = Pil.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A maker"
    exif[0x0110] = "A model"
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_orientation_is_applied_and_reset(orientation: int, format: str) -> None:
    exif = oriented(orientation)
    data = file_of(RGB, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    with Pil.open(io.BytesIO(data)) as file:
        expected = np.asarray(ImageOps.exif_transpose(file))
    image = read(data, metadata="all")
    assert np.array_equal(image.pixels, expected)
    if format == "TIFF":
        assert image.exif is None
        return
    assert image.exif is not None
    kept = Pil.Exif()
    kept.load(image.exif)
    assert kept[0x0112] == 1
    assert kept[0x010F] == "A maker"
    raw = exif.removeprefix(b"Exif\0\0")
    changed = [place for place in range(len(raw)) if raw[place] != image.exif[place]]
    assert len(image.exif) == len(raw)
    assert len(changed) == (orientation != 1)
    assert read(data).exif is None


@pytest.mark.parametrize("value", [0, 9, 200])
def test_an_orientation_that_is_none_changes_nothing(value: int) -> None:
    assert np.array_equal(read(file_of(RGB, "PNG", exif=oriented(value))).pixels, RGB)


@pytest.mark.parametrize("text", [b'tiff:Orientation="6"', b"<tiff:Orientation>6</tiff:Orientation>"])
def test_the_orientation_in_xmp_is_reset_too(text: bytes) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">' + text + b"</x:xmpmeta>"
    image = read(file_of(RGB, "JPEG", xmp=xmp, exif=oriented(6)), metadata="all")
    assert image.xmp == xmp.replace(b"6", b"1")
    assert read(file_of(RGB, "JPEG", xmp=xmp, exif=oriented(6))).xmp is None


ENTRY = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)


@QUIET
@MANY
@given(st.binary(max_size=60), st.booleans())
def test_any_exif_block_ends_well(block: bytes, turned: bool) -> None:
    """A sound picture is read, whatever its EXIF is like."""
    directory = struct.pack("<H", 3) + ENTRY if turned else b""
    exif = b"II*\0\x08\0\0\0" + directory + block
    image = read(file_of(RGB, "PNG", exif=exif), metadata="all")
    assert sorted(image.pixels.shape[:2]) == [23, 37]


@QUIET
@pytest.mark.parametrize("tag", [0x010E, 0x011A, 0x8769, 0x8825, 0x9286, 0xA005, 0x927C])
@pytest.mark.parametrize("kind", range(14))
@pytest.mark.parametrize("count", [1, 2, 0xFFFFFFFF])
def test_a_turned_picture_is_read_whatever_else_its_exif_says(tag: int, kind: int, count: int) -> None:
    entry = struct.pack("<HHII", tag, kind, count, 8)
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + ENTRY + entry + bytes(4)
    image = read(file_of(RGB, "PNG", exif=exif), metadata="all")
    assert (image.width, image.height) == (23, 37)


# Colour


def test_metadata_icc_keeps_the_profile_and_nothing_else() -> None:
    data = file_of(RGB, "JPEG", icc_profile=ADOBE_RGB, exif=oriented(1), xmp=b"<x/>")
    icc, everything, nothing = (read(data, metadata=metadata) for metadata in ("icc", "all", "none"))
    assert (icc.icc, icc.exif, icc.xmp) == (ADOBE_RGB, None, None)
    assert everything.icc == ADOBE_RGB
    assert everything.exif == oriented(1).removeprefix(b"Exif\0\0")
    assert everything.xmp == b"<x/>"
    assert (nothing.icc, nothing.exif, nothing.xmp) == (None, None, None)
    assert np.array_equal(icc.pixels, everything.pixels)
    assert not np.array_equal(icc.pixels, nothing.pixels)


def test_a_wide_gamut_becomes_srgb() -> None:
    # The green (100, 150, 100) of Adobe RGB (1998) in sRGB by its definition: 71, 151, 98.
    sample = np.full((4, 4, 3), (100, 150, 100), np.uint8)
    image = read(file_of(sample, "PNG", icc_profile=ADOBE_RGB), metadata="none")
    linear = (np.array([100, 150, 100]) / 255) ** 2.2
    matrix = np.array([[1.3984, -0.3984, 0], [0, 1, 0], [0, -0.0429, 1.0429]])
    wanted = 255 * (1.055 * (matrix @ linear) ** (1 / 2.4) - 0.055)
    assert np.abs(image.pixels[0, 0] - wanted).max() <= 2
    assert image.icc is None


def test_an_srgb_profile_changes_nothing() -> None:
    image = read(file_of(RGB, "PNG", icc_profile=SRGB), metadata="none")
    assert np.abs(image.pixels.astype(int) - RGB).max() <= 1


def test_a_grey_profile_is_kept_and_used() -> None:
    data = file_of(GREY, "PNG", icc_profile=GREY_GAMMA_1)
    kept, converted = read(data), read(data, metadata="none")
    assert kept.icc == GREY_GAMMA_1
    assert is_grey_profile(GREY_GAMMA_1)
    assert np.array_equal(kept.pixels[:, :, 0], GREY)
    assert converted.grey
    assert (converted.pixels[:, :, 0] == converted.pixels[:, :, 2]).all()
    # Linear light became sRGB's curve.
    linear = GREY / 255
    wanted = 255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert np.abs(converted.pixels[:, :, 0] - wanted).max() <= 2


def test_a_grey_profile_becomes_srgb_where_there_is_no_grey() -> None:
    image, webp, jpeg = read(file_of(GREY, "PNG", icc_profile=GREY_GAMMA_1)), CODECS["webp"], CODECS["jpeg"]
    back = read(encode(image, webp, webp.setting(95), backend="pillow").data)
    assert back.icc is None
    assert psnr(back.pixels, image.in_srgb().pixels) > 30
    assert read(encode(image, jpeg, jpeg.setting(95), backend="pillow").data).icc == GREY_GAMMA_1


@pytest.mark.parametrize(("samples", "icc"), [(RGB, GREY_GAMMA_1), (GREY, ADOBE_RGB)], ids=["colour", "grey"])
def test_a_profile_of_another_kind_is_dropped_with_a_note(samples: Pixels, icc: bytes) -> None:
    image = read(file_of(samples, "PNG", icc_profile=icc))
    assert image.icc is None
    assert image.notes == ("its ICC profile is for another kind of picture and was dropped",)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("icc", [b"x", b"junk" * 100, ADOBE_RGB[:200], LAB, CMYK, GREY_GAMMA_1, LINK], ids=str)
@pytest.mark.parametrize("metadata", ["icc", "all", "none"])
def test_a_profile_that_does_not_belong_is_dropped_with_a_note(icc: bytes, format: str, metadata: Metadata) -> None:
    pillow_heif.register_heif_opener()
    image = read(file_of(RGB, format, icc_profile=icc), metadata=metadata)
    assert image.icc is None
    assert any(re.fullmatch(r"its ICC profile is (corrupt|for another kind of picture) and was dropped", note)
               for note in image.notes)  # fmt: skip
    assert np.array_equal(image.pixels, read(file_of(RGB, format)).pixels)


def test_keeping_all_is_the_picture_itself() -> None:
    image = Image(RGB, icc=SRGB, exif=b"x", xmp=b"y")
    assert apply_metadata_policy(image, "all") is image


# Frames


def animation(format: str) -> bytes:
    frames = [Pil.fromarray(np.full((9, 11, 3), value, np.uint8)) for value in (0, 120, 240)]
    lossless = {"lossless": True} if format == "WEBP" else {}
    return saved(frames[0], format, save_all=True, append_images=frames[1:], **lossless)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_pictures_one_has_to_be_chosen(format: str) -> None:
    data = animation(format)
    with pytest.raises(UnsupportedError, match=r"boat\.x holds 3 pictures\. Choose one with --frame 0\.\.2\."):
        read(data, name="boat.x")
    for frame, value in enumerate((0, 120, 240)):
        assert (read(data, frame=frame).pixels == value).all()
    for frame in (-1, 3, 1000):
        with pytest.raises(UsageError, match=rf"--frame {frame}: .* Allowed: 0\.\.2\."):
            read(data, frame=frame)


def test_a_still_has_one_frame() -> None:
    data = file_of(RGB, "PNG")
    assert np.array_equal(read(data, frame=0).pixels, RGB)
    with pytest.raises(UsageError, match=r"Allowed: 0\.\.0\."):
        read(data, frame=1)


# Broken files


KINDS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF"]
SMALL = smooth(24, 18)


def small(format: str) -> bytes:
    pillow_heif.register_heif_opener()
    return file_of(SMALL, format)


def ends_well(data: bytes) -> None:
    try:
        image = read(data, metadata="all")
    except InputError as error:
        assert str(error).endswith(".")
    else:
        assert image.pixels.ndim == 3
        assert image.pixels.dtype == np.uint8


@pytest.mark.parametrize("format", KINDS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_cut_file_is_refused(format: str, part: float) -> None:
    data = small(format)
    with pytest.raises(InputError, match=r"^boat\.x .* [A-Z][^.]*\.$"):
        read(data[: int(len(data) * part)], name="boat.x")


@pytest.mark.parametrize("data", [b"", b"\0", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", bytes(5000)])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^boat\.x .*\. Give [^.]*\.$|^boat\.x is empty"):
        read(data, name="boat.x")


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0\n", b"<svg/>", b"8BPS", b"\0\0\1\0\1\0"])
def test_formats_that_are_not_ours_are_not_tried(data: bytes) -> None:
    with pytest.raises(InputError, match="Give a whole PNG, JPEG"):
        read(data + bytes(100))


def test_a_bomb_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"60000x60000 pixels, more than the 268,435,456 .*KCOMPRESS_MAX_PIXELS"):
        read(png(60000, 60000, 8, 2, bytes(100)))
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "850")
    with pytest.raises(InputError, match="37x23 pixels, more than the 850"):
        read(file_of(RGB, "PNG"))
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "851")
    assert read(file_of(RGB, "PNG")).width == 37
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "many")
    assert read(file_of(RGB, "PNG")).width == 37


@QUIET
@pytest.mark.parametrize("format", KINDS)
@settings(deadline=None, max_examples=60, derandomize=True)
@given(changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=5))
def test_flipped_bytes_end_well(format: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(small(format))
    for place, value in changes:
        # Headers are where the harm is done: half of the changes fall into the first 64 bytes.
        data[int(place * 2 * 64) if place < 0.5 else int(place * len(data))] = value
    ends_well(bytes(data))


@QUIET
@MANY
@given(st.sampled_from(KINDS), st.binary(max_size=200))
def test_any_bytes_behind_a_right_beginning_end_well(format: str, rest: bytes) -> None:
    ends_well(small(format)[:16] + rest)


# What a picture can do


def test_flattening_is_the_mean_by_alpha() -> None:
    image = Image(RGB, ALPHA).flattened((255, 128, 0))
    weight = ALPHA[:, :, None] / 255
    assert image.alpha is None
    assert np.abs(image.pixels - (RGB * weight + np.array([255, 128, 0]) * (1 - weight))).max() <= 0.501
    assert np.array_equal(image.pixels[:, -1], RGB[:, -1])
    assert (image.pixels[:, 0] == (255, 128, 0)).all()


def test_flattening_keeps_grey_only_over_grey() -> None:
    image = replace(in_grey(Image(RGB)), alpha=ALPHA)
    assert image.flattened((9, 9, 9)).grey
    assert not image.flattened((9, 9, 8)).grey
    assert Image(RGB).flattened((1, 2, 3)).pixels is RGB
    tall = Image(smooth(2, 700), np.full((700, 2), 51, np.uint8)).flattened((0, 0, 0))
    assert np.abs(tall.pixels - smooth(2, 700) * 0.2).max() <= 0.501


def test_read_flattens_over_a_background() -> None:
    data = file_of(np.dstack([RGB, ALPHA]), "PNG")
    assert np.array_equal(read(data, background=(255, 255, 255)).pixels, Image(RGB, ALPHA).flattened((255,) * 3).pixels)


@pytest.mark.parametrize("format", ["PNG", "PPM", "TIFF", "BMP"])
@pytest.mark.parametrize("kind", ["lake", "balloons", "grey", "alpha", "one_pixel", "thin"])
def test_what_is_written_is_read(format: str, kind: str, request: pytest.FixtureRequest) -> None:
    image: Image = replace(request.getfixturevalue(kind), notes=())
    back = read(write(image, format))
    assert np.array_equal(back.pixels, image.pixels)
    assert back.grey == image.grey
    if image.alpha is not None and format in ("PNG", "TIFF"):
        assert back.alpha is not None
        assert np.array_equal(back.alpha, image.alpha)


def test_grey_with_alpha_is_written_and_read() -> None:
    image = replace(in_grey(Image(RGB)), alpha=ALPHA)
    for format in ("PNG", "TIFF"):
        back = read(write(image, format))
        assert back.grey
        assert np.array_equal(back.pixels, image.pixels)
        assert back.alpha is not None
        assert np.array_equal(back.alpha, ALPHA)


def test_metadata_are_written_to_png() -> None:
    exif = oriented(1).removeprefix(b"Exif\0\0")
    image = Image(RGB, icc=ADOBE_RGB, exif=exif, xmp=b"<x/>")
    back = read(write(image, "PNG"), metadata="all")
    assert (back.icc, back.exif, back.xmp) == (ADOBE_RGB, exif, b"<x/>")
    assert read(write(image, "TIFF"), metadata="all").icc == ADOBE_RGB


def test_pnm_and_pillow_show_the_same_picture() -> None:
    assert np.array_equal(read(b"".join(pnm(Image(RGB)))).pixels, RGB)
    assert b"".join(pnm(in_grey(Image(RGB)))) == b"P5\n37 23\n255\n" + GREY.tobytes()
    assert pnm(Image(RGB, ALPHA))[0].startswith(b"P7\nWIDTH 37\nHEIGHT 23\nDEPTH 4\n")
    assert [pillow(image).mode for image in (Image(RGB), in_grey(Image(RGB)), Image(RGB, ALPHA))] == [
        "RGB",
        "L",
        "RGBA",
    ]


def test_luma_of_grey_is_grey() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    assert np.array_equal(luma(levels), levels[:, :, 0])
    assert in_grey(Image(RGB)).with_pixels(RGB).pixels.tolist() == in_grey(Image(RGB)).pixels.tolist()


def test_a_transparent_colour_of_16_bits_is_ignored_with_a_note() -> None:
    """Pillow keeps the high bytes alone, among which the colour cannot be found."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = b"\0" + struct.pack(">6H", 1000, 2000, 3000, 60000, 50000, 40000)
    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000))
    image = read(png + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))
    assert image.alpha is None
    assert any("transparent colour" in note for note in image.notes)
