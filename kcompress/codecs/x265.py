"""Planes <-> HEVC byte streams: the program ``x265`` or libx265 inside ffmpeg, and ffmpeg's decoder."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol, cast

import numpy as np

from kcompress.bitstream import annexb
from kcompress.bitstream.sps import Sps, as_main_10, parse_sps, uncropped
from kcompress.codecs.codec import Backend, Parameter
from kcompress.errors import InputError, ProgramError, ProgramTimeoutError
from kcompress.images import Image, check_size
from kcompress.planes import Matrix, Planes, Samples, Sampling, Taps, from_rgb, grey_planes, shifts
from kcompress.programs import X265, ffmpeg
from kcompress.setting import Setting

_SAMPLINGS: tuple[Sampling, ...] = ("400", "420", "422", "444")
_SWITCHES = frozenset({"info", "wpp", "rect", "amp", "sao", "tskip"})  # options that the program spells --x and --no-x
_PIXEL_FORMATS = {"400": "gray", "420": "yuv420p", "444": "yuv444p"}
# H.273 matrix codes of the VUI -> ours; unspecified streams of stills are nearly always BT.601.
_MATRICES: dict[int, Matrix] = {0: "rgb", 1: "bt709", 5: "bt601", 6: "bt601", 8: "ycgco", 9: "bt2020"}


PARAMETERS: dict[str, Parameter] = {
    # Finer steps in smooth blocks. By all metrics but PSNR better than constant QP; modes 2 to 4 help SSIMULACRA2 less.
    "aq-mode": Parameter("1", 0, 4),
    # At x265's own 1, PSNR and VMAF lose 1 to 2 %; at 0.8, IW-SSIM.
    "aq-strength": Parameter("0.9", 0, 3, whole=False),
    # Colour one step finer: metrics of RGB gain 1 to 3 %, those of luma give back 1 to 2 % of what they had gained.
    "cbqpoffs": Parameter("-1", -12, 12),
    "crqpoffs": Parameter("-1", -12, 12),
    # Noise that resembles detail: people may like it, no metric of this house does.
    "psy-rd": Parameter("0", 0, 5, whole=False),
    # Coefficients that rounding would drop are kept where there is texture: 1 % by IW-SSIM behind feedback, at no cost
    # there. Without it, Butteraugli gives back 1 to 2 %.
    "psy-rdoq": Parameter("2", 0, 50, whole=False),
    "sao": Parameter("1", 0, 1),
    # Coarser steps for finer detail, by H.265's own lists: 1 % by SSIMULACRA2, 3 % by Butteraugli.
    "scaling-list": Parameter("1", 0, 1),
    # Blocks of 4x4 without transform: text takes 10 % fewer bytes, photographs 0.6 % more.
    "tskip": Parameter("1", 0, 1),
    # Presets below 7 split blocks for the transform once: 2 % by SSIMULACRA2, 3 % by Butteraugli, a fifth more time.
    "tu-intra-depth": Parameter("4", 1, 4),
}
"""Parameters of x265 beside rate factor and preset: the values that measure best for HEVC, and the allowed range.

