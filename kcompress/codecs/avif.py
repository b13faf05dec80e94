"""AVIF: AV1 intra pictures by libaom, inside ffmpeg or Pillow or by the program ``avifenc``."""

import io
from dataclasses import replace
from functools import cache

import numpy as np
import PIL
from PIL import AvifImagePlugin, features
from PIL import Image as Pil

from kcompress.codecs.avif_lossless import AvifLossless
from kcompress.codecs.codec import Backend, Codec, Scale
from kcompress.codecs.containers.avif import is_complete, mux
from kcompress.codecs.containers.heif import Heif
from kcompress.errors import ProgramError
from kcompress.images import Image, pillow, write
from kcompress.planes import BOX, Planes, from_rgb, grey_planes
from kcompress.programs import AVIFENC, ffmpeg, scratch_folder
from kcompress.setting import Setting

_FASTEST = 10
"""libaom's speed at effort 0."""

_THREADS = "8"
"""Two and more write the same bytes, whatever the machine has; one alone writes others, and a large picture slowly."""

_TUNING = {
    # For the eye, by libaom 3.14 or later. 4 % by SSIMULACRA2 and MS-SSIM against ``iq``, which libavif takes.
    "tune": "ssimulacra2",
    # No coefficients for edges that look sharp: 2 to 4 % by Butteraugli, VIF and IW-SSIM; SSIMULACRA2 gives back 1 %.
    "sharpness": "0",
    # Quantisers that vary less over the picture: 2 % by PSNR, Butteraugli and VMAF, and nothing lost by others.
    "deltaq-strength": "60",
}
"""libaom's options that measure best. Against Pillow's AVIF, no metric of this house loses by them."""

_QUALITIES, _QUANTISERS = (0, 34, 50, 60, 100), (61.0, 43.5, 34.0, 28.0, 0.0)
_PIXEL_FORMATS = {"400": "gray", "420": "yuv420p", "444": "yuv444p"}
_EMPTY_EXIF = b"II*\0\x08\0\0\0" + bytes(6)
"""EXIF of no entries: the shortest there is."""


def quantiser(quality: int) -> int:
    """AV1's quantiser, 0 finest .. 63, for a quality 0..100 at which pictures are about as good as by libavif 1.4."""
    return int(np.interp(quality, _QUALITIES, _QUANTISERS) + 0.5)


class FfmpegAvif(Backend):
    """libaom inside imageio-ffmpeg's ffmpeg, on planes that are made here: libavif rounds chroma half a level down."""

    name = "ffmpeg"
    install = "Upgrade the Python package imageio-ffmpeg, until its ffmpeg has libaom 3.14 or later."
    bits = (8, 10)

    def version(self) -> str | None:
        version = ffmpeg().version() if _ffmpeg_tunes() else None
        return None if version is None else f"ffmpeg {version.split('-')[0]}, libaom"

    def encode(self, image: Image, setting: Setting) -> bytes:
        bits = setting.bits
        if image.grey:
            planes = grey_planes(image.pixels[:, :, 0], bits)
        else:
            planes = from_rgb(image.pixels, setting.chroma, BOX, bits)
        image = image.without_pixels
        picture = _stream(planes, setting, _TUNING, srgb=image.icc is None)
        alpha = None
        if image.alpha is not None:
            alpha = _stream(grey_planes(image.alpha, bits), setting, {"tune": "ssim"}, srgb=False)
        return mux(Heif(image.width, image.height, picture, alpha, image.icc, image.exif, image.xmp))


def _stream(planes: Planes, setting: Setting, tuning: dict[str, str], *, srgb: bool) -> bytes:
    """A stream of open bitstream units by ffmpeg's libaom."""
    height, width = planes.luma.shape
    form = _PIXEL_FORMATS[planes.sampling] + ("" if planes.bits == 8 else f"{planes.bits}le")
    speed = min(_FASTEST - setting.effort, 9)  # libavif's 10 is libaom's 9
    parameters = ":".join(f"{key}={value}" for key, value in {"cpu-used": speed, **tuning}.items())
    colour = ["-color_range", "pc", "-colorspace", "smpte170m"]
    if srgb:
        colour += ["-color_primaries", "bt709", "-color_trc", "iec61966-2-1"]
    return ffmpeg().run([
        "-v", "error", "-f", "rawvideo", "-pix_fmt", form, "-s", f"{width}x{height}", *colour, "-i", "pipe:0",
        "-frames:v", "1", "-c:v", "libaom-av1", "-still-picture", "1", "-usage", "allintra",
        "-crf", str(quantiser(setting.quality)), "-b:v", "0", "-row-mt", "1", "-threads", _THREADS,
        "-aom-params", parameters, *colour, "-f", "obu", "pipe:1",
    ], *planes.pieces)  # fmt: skip


