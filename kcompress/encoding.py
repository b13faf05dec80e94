"""The product: picture -> preprocessor -> codec -> Encoded."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from kcompress.codecs import Backend, Codec, decode
from kcompress.codecs.jpeg import written_tables
from kcompress.errors import ProgramError
from kcompress.images import Image, Pixels, bits_per_pixel
from kcompress.networks import NONE, Preprocessor
from kcompress.setting import Setting


@dataclass(frozen=True)
class Encoded:
    """One compressed picture and how it came about.

    Attributes:
        data: the file.
        width: of the picture, pixels.
        height: of the picture, pixels.
        setting: what was asked for.
        backend: that did it.
        version: of the encoder.
        network: that preprocessed it, or ``none``.
        network_seconds: wall time of the preprocessor.
        codec_seconds: wall time of the encoder.
        notes: what the user should know.
    """

    data: bytes
    width: int
    height: int
    setting: Setting
    backend: str
    version: str
    network: str
    network_seconds: float
    codec_seconds: float
    notes: tuple[str, ...]

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return bits_per_pixel(len(self.data), self.width, self.height)


def encode(
    image: Image, codec: Codec, setting: Setting, preprocessor: Preprocessor | None = None, backend: str = "auto"
) -> Encoded:
    """Preprocess and compress one picture.

    Raises:
        UnsupportedError: the codec cannot hold the picture.
        ProgramError: no encoder is there, or it failed.
    """
    image = codec.accepted(image)
    encoder = codec.backend(backend, image)
    setting = carried_out(setting, encoder)
    start = time.perf_counter()
    # One name for both: a large picture's original pixels are let go before the encoder wants memory.
    image = image if preprocessor is None else preprocessor(image, setting)
    middle = time.perf_counter()
    data = encoder.encode(image, setting)
    if codec.complete is not None and not codec.complete(data):
        raise ProgramError(f"{encoder.name} ended well but wrote no whole {codec.name} file. Try another --backend.")
    data, notes = codec.finished(data, image, setting)
    end = time.perf_counter()
    return Encoded(
        data, image.width, image.height, setting, encoder.name, encoder.version() or "",
        NONE if preprocessor is None else preprocessor.name, middle - start, end - middle, (*image.notes, *notes),
    )  # fmt: skip


def round_trip(codec: Codec, backend: str = "auto") -> Callable[[Image, Setting], Pixels]:
    """Reconstruction (H, W, 3) of a picture by a codec at a setting.

    The function raises as `encode`, and InputError where the result cannot be decoded.
    """

    def shown(image: Image, setting: Setting) -> Pixels:
        # A file and its bare stream hold the same picture, and the stream's may have a row and a column more.
        return decode(encode(image, codec, replace(setting, raw=False), None, backend).data).pixels

    return shown


def carried_out(setting: Setting, backend: Backend) -> Setting:
    """A setting as a backend carries it out: mozjpeg has tables of its own, and searches for levels."""
    if setting.tables is None or not searches_levels(backend):
        return setting
    return replace(setting, tables=written_tables(backend, setting), searched=True)


def searches_levels(backend: Backend) -> bool:
    """Whether a backend decides on JPEG's levels itself, as mozjpeg's trellis does, instead of rounding."""
    return "mozjpeg" in f"{backend.name} {backend.version()}"