Measured against libheif's x265, which has its adaptive quantisation, too: SSIMULACRA2, Butteraugli, PSNR, MS-SSIM, VIF,
IW-SSIM, VMAF-NEG and ColorVideoVDP. No value is here by which one of them loses more than 1 %.
"""


class StreamEncoder(Protocol):
    """One way to reach x265."""

    name: str
    install: str

    def version(self) -> str | None:
        """None where it is not available."""
        ...

    def run(self, planes: Planes, preset: int, parameters: dict[str, str]) -> bytes:
        """The byte stream of planes that are already padded."""
        ...


class X265Program:
    """The program ``x265``."""

    name = "x265"
    install = X265.install

    def version(self) -> str | None:
        return X265.version()

    def run(self, planes: Planes, preset: int, parameters: dict[str, str]) -> bytes:
        height, width = planes.luma.shape
        arguments = ["--input", "-", "--input-res", f"{width}x{height}", "--input-csp", f"i{planes.sampling}"]
        arguments += ["--input-depth", str(planes.bits), "--output-depth", str(planes.bits)]
        arguments += ["--fps", "25", "--frames", "1"]
        arguments += ["--preset", str(preset), "--tune", "ssim", "--log-level", "error", "--no-progress"]
        for key, value in parameters.items():
            switch = [f"--{key}"] if value == "1" else [f"--no-{key}"]
            arguments += switch if key in _SWITCHES else [f"--{key}", value]
        return X265.run([*arguments, "--output", "-"], *planes.pieces)


class FfmpegX265:
    """libx265 inside imageio-ffmpeg's ffmpeg."""

    name = "ffmpeg"
    install = "Reinstall the Python package imageio-ffmpeg."

    def version(self) -> str | None:
        try:
            version = ffmpeg().version()
        except RuntimeError:  # imageio-ffmpeg without its binary
            return None
        return None if version is None else f"ffmpeg {version.split('-')[0]}, libx265"

    def run(self, planes: Planes, preset: int, parameters: dict[str, str]) -> bytes:
        height, width = planes.luma.shape
        form = _PIXEL_FORMATS[planes.sampling] + ("" if planes.bits == 8 else f"{planes.bits}le")
        arguments = ["-v", "error", "-f", "rawvideo", "-pix_fmt", form]
        arguments += ["-s", f"{width}x{height}", "-r", "25", "-i", "pipe:0", "-frames:v", "1"]
        # Told that one frame is all, x265 signals Main Still Picture, which every HEIC reader takes; else Main Intra.
        more = {"total-frames": "1", "log-level": "error"}
        listed = ":".join(f"{key}={value}" for key, value in {**parameters, **more}.items())
        arguments += ["-c:v", "libx265", "-preset", str(preset), "-tune", "ssim", "-x265-params", listed]
        return ffmpeg().run([*arguments, "-f", "hevc", "pipe:1"], *planes.pieces)


class X265Backend(Backend):
    """Base of the backends of HEVC and BPG: x265 by one of its programs."""

    bits = (8, 10)
    takes_planes = True

    def __init__(self, encoder: StreamEncoder) -> None:
        self.name = encoder.name
        self.install = encoder.install
        self._encoder = encoder

    def version(self) -> str | None:
        return self._encoder.version()


STREAM_ENCODERS: tuple[StreamEncoder, ...] = (X265Program(), FfmpegX265())


def planes_of(image: Image, setting: Setting, taps: Taps) -> Planes:
    """Planes of a picture without its alpha, with the sampling and the bits of a setting; of levels, if it has them."""
    if image.grey:
        return grey_planes(image.pixels[:, :, 0], setting.bits)
    return from_rgb(image.pixels, setting.chroma, taps, setting.bits, remainder=image.remainder)


