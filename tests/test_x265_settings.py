"""What x265 is told beside the quality: each parameter counts, and 10 bits arrive in every reader."""

import io
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from pictures import BACKENDS, in_grey, load, psnr, smooth
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from kcompress.bitstream import annexb
from kcompress.bitstream.sps import Sps, parse_sps
from kcompress.codecs import CODECS, Backend, Codec, bpg, decode, hevc, x265
from kcompress.codecs.containers.bpg import Bpg, demux, mux
from kcompress.colour import JFIF_RGB_TO_YCC
from kcompress.encoding import effective
from kcompress.errors import ProgramError, UsageError
from kcompress.images import Image
from kcompress.images.heif import parse, units
from kcompress.planes import BOX, LIBBPG, from_rgb
from kcompress.programs import ffmpeg

pytestmark = pytest.mark.encoders

HEVC, BPG = CODECS["hevc"], CODECS["bpg"]
BY_X265 = [way for way in BACKENDS if way.values[0] in (HEVC, BPG) and way.values[1].takes_parameters]
FULL = np.array(JFIF_RGB_TO_YCC)
WAYS = pytest.mark.parametrize(("codec", "backend"), BY_X265)
CHANGED = {
    "aq-mode": "3", "aq-strength": "1.5", "cbqpoffs": "-3", "crqpoffs": "-3", "psy-rd": "2", "psy-rdoq": "4",
    "sao": "0", "scaling-list": "0", "tskip": "0", "tu-intra-depth": "1",
}  # fmt: skip


def sps_of(stream: bytes) -> Sps:
    return parse_sps(annexb.first_picture(annexb.units(stream)).sps)


@WAYS
def test_each_parameter_changes_the_file(codec: Codec, backend: Backend, balloons: Image) -> None:
    def encoded(*changed: tuple[str, str]) -> bytes:
        return backend.encode(balloons, codec.setting(26, effort=6, parameters=changed))

    usual = encoded()
    assert encoded(*((name, parameter.default) for name, parameter in codec.parameters.items())) == usual
    for name in codec.parameters:
        changed = encoded((name, CHANGED[name]))
        assert changed != usual, name
        assert psnr(decode(changed).pixels, balloons.pixels) > 28


@WAYS
@pytest.mark.parametrize("chroma", ["420", "444"])
def test_what_rounding_took_reaches_the_file(codec: Codec, backend: Backend, chroma: str) -> None:
    """Colours between whole levels, and beyond those that RGB has."""
    for bits, colour, more in (
        (8, (90, 160, 40), (0.4, 0.4, 0.4)), (8, (220, 20, 20), (-3, -40, -40)), (10, (101, 101, 101), (-0.45,) * 3)
    ):  # fmt: skip
        setting = effective(codec.setting(0, chroma, 1, raw=codec is HEVC, bits=bits), backend)
        assert setting.planes
        pixels = np.full((64, 64, 3), colour, np.uint8)
        shown, plain = (
            coded_planes(backend.encode(Image(pixels, remainder=remainder), setting))
            for remainder in (np.full(pixels.shape, more, np.float16), None)
        )
        centre = 1 << bits >> 1
        wanted = FULL @ np.add(colour, more) * (2 * centre - 1) / 255 + (0, centre, centre)
        assert np.abs(shown - wanted).max() <= 0.7 and np.abs(plain - wanted).sum() > np.abs(shown - wanted).sum()


def coded_planes(data: bytes) -> np.ndarray:
    """Mean Y, Cb and Cr of a BPG file or a bare stream."""
    stream = demux(data, "it").picture if data[:3] == b"BPG" else data
    return np.array([plane.mean() for plane in x265.decode(stream).all])


def test_the_table_of_parameters_is_that_of_the_code() -> None:
    text = (Path(__file__).parent.parent / "kcompress" / "README.md").read_text()
    table = text.partition("### Parameters of x265")[2].partition("## The pool")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in table.splitlines() if line.startswith("| `")]
    assert rows == [
        [
            f"`{name}`", parameter.default,
            BPG.parameters[name].default if name in BPG.parameters else "-",
            f"{parameter.lowest:g}..{parameter.highest:g}",
        ]
        for name, parameter in HEVC.parameters.items()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("codec", "given", "allowed"),
    [
        (HEVC, ("aq-mode", "5"), r"0\.\.4 in whole numbers"),
        (HEVC, ("aq-mode", "1.5"), r"0\.\.4 in whole numbers"),
        (HEVC, ("aq-mode", "much"), r"0\.\.4"),
        (HEVC, ("aq-strength", "nan"), r"0\.\.3\."),
        (BPG, ("cbqpoffs", "-13"), r"-12\.\.12"),
        (HEVC, ("output", "file"), "no parameter of this name. Allowed: aq-mode"),
        (BPG, ("scaling-list", "1"), "no parameter of this name. Allowed: aq-mode"),
        (CODECS["jpeg"], ("aq-mode", "1"), "It has none: leave it out"),
    ],
)
def test_what_is_no_parameter_is_refused(codec: Codec, given: tuple[str, str], allowed: str) -> None:
    with pytest.raises(UsageError, match=rf"^--param {given[0]}={given[1]}.*{allowed}"):
        codec.setting(parameters=[given])


