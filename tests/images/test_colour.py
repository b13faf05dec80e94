"""Colour told without an ICC profile, against colour science written out here."""

import io
import struct

import numpy as np
import pillow_heif
import pytest
import tifffile
from handmade import ADOBE_RGB, boxes_without, file_of, png, saved
from PIL import Image as Pil
from PIL import ImageCms

from kcompress.codecs import decode
from kcompress.errors import UnsupportedError
from kcompress.evaluation.comparison import opened
from kcompress.images import Image, by_codes, heif, read, read_canonical, with_colour
from kcompress.images.colour import BT709, SRGB_CURVE
from kcompress.images.icc import display_profile, why_unusable

COLOURS = np.array(
    [[200, 40, 40], [40, 200, 40], [40, 40, 200], [128, 128, 128], [255, 255, 255], [90, 120, 60], [0, 0, 0]], np.uint8
)
PATCHES = np.repeat(np.repeat(COLOURS[None], 32, axis=0), 16, axis=1)
P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290)
BT2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)


def to_xyz(primaries: tuple[float, ...]) -> np.ndarray:
    xy = np.array(primaries).reshape(4, 2)
    xyz = np.stack([xy[:, 0] / xy[:, 1], np.ones(4), (1 - xy.sum(axis=1)) / xy[:, 1]], axis=1)
    return xyz[:3].T @ np.diag(np.linalg.inv(xyz[:3].T) @ xyz[3])