def encode(
    encoder: StreamEncoder, planes: Planes, rate_factor: float, preset: int, parameters: Iterable[tuple[str, str]] = ()
) -> bytes:
    """One intra picture as an HEVC byte stream, padded to whole coding blocks and not cropped.

    Planes have full range. ``rate_factor`` is x265's CRF, 0..51: with a constant QP, x265 has no adaptive quantisation.
    Presets go from 0 (ultrafast) to 9 (placebo). ``parameters`` are as `PARAMETERS`, or some of them.

    Raises:
        ProgramError: x265 failed, or ended well without a picture.
    """
    height, width = planes.luma.shape
    block = _block(width, height)
    padded = _padded(planes, block)
    smallest = min(padded.luma.shape)
    chosen = {
        "crf": f"{rate_factor:g}",
        "keyint": "1",
        "info": "0",  # the text about itself that x265 writes is larger than a small picture
        "wpp": "0",  # rows in parallel cost bytes; pictures run in parallel instead
        # A still picture uses neither, but BPG's decoders take them for granted.
        "rect": "1",
        "amp": "1",
        "range": "full",
        "colorprim": "bt709",
        "transfer": "iec61966-2-1",
        "colormatrix": "smpte170m",
        "chromaloc": "1",
        "min-cu-size": str(block),
        "hash": "1",  # written behind the picture: where it is, the picture is whole; it is not kept
        **dict(parameters),
    }
    if "scaling-list" in chosen:
        chosen["scaling-list"] = {"0": "off", "1": "default"}[chosen["scaling-list"]]
    if smallest < 64:  # x265 wants at least one coding tree unit in each direction
        unit = "32" if smallest >= 32 else "16"
        chosen |= {"ctu": unit, "max-tu-size": unit}
        if unit == "16" and chosen.get("tu-intra-depth") == "4":
            chosen["tu-intra-depth"] = "3"  # 16 cannot be halved more often
    units = annexb.units(encoder.run(padded, preset, chosen))
    if not _holds(units, padded):
        raise ProgramError(f"{encoder.name} ended well but wrote no complete picture. Try another --backend.")
    if planes.sampling == "420" and planes.bits == 10:
        # x265 signals range extensions here, which fewer readers have than Main 10.
        units = [as_main_10(unit) if annexb.kind(unit) in (annexb.VPS, annexb.SPS) else unit for unit in units]
    return annexb.stream([unit for unit in units if annexb.kind(unit) != annexb.SUFFIX_SEI])


def _block(width: int, height: int) -> int:
    """Smallest coding block: x265 wants one coding tree unit in each direction, of 16, and 32 from level 5 on."""
    shorter, longer = sorted((width, height))
    if longer > 4208 and shorter <= 24:  # padded sides of level 4.1 end at sqrt(8 * 2228224) = 4222
        return 32
    return 16 if shorter <= 8 else 8


def _holds(units: list[bytes], planes: Planes) -> bool:
    """Whether there is a whole picture of the planes' size."""
    try:
        sps = parse_sps(annexb.first_picture(units).sps)
        if (sps.height, sps.width) != planes.luma.shape or sps.bits_luma != planes.bits:
            return False
        if annexb.kind(units[-1]) != annexb.SUFFIX_SEI:
            decode(annexb.stream(units), strict=True)
    except (EOFError, ValueError, InputError):
        return False
    return True


def decode(stream: bytes, name: str = "the picture", *, strict: bool = False) -> Planes:
    """The first picture of an HEVC byte stream, as coded, not cropped; what is not of it is left alone.

    ``strict`` refuses slices that end too early or do not cover the picture, and takes twice as long.

    Raises:
        InputError: it cannot be decoded.
    """
    broken = f"{name} is corrupt or truncated HEVC. Get a whole copy."
    units = annexb.units(stream)
    if not annexb.is_picture(units):
        raise InputError(broken)
    try:
        picture = annexb.first_picture(units)
        sps = parse_sps(picture.sps)
        # A window would make ffmpeg crop; the true size is known better outside.
        sps_alone = uncropped(picture.sps)
    except (EOFError, ValueError) as error:
        raise InputError(f"{name} is HEVC that cannot be read here: {error}. Decode it with ffmpeg.") from error
    check_size(sps.width, sps.height, name)
    copies = [annexb.with_tail(picture, sps_alone, tail) for tail in (annexb.TAILS if strict else (b"",))]
    frames = _ffmpeg(copies, len(copies) * _size(sps), broken)
    size = len(frames) // len(copies)
    if strict and memoryview(frames)[:size] != memoryview(frames)[size:]:
        raise InputError(broken)
    planes = _planes(frames[:size], sps, broken)
    if strict and _has_gap(planes):
        raise InputError(broken)
    return planes