@cache
def _ffmpeg_tunes() -> bool:
    """Whether ffmpeg's libaom knows our tuning."""
    planes = Planes(np.zeros((16, 16), np.uint8), (), "400")
    try:
        _stream(planes, AVIF.setting(effort=0), _TUNING, srgb=True)
    except (ProgramError, RuntimeError):  # RuntimeError: imageio-ffmpeg without its binary
        return False
    return True


@cache
def _pillow_tunes() -> bool:
    """Whether Pillow's libaom knows our tuning."""
    try:
        Pil.new("L", (16, 16)).save(io.BytesIO(), "AVIF", speed=_FASTEST, advanced=_TUNING)
    except ValueError:
        return False
    return True


class PillowAvif(Backend):
    """libavif inside Pillow; its own tuning where its libaom does not know ours."""

    _FINEST = 100  # which libavif takes for lossless, and then no tune

    name = "pillow"
    install = "Upgrade the Python package pillow: wheels from 11.3 on have AVIF."

    def version(self) -> str | None:
        aom = AvifImagePlugin.get_codec_version("aom") if features.check("avif") else None
        return None if aom is None else f"Pillow {PIL.__version__}, libavif {features.version('avif')}, aom {aom}"

    def encode(self, image: Image, setting: Setting) -> bytes:
        output = io.BytesIO()
        # Pillow writes EXIF anew where it tells an orientation, and loses what it does not know: ours takes its place.
        vacant = None if image.exif is None else _EMPTY_EXIF + bytes(len(image.exif) - len(_EMPTY_EXIF))
        own: dict[str, str] = {}
        if _pillow_tunes() and setting.quality < self._FINEST:
            own = {"cq-level": str(quantiser(setting.quality)), **_TUNING}
        pillow(image).save(
            output, "AVIF", codec="aom", quality=setting.quality, speed=_FASTEST - setting.effort,
            subsampling=":".join(_sampling(image, setting)), max_threads=int(_THREADS), autotiling=False,
            icc_profile=image.icc, exif=vacant, xmp=image.xmp,
            advanced={f"color:{key}": value for key, value in own.items()},
        )  # fmt: skip
        data = output.getvalue()
        return data if vacant is None or image.exif is None else data.replace(vacant, image.exif, 1)


class Avifenc(Backend):
    """The program ``avifenc``, with whatever libaom the system has."""

    name = "avifenc"
    install = AVIFENC.install
    bits = (8, 10)

    def version(self) -> str | None:
        return AVIFENC.version()

    def encode(self, image: Image, setting: Setting) -> bytes:
        with scratch_folder() as folder:
            source, target = folder / "picture.png", folder / "picture.avif"
            source.write_bytes(write(replace(image, icc=None, exif=None, xmp=None), "PNG"))
            metadata = []
            for name, content in (("icc", image.icc), ("exif", image.exif), ("xmp", image.xmp)):
                if content is not None:
                    (folder / name).write_bytes(content)
                    metadata += [f"--{name}", str(folder / name)]
            AVIFENC.run([
                "--codec", "aom", "--depth", str(setting.bits), "--yuv", _sampling(image, setting),
                # Primaries and curve of sRGB, or those of the profile; BT.601's matrix.
                "--cicp", "1/13/6" if image.icc is None else "2/2/6", "--range", "full",
                "--speed", str(_FASTEST - setting.effort), "--jobs", _THREADS, *self._quality(setting.quality),
                *metadata, "-o", str(target), str(source),
            ])  # fmt: skip
            try:
                return target.read_bytes()
            except OSError:
                raise ProgramError("avifenc ended well but wrote no file. Try another --backend.") from None

    def _quality(self, quality: int) -> list[str]:
        """Arguments for a quality, which avifenc knows from 1.0 on."""
        if not (self.version() or "").startswith("0."):
            return ["--qcolor", str(quality), "--qalpha", str(quality)]
        ranges = [text for name in ("", "alpha") for text in (f"--min{name}", "0", f"--max{name}", "63")]
        level = f"cq-level={((100 - quality) * 63 + 50) // 100}"  # as libavif 1.0 has it
        return [*ranges, "-a", "end-usage=q", "-a", level, "-a", "color:tune=ssim"]  # later ones tune by themselves


def _sampling(image: Image, setting: Setting) -> str:
    return "400" if image.grey else setting.chroma


AVIF = Codec(
    name="avif",
    suffixes=(".avif",),
    quality=Scale(finest=100, coarsest=0, default=60),
    quick_effort=2,
    effort=Scale(finest=0, coarsest=10, default=4),
    chromas=("420", "444"),
    bits=(8, 10),
    max_side=16384,  # the longest that a level of AV1 allows
    alpha=True,
    # The last has whatever libaom the system has, and that of Debian 12 spends more.
    backends=(FfmpegAvif(), PillowAvif(), Avifenc()),
    is_complete=is_complete,
    lossless=AvifLossless(),
    kin="hevc",
)