def test_the_last_value_of_a_parameter_counts_and_is_kept() -> None:
    setting = HEVC.setting(30, parameters=[("aq-mode", "2"), ("aq-mode", "3.0")])
    assert dict(setting.parameters)["aq-mode"] == "3"
    assert HEVC.at(setting, 20).parameters == setting.parameters
    assert HEVC.at(HEVC.setting(bits=10), 20).bits == 10


def test_bits_that_a_codec_has_not_are_refused() -> None:
    with pytest.raises(UsageError, match="--bits 12: hevc has only 8, 10"):
        HEVC.setting(bits=12)
    with pytest.raises(UsageError, match="--bits 10: jpeg has only 8"):
        CODECS["jpeg"].setting(bits=10)


@pytest.mark.parametrize("rate_factor", [hevc.rate_factor, bpg.rate_factor])
def test_every_quality_has_a_rate_factor_of_its_own(rate_factor: Callable[[int], float]) -> None:
    factors = [rate_factor(quality) for quality in range(52)]
    assert all(one < other for one, other in pairwise(factors))
    assert factors[0] >= 0 and factors[-1] <= 51


@pytest.mark.parametrize("name", ["lake.png", "balloons-333x217.png"])
@pytest.mark.parametrize("quality", [20, 28, 36])
def test_a_quality_is_about_as_good_as_a_constant_qp_of_it(name: str, quality: int) -> None:
    image = Image(np.ascontiguousarray(load(name).pixels[:208, :320]))
    planes = from_rgb(image.pixels, "420", BOX)
    plain = {"qp": str(quality), "ipratio": "1", "keyint": "1", "info": "0", "range": "full"}
    before = x265.FfmpegX265().run(planes, 4, plain)
    now = HEVC.backend("ffmpeg").encode(image, HEVC.setting(quality, effort=4, raw=True))
    one, other = (psnr(x265.decode(stream).luma, planes.luma) for stream in (before, now))
    assert abs(one - other) < 2  # two steps of QP; it was fitted to another score than this
    assert 0.7 < len(now) / len(before) < 1.15


def test_small_coloured_text_takes_fewer_bytes_by_transform_skip() -> None:
    page = Pil.new("RGB", (256, 192), "white")
    for row, colour in enumerate(("black", "navy", "darkred", "gray") * 3):
        text = "the quick brown fox jumps over 3.14 dogs"
        ImageDraw.Draw(page).text((4, 16 * row), text, fill=colour, font=ImageFont.load_default(12))
    image = Image(np.asarray(page))

    def coded(skip: str) -> tuple[int, float]:
        data = HEVC.backend("ffmpeg").encode(image, HEVC.setting(28, parameters=[("tskip", skip)]))
        return len(data), psnr(decode(data).pixels, image.pixels)

    (size, score), (size_without, score_without) = coded("1"), coded("0")
    assert size < 0.95 * size_without and score > score_without - 0.1


@WAYS
@pytest.mark.parametrize("chroma", ["420", "444"])
def test_ten_bits_lose_less_than_eight(codec: Codec, backend: Backend, chroma: str) -> None:
    """As exact decoders show it; libheif's 10 bits are off by half a level in 4:2:0."""
    pixels = smooth(192, 128)
    errors = []
    for bits in (8, 10):
        planes = from_rgb(pixels, chroma, BOX if codec is HEVC else LIBBPG, bits)
        data = backend.encode(Image(pixels), codec.setting(4, chroma, 2, raw=codec is HEVC, bits=bits))
        stream = data if codec is HEVC else demux(data).picture
        assert (sps_of(stream).bits_luma, sps_of(stream).bits_chroma) == (bits, bits)
        decoded = x265.decode(stream)
        # The luma of the picture itself, in levels of 8 bits.
        exact = pixels @ np.array([0.299, 0.587, 0.114])
        errors.append(np.mean((decoded.luma * (255 / ((1 << bits) - 1)) - exact) ** 2))
        assert decoded.bits == bits and len(decoded.chroma) == len(planes.chroma)
    assert errors[1] < errors[0] - 0.03