def _ffmpeg(pictures: list[bytes], most: int, broken: str) -> bytes:
    """Samples of pictures, one behind the other."""
    strict = ["-v", "error", "-xerror", "-err_detect", "explode+crccheck"]
    arguments = [*strict, "-f", "hevc", "-i", "pipe:0", "-frames:v", str(len(pictures)), "-f", "rawvideo", "pipe:1"]
    try:
        return ffmpeg().run(arguments, b"".join(pictures), most=most)
    except ProgramTimeoutError:
        raise
    except ProgramError as error:
        raise InputError(broken) from error


def _shapes(sps: Sps) -> list[tuple[int, int]]:
    """Heights and widths of the planes."""
    sampling = _SAMPLINGS[sps.chroma_format]
    vertical, horizontal = shifts(sampling)
    chroma = (sps.height >> vertical, sps.width >> horizontal)
    return [(sps.height, sps.width), *([] if sampling == "400" else [chroma, chroma])]


def _kind(sps: Sps) -> "np.dtype[Any]":
    """Type of ffmpeg's samples."""
    return np.dtype(np.uint8 if sps.bits_luma == 8 else "<u2")


def _size(sps: Sps) -> int:
    """Size of a picture in ffmpeg's samples, bytes."""
    return sum(height * width for height, width in _shapes(sps)) * _kind(sps).itemsize


def _planes(raw: bytes, sps: Sps, broken: str) -> Planes:
    """Planes of ffmpeg's samples."""
    kind, shapes, sampling = _kind(sps), _shapes(sps), _SAMPLINGS[sps.chroma_format]
    if len(raw) != _size(sps):
        raise InputError(broken)
    planes, start = [], 0
    for height, width in shapes:
        count = height * width
        planes.append(cast(Samples, np.frombuffer(raw, kind, count, start).reshape(height, width)))
        start += count * kind.itemsize
    matrix = _MATRICES.get(sps.matrix, "bt601")
    return Planes(planes[0], tuple(planes[1:]), sampling, matrix, sps.full_range, sps.bits_luma)


def _has_gap(planes: Planes) -> bool:
    """Whether no slice covers a block of 16x16: it is then 0 in all planes, which is no colour outside the RGB matrix.

    Nothing is known of grey planes, where 0 is black.
    """
    if planes.sampling == "400" or planes.matrix == "rgb":
        return False
    vertical, horizontal = shifts(planes.sampling)
    rows, columns = (side // 16 for side in planes.luma.shape)
    covered = np.zeros((rows, columns), bool)
    for plane, high, wide in (
        (planes.luma, 16, 16),
        *((each, 16 >> vertical, 16 >> horizontal) for each in planes.chroma),
    ):
        covered |= plane[: rows * high, : columns * wide].reshape(rows, high, columns, wide).any(axis=(1, 3))
    return not covered.all()


def cut(planes: Planes, width: int, height: int) -> Planes:
    """The top left ``width`` x ``height`` of planes; chroma keeps a sample that is begun."""
    vertical, horizontal = shifts(planes.sampling)
    rows, columns = (height + vertical) >> vertical, (width + horizontal) >> horizontal
    chroma = tuple(plane[:rows, :columns] for plane in planes.chroma)
    return replace(planes, luma=planes.luma[:height, :width], chroma=chroma)


def _padded(planes: Planes, block: int) -> Planes:
    """Planes enlarged to whole coding blocks by repeating the last row and column."""
    height, width = (-(-side // block) * block for side in planes.luma.shape)
    vertical, horizontal = shifts(planes.sampling)

    def enlarged(plane: Samples, rows: int, columns: int) -> Samples:
        return cast(Samples, np.pad(plane, [(0, rows - plane.shape[0]), (0, columns - plane.shape[1])], mode="edge"))

    chroma = tuple(enlarged(plane, height >> vertical, width >> horizontal) for plane in planes.chroma)
    return replace(planes, luma=enlarged(planes.luma, height, width), chroma=chroma)