def srgb_of(light: np.ndarray, primaries: tuple[float, ...]) -> np.ndarray:
    linear = np.clip(light @ (np.linalg.inv(to_xyz(BT709)) @ to_xyz(primaries)).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_light(code: np.ndarray) -> np.ndarray:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def bt709_light(code: np.ndarray) -> np.ndarray:
    return np.where(code < 0.081, code / 4.5, ((code + 0.0993) / 1.0993) ** (1 / 0.45))


WIDE = [
    (12, 13, P3, srgb_light),
    (9, 14, BT2020, bt709_light),
    (9, 13, BT2020, srgb_light),
    (1, 8, BT709, lambda code: code),
    (12, 4, P3, lambda code: code**2.2),
]


def tagged_png(samples: np.ndarray, further: dict[bytes, bytes]) -> bytes:
    height, width = samples.shape[:2]
    kind = 0 if samples.ndim == 2 else 2
    return png(width, height, 8, kind, b"".join(b"\0" + row.tobytes() for row in samples), further=further)


def tagged_heif(codes: tuple[int, int], samples: np.ndarray = PATCHES) -> bytes:
    output = io.BytesIO()
    pillow_heif.from_pillow(Pil.fromarray(samples)).save(
        output, quality=-1, chroma=444, matrix_coefficients=0, full_range_flag=1, save_nclx_profile=True,
        color_primaries=codes[0], transfer_characteristics=codes[1],
    )  # fmt: skip
    return output.getvalue()


def tagged_avif(codes: tuple[int, int], samples: np.ndarray = PATCHES) -> bytes:
    """Pillow writes sRGB's nclx; here the codes are others."""
    data = saved(Pil.fromarray(samples), "AVIF", quality=100, subsampling="4:4:4")
    place = data.index(b"nclx") + 4
    assert struct.unpack_from(">HH", data, place) == (1, 13)
    return data[:place] + struct.pack(">HH", *codes) + data[place + 4 :]


def centres(pixels: np.ndarray) -> np.ndarray:
    return pixels[16, 8::16].astype(float)


FILES = {
    "png": lambda codes: tagged_png(PATCHES, {b"cICP": bytes([*codes, 0, 1])}),
    "heic": tagged_heif,
    "avif": tagged_avif,
}


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(("primaries", "transfer", "xy", "light"), WIDE, ids=[f"{a}/{b}" for a, b, *_ in WIDE])
def test_codes_are_converted_and_kept_as_a_profile(kind, primaries, transfer, xy, light) -> None:
    data = FILES[kind]((primaries, transfer))
    wanted = srgb_of(light(COLOURS / 255), xy)
    assert np.abs(centres(read_canonical(data, "x").pixels) - wanted).max() <= 4
    assert np.abs(centres(opened(data, "x").image.pixels) - wanted).max() <= 4
    kept = read(data)
    assert np.abs(centres(kept.pixels) - COLOURS).max() <= 2  # the samples stay
    assert kept.icc is not None
    assert any("not by an ICC profile" in note for note in kept.notes)
    assert np.array_equal(decode(data, metadata="icc").pixels, kept.pixels)
    # by another conversion, and with the profile's own name
    profile = ImageCms.ImageCmsProfile(io.BytesIO(kept.icc))
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(Pil.fromarray(kept.pixels), profile, srgb, renderingIntent=1)
    assert converted is not None
    assert np.abs(centres(np.asarray(converted)) - wanted).max() <= 4


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("codes", [(1, 13), (1, 1), (1, 6), (2, 2), (2, 13), (1, 2)])
def test_srgb_is_left_alone(kind, codes) -> None:
    image = read(FILES[kind](codes))
    assert (image.icc, image.notes) == (None, ())
    assert np.abs(centres(image.pixels) - COLOURS).max() <= 2


@pytest.mark.parametrize("kind", ["png", "avif"])
@pytest.mark.parametrize("codes", [(1, 9), (0, 13), (1, 200), (99, 13), (1, 3)])
def test_codes_without_a_meaning_are_refused(kind, codes) -> None:
    """libheif itself refuses them in a HEIC."""
    with pytest.raises(UnsupportedError, match=r"not supported: colours of primaries .* \(ITU-T H\.273, told by its"):
        read(FILES[kind](codes))


# HDR


def pq_code(light: np.ndarray) -> np.ndarray:
    power = (light / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


@pytest.mark.parametrize("kind", FILES)
def test_pq_is_tone_mapped(kind) -> None:
    nits = np.array([0.0, 5, 20, 50, 90, 203, 500, 1000, 4000, 10000])
    codes = np.rint(255 * pq_code(nits)).astype(np.uint8)
    samples = np.repeat(np.repeat(codes[None, :, None], 32, axis=0), 16, axis=1).repeat(3, axis=2)
    if kind == "png":
        data = tagged_png(samples, {b"cICP": bytes([9, 16, 0, 1])})
    else:
        data = (tagged_heif if kind == "heic" else tagged_avif)((9, 16), samples)
    image = read(data)
    assert image.icc is None
    assert any(note.startswith("its colours are BT.2020 PQ") and "tone-mapped" in note for note in image.notes)
    shown = centres(image.pixels)
    assert np.ptp(shown, axis=1).max() <= 1  # grey stays grey
    light = 203 * srgb_light(shown[:, 1] / 255)
    # up to the knee, some 95 cd/m2, as it is; 8-bit PQ has steps of 2 % there
    assert np.abs(light[:5] - nits[:5]).max() <= 3
    assert (np.diff(light[:8]) > 0).all()
    assert 0.5 < light[5] / 203 < 0.9
    assert shown[7:].min() >= 253


def test_hlg_is_tone_mapped() -> None:
    """Reference white, 75 % of the signal, is as bright as PQ's 203 cd/m2 (BT.2408)."""
    hlg = tagged_png(np.full((8, 8, 3), 191, np.uint8), {b"cICP": bytes([9, 18, 0, 1])})
    pq = tagged_png(np.full((8, 8, 3), 148, np.uint8), {b"cICP": bytes([9, 16, 0, 1])})
    assert abs(int(read(hlg).pixels[0, 0, 0]) - int(read(pq).pixels[0, 0, 0])) <= 3
    white, black = (
        tagged_png(np.full((8, 8, 3), level, np.uint8), {b"cICP": bytes([9, 18, 0, 1])}) for level in (255, 0)
    )
    assert read(white).pixels.min() >= 253
    assert read(black).pixels.max() == 0


def test_hues_stay_when_tone_mapped() -> None:
    """Pure BT.709 red of 100 cd/m2 in BT.2020 PQ stays pure red."""
    light = np.linalg.inv(to_xyz(BT2020)) @ to_xyz(BT709) @ np.array([100.0, 0, 0])
    samples = np.full((4, 4, 3), np.rint(255 * pq_code(np.maximum(light, 0))), np.uint8)
    red, green, blue = map(int, read(tagged_png(samples, {b"cICP": bytes([9, 16, 0, 1])})).pixels[0, 0])
    assert 160 < red < 200
    assert max(green, blue) < 40


# PNG


def gamma(value: float) -> bytes:
    return struct.pack(">I", round(value * 100000))


def chromaticities(xy: tuple[float, ...]) -> bytes:
    return struct.pack(">8I", *(round(value * 100000) for value in (*xy[6:], *xy[:6])))


@pytest.mark.parametrize(
    ("further", "xy", "light"),
    [
        ({b"gAMA": gamma(1)}, BT709, lambda code: code),
        ({b"gAMA": gamma(1 / 1.8)}, BT709, lambda code: code**1.8),
        ({b"gAMA": gamma(1 / 2.2), b"cHRM": chromaticities(P3)}, P3, lambda code: code**2.2),
        ({b"cHRM": chromaticities(BT2020)}, BT2020, srgb_light),
        ({b"gAMA": gamma(1), b"cHRM": chromaticities(BT709)}, BT709, lambda code: code),
    ],
    ids=["linear", "1.8", "P3", "BT.2020", "linear with primaries"],
)
def test_gamma_and_primaries_of_a_png(further, xy, light) -> None:
    data = tagged_png(PATCHES, further)
    assert np.abs(centres(read_canonical(data, "x").pixels) - srgb_of(light(COLOURS / 255), xy)).max() <= 4
    assert any("not by an ICC profile" in note for note in read(data).notes)


@pytest.mark.parametrize(
    "further",
    [
        {b"gAMA": gamma(0.45455)},
        {b"gAMA": gamma(0.45455), b"cHRM": chromaticities(BT709)},
        {b"cHRM": chromaticities(BT709)},
        {b"sRGB": b"\0", b"gAMA": gamma(1)},
        {b"cICP": bytes([1, 13, 0, 1]), b"gAMA": gamma(1)},
        {b"gAMA": gamma(0)},
        {b"gAMA": b"\xff" * 4},
        {b"cHRM": bytes(32)},
        {b"cHRM": b"\xff" * 32},
    ],
)
def test_what_tells_srgb_or_nonsense_changes_nothing(further) -> None:
    image = read(tagged_png(PATCHES, further))
    assert (image.icc, image.notes) == (None, ())


def test_the_order_of_a_pngs_chunks() -> None:
    icc = file_of(PATCHES, "PNG", icc_profile=ADOBE_RGB)
    place = icc.index(b"iCCP") - 4
    chunk = png(1, 1, 8, 0, b"\0\0", further={b"gAMA": gamma(1)})[33:49]
    assert read(icc[:place] + chunk + icc[place:]).icc == ADOBE_RGB
    p3 = png(1, 1, 8, 0, b"\0\0", further={b"cICP": bytes([12, 13, 0, 1])})[33:49]
    assert np.array_equal(
        read(icc[:place] + p3 + icc[place:]).pixels, read(tagged_png(PATCHES, {b"cICP": bytes([12, 13, 0, 1])})).pixels
    )
    assert read(icc[:place] + p3 + icc[place:]).icc == read(tagged_png(PATCHES, {b"cICP": bytes([12, 13, 0, 1])})).icc


@pytest.mark.parametrize("rest", [(0, 0), (1, 1), (9, 1)])
def test_a_png_in_ycbcr_or_narrow_range_is_refused(rest) -> None:
    with pytest.raises(UnsupportedError, match=r"matrix \d, range \d"):
        read(tagged_png(PATCHES, {b"cICP": bytes([1, 13, *rest])}))


def test_grey_keeps_its_curve_alone() -> None:
    grey = np.arange(0, 256, 8, dtype=np.uint8)[None].repeat(4, axis=0)
    image = read(tagged_png(grey, {b"gAMA": gamma(1)}))
    assert image.grey
    assert image.icc is not None
    assert why_unusable(image.icc, b"GRAY") is None
    converted = read(tagged_png(grey, {b"gAMA": gamma(1)}), metadata="none")
    assert np.abs(converted.pixels[0, :, 0] - srgb_of((grey[0, :, None] / 255).repeat(3, 1), BT709)[:, 0]).max() <= 2
    assert read(tagged_png(grey, {b"cICP": bytes([9, 13, 0, 1])}), metadata="none").pixels[0, 5, 0] == grey[0, 5]


# Elsewhere


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG"])
def test_adobe_rgb_by_a_cameras_exif(format: str) -> None:
    exif = Pil.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03", 2: b"0100"}
    data = file_of(PATCHES, format, exif=exif.tobytes(), **({"quality": 100} if format != "PNG" else {}))
    image = read(data)
    assert any("Adobe RGB (1998), as told by its EXIF" in note for note in image.notes)
    wanted = read_canonical(file_of(PATCHES, "PNG", icc_profile=ADOBE_RGB), "x").pixels
    assert np.abs(centres(read_canonical(data, "x").pixels) - centres(wanted)).max() <= 6
    exif.get_ifd(0x8769)[0xA001] = 1
    exif.get_ifd(0x8769)[0xA005] = {1: "R98", 2: b"0100"}
    assert read(file_of(PATCHES, format, exif=exif.tobytes())).icc is None


@pytest.mark.parametrize("bits", [8, 16])
def test_primaries_of_a_tiff(bits: int) -> None:
    def tiff(xy: tuple[float, ...]) -> bytes:
        output = io.BytesIO()
        pairs = [number for value in (*xy[6:], *xy[:6]) for number in (round(value * 10000), 10000)]
        tags = [(318, "2I", 2, pairs[:4], True), (319, "2I", 6, pairs[4:], True)]
        samples = PATCHES if bits == 8 else (PATCHES.astype(np.uint16) << 8 | PATCHES)
        planes = samples if bits == 8 else np.moveaxis(samples, 2, 0).copy()
        tifffile.imwrite(
            output, planes, photometric="rgb", planarconfig="contig" if bits == 8 else "separate", extratags=tags
        )
        return output.getvalue()

    wanted = srgb_of(srgb_light(COLOURS / 255), P3)
    assert np.abs(centres(read_canonical(tiff(P3), "x").pixels) - wanted).max() <= 4
    assert any("PrimaryChromaticities" in note for note in read(tiff(P3)).notes)
    assert read(tiff(BT709)).icc is None
    assert read(tiff((0.0,) * 8)).icc is None


def test_the_profile_of_a_gif() -> None:
    grey = saved(Pil.fromarray(PATCHES).quantize(16), "GIF")
    blocks = b"".join(
        bytes([len(ADOBE_RGB[i : i + 255])]) + ADOBE_RGB[i : i + 255] for i in range(0, len(ADOBE_RGB), 255)
    )
    place = 13 + (3 << ((grey[10] & 7) + 1))
    data = grey[:place] + b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0" + grey[place:]
    assert read(data).icc == ADOBE_RGB
    assert np.array_equal(read(data).pixels, read(grey).pixels)
    assert read(grey).icc is None


def test_a_bmp_with_end_points_and_gamma_or_a_profile() -> None:
    plain = file_of(PATCHES, "BMP")
    rows = plain[54:]
    ends = (to_xyz(P3) * 2**30).T.ravel().round().astype(int)

    def bmp(size: int, kind: bytes, tail: bytes, profile: bytes = b"") -> bytes:
        head = struct.pack("<I", size) + plain[18:54] + bytes(16) + kind
        head = head.ljust(60, b"\0") + tail
        head = head.ljust(size, b"\0")
        start = 14 + size
        return b"BM" + struct.pack("<IHHI", start + len(rows) + len(profile), 0, 0, start) + head + rows + profile

    exact = struct.pack("<9i3I", *ends, *[round(2.2 * 65536)] * 3)
    wanted = srgb_of((COLOURS / 255) ** 2.2, P3)
    assert np.abs(centres(read_canonical(bmp(108, bytes(4), exact), "x").pixels) - wanted).max() <= 4
    embedded = bytes(52) + struct.pack("<II", 124 + len(rows), len(ADOBE_RGB))
    assert read(bmp(124, b"DEBM", embedded, ADOBE_RGB)).icc == ADOBE_RGB
    for harmless in (bmp(108, bytes(4), b""), bmp(124, b"BGRs", b""), bmp(108, b"BGRs", exact)):
        assert (read(harmless).icc, read(harmless).notes) == (None, ())


@pytest.mark.parametrize("codes", [(9, 16), (12, 13), (9, 14)])
def test_colour_told_in_hevc_alone(codes) -> None:
    """Neither nclx nor a profile: the VUI of the stream speaks."""
    data = tagged_heif(codes)
    bare = boxes_without(data, b"nclx")
    assert read(bare).notes == tuple(note.replace("nclx", "stream") for note in read(data).notes) != ()
    assert np.array_equal(read(bare).pixels, read(data).pixels)


def test_colour_told_in_av1_alone() -> None:
    data = saved(Pil.fromarray(PATCHES), "AVIF", quality=100)
    assert read(boxes_without(data, b"nclx")).notes == ()
    still = heif.parse(boxes_without(data, b"nclx"))
    assert still is not None
    coded = still.coded()
    assert coded is not None
    assert (coded.width, coded.height, coded.primaries, coded.transfer) == (*PATCHES.shape[1::-1], 1, 13)


def test_codes_of_a_bare_stream() -> None:
    image = Image(PATCHES)
    assert with_colour(image, by_codes(2, 2, "stream", "x")) is image
    assert with_colour(image, by_codes(12, 13, "stream", "x")).icc is not None


def test_profiles_written_here_are_sound() -> None:
    for grey in (False, True):
        icc = display_profile("sRGB", BT709, SRGB_CURVE, grey=grey)
        assert why_unusable(icc, b"GRAY" if grey else b"RGB ") is None
        assert struct.unpack_from(">I", icc) == (len(icc),)
        assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip() == "sRGB"
    # the colorants of sRGB adapted to D50, as the ICC publishes them
    parsed = ImageCms.ImageCmsProfile(io.BytesIO(display_profile("sRGB", BT709, SRGB_CURVE, grey=False))).profile
    assert parsed.red_colorant is not None
    assert np.allclose(parsed.red_colorant[0], (0.4361, 0.2225, 0.0139), atol=3e-4)