@WAYS
@pytest.mark.parametrize("kind", ["colour", "grey", "alpha"])
def test_ten_bits_are_read(codec: Codec, backend: Backend, kind: str, balloons: Image) -> None:
    image = in_grey(balloons) if kind == "grey" else balloons
    if kind == "alpha":
        image = replace(image, alpha=np.ascontiguousarray(image.pixels[:, :, 0] // 2 + 64))
    back = decode(backend.encode(image, codec.setting(10, "420", 1, bits=10)))
    assert back.grey == image.grey
    assert psnr(back.pixels, image.pixels) > 32
    if image.alpha is not None:
        assert back.alpha is not None and psnr(back.alpha, image.alpha) > 40


@pytest.mark.parametrize("name", ["x265", "ffmpeg"])
@pytest.mark.parametrize(
    ("bits", "chroma", "profile", "brand"),
    [(8, "420", 3, b"heic"), (10, "420", 2, b"heix"), (8, "444", 4, b"heix"), (10, "444", 4, b"heix")],
)
def test_profiles_and_brands(name: str, bits: int, chroma: str, profile: int, brand: bytes, balloons: Image) -> None:
    """Main Still Picture, Main 10, range extensions: in the parameter sets and in the boxes."""
    backend = next(backend for backend in HEVC.backends if backend.name == name)
    if backend.version() is None:
        pytest.skip(f"{name} is not installed")
    data = backend.encode(balloons, HEVC.setting(30, chroma, 1, bits=bits))
    assert data[4:12] == b"ftyp" + brand
    still = parse(data)
    assert still is not None and still.bits() == bits
    (configuration,) = still.primary_properties(b"hvcC")
    assert configuration[1] & 31 == profile
    assert configuration[16:19] == struct.pack("BBB", 0xFC | (1 if chroma == "420" else 3), *[0xF8 | bits - 8] * 2)
    for unit in units(configuration):
        if annexb.kind(unit) == annexb.SPS:
            assert parse_sps(unit).profile_tier_level == configuration[1:13]
        elif annexb.kind(unit) == annexb.VPS:
            assert annexb.unescape(unit)[6:18] == configuration[1:13]
    if profile == 2:  # compatible with itself alone; 8-bit decoders must not try
        assert configuration[2:6] == bytes.fromhex("20000000")


def test_other_readers_open_ten_bits(balloons: Image, tmp_path: Path) -> None:
    data = HEVC.backend("ffmpeg").encode(balloons, HEVC.setting(10, "420", 1, bits=10))
    opened = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    assert opened.mode == "RGB;16" and opened.info["bit_depth"] == 10
    (tmp_path / "in.heic").write_bytes(data)
    raw = ffmpeg().run(
        ["-v", "error", "-i", str(tmp_path / "in.heic"), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    )
    assert psnr(np.frombuffer(raw, np.uint8).reshape(216, 332, 3), balloons.pixels[:216, :332]) > 32
    if shutil.which("heif-convert") is not None:
        subprocess.run(["heif-convert", "in.heic", "out.png"], cwd=tmp_path, check=True, capture_output=True)
        assert psnr(decode((tmp_path / "out.png").read_bytes()).pixels, balloons.pixels) > 32


def test_ten_bits_make_no_difference_to_the_container_of_bpg(balloons: Image) -> None:
    data = BPG.backend("ffmpeg").encode(balloons, BPG.setting(20, "420", 1, bits=10))
    assert demux(data).bits == 10
    assert mux(demux(data)) == data


LISTS = (
    "INTRA4X4_LUMA",
    "INTRA4X4_CHROMAU",
    "INTRA4X4_CHROMAV",
    "INTER4X4_LUMA",
    "INTER4X4_CHROMAU",
    "INTER4X4_CHROMAV",
)


@pytest.mark.parametrize("given", ["off", "default", "file"])
def test_scaling_lists_are_read(given: str, tmp_path: Path, balloons: Image) -> None:
    lists = given
    if given == "file":
        rng, text = np.random.default_rng(1), []
        for size in (4, 8, 16, 32):
            for name in LISTS:
                if size == 32 and "CHROMA" in name:
                    continue
                count = min(64, size * size)
                text.append(name.replace("4X4", f"{size}X{size}") + " =\n")
                text.append("".join(f"{step}," for step in rng.integers(9, 40, count)) + "\n")
                text.append(name.replace("4X4", f"{size}X{size}") + "_DC =\n17,\n" if size > 8 else "")
        (tmp_path / "lists").write_text("".join(text))
        lists = str(tmp_path / "lists")
    parameters = {"crf": "24", "keyint": "1", "info": "0", "range": "full", "scaling-list": lists}
    planes = from_rgb(balloons.pixels[:192, :256], "420", BOX)
    stream = x265.FfmpegX265().run(planes, 2, parameters)
    sps = sps_of(stream)
    assert sps.scaling_lists == (given != "off")
    # What stands behind the lists is found.
    assert (sps.full_range, sps.width, sps.height) == (True, 256, 192)
    assert psnr(x265.decode(stream).luma, planes.luma) > 33
    if given == "off":
        assert mux(Bpg(256, 192, "420", stream))
    else:
        with pytest.raises(ProgramError, match="scaling lists"):
            mux(Bpg(256, 192, "420", stream))
