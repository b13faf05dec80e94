"""HEVC intra pictures by x265: a ``.heic`` file, or the bare stream."""

import numpy as np

from kcompress.bitstream import annexb
from kcompress.bitstream.sps import cropped, parse_sps
from kcompress.codecs import x265
from kcompress.codecs.codec import Codec, Scale
from kcompress.codecs.containers import heif
from kcompress.codecs.x265 import STREAM_ENCODERS, X265Backend
from kcompress.images import Image, by_codes, with_colour
from kcompress.planes import BOX, Planes, from_rgb, grey_planes, to_rgb
from kcompress.setting import Setting


class HevcBackend(X265Backend):
    """x265, by one of the ways to reach it."""

    def encode(self, image: Image, setting: Setting) -> bytes:
        planes = grey_planes(image.pixels[:, :, 0]) if image.grey else from_rgb(image.pixels, setting.chroma, BOX)
        picture = self._stream(planes, image, setting)
        if setting.raw:
            return picture
        alpha = None if image.alpha is None else self._stream(grey_planes(image.alpha), image, setting)
        return heif.mux(heif.Heif(image.width, image.height, picture, alpha, image.icc, image.exif, image.xmp))

    def _stream(self, planes: Planes, image: Image, setting: Setting) -> bytes:
        """The byte stream of planes, cropped to the picture as far as chroma samples allow."""
        coded = x265.encode(self._encoder, planes, setting.quality, setting.effort, exact_qp=True)
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
    effort=Scale(finest=0, coarsest=9, default=6),  # x265's presets from ultrafast to placebo
    chromas=("420", "444"),
    max_side=16384,
    alpha=True,
    backends=tuple(HevcBackend(encoder) for encoder in STREAM_ENCODERS),
)
