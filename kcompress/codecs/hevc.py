"""HEVC intra pictures by x265: a ``.heic`` file, or the bare stream."""

import numpy as np

from kcompress.bitstream import annexb
from kcompress.bitstream.sps import cropped, parse_sps
from kcompress.codecs import x265
from kcompress.codecs.codec import Codec, Scale
from kcompress.codecs.containers import heif
from kcompress.codecs.x265 import STREAM_ENCODERS, X265Backend
from kcompress.images import Image, by_codes, with_colour
from kcompress.planes import BOX, Planes, grey_planes, to_rgb
from kcompress.setting import Setting

_QUALITIES, _RATE_FACTORS = (0, 12, 18, 24, 42, 51), (2, 14.6, 20.2, 25.9, 43.7, 51)


def rate_factor(quality: int) -> float:
    """CRF at which photographs are on average as good, by SSIMULACRA2, as at a constant QP of this quality."""
    return float(np.interp(quality, _QUALITIES, _RATE_FACTORS))


class HevcBackend(X265Backend):
    """x265, by one of the ways to reach it."""

    def encode(self, image: Image, setting: Setting) -> bytes:
        planes = x265.planes_of(image, setting, BOX)
        image = image.without_pixels
        picture = self._stream(planes, image, setting)
        if setting.raw:
            return picture
        alpha = None if image.alpha is None else self._stream(grey_planes(image.alpha, setting.bits), image, setting)
        return heif.mux(heif.Heif(image.width, image.height, picture, alpha, image.icc, image.exif, image.xmp))

    def _stream(self, planes: Planes, image: Image, setting: Setting) -> bytes:
        """The byte stream of planes, cropped to the picture as far as chroma samples allow."""
        coded = x265.encode(self._encoder, planes, rate_factor(setting.quality), setting.effort, setting.parameters)
        return annexb.stream([
            cropped(unit, image.width, image.height) if annexb.kind(unit) == annexb.SPS else unit
            for unit in annexb.units(coded)
        ])  # fmt: skip


def decode_raw(data: bytes, name: str, *, strict: bool = False) -> Image:
    """The first picture of a bare HEVC stream.

    Raises:
        InputError: it cannot be decoded.
        UnsupportedError: colours that have no meaning here.
    """
    planes = x265.decode(data, name, strict=strict)
    sps = parse_sps(annexb.first_picture(annexb.units(data)).sps)
    image = Image(np.ascontiguousarray(to_rgb(planes)[sps.shown]), grey=planes.sampling == "400")
    return with_colour(image, by_codes(sps.primaries, sps.transfer, "stream", name))


HEVC = Codec(
    name="hevc",
    suffixes=(".heic", ".heif"),
    raw_suffixes=(".hevc", ".265"),
    quality=Scale(finest=0, coarsest=51, default=28),
    quick_effort=2,
    effort=Scale(finest=0, coarsest=9, default=6),  # x265's presets from ultrafast to placebo
    chromas=("420", "444"),
    bits=(8, 10),
    parameters=x265.PARAMETERS,
    max_side=16384,
    alpha=True,
    backends=tuple(HevcBackend(encoder) for encoder in STREAM_ENCODERS),
)
