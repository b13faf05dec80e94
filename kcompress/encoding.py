"""The product: picture -> preprocessor -> codec -> Encoded."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from kcompress.codecs import Backend, Codec, decode
from kcompress.codecs.jpeg import written_tables
from kcompress.codecs.quantisation import OWN, STANDARD
from kcompress.errors import ProgramError
from kcompress.images import Image, Pixels, bits_per_pixel
from kcompress.networks import NONE, Preprocessor
from kcompress.networks.closed_loop import RoundTrip
from kcompress.setting import Setting


@dataclass(frozen=True)
class Encoded:
    """One compressed picture, its size in pixels, and how it came about, with wall times and notes for the user.

    Attributes:
        setting: as the backend carried it out.
        version: of the encoder.
        network: that preprocessed it, by the name of its weights, or ``none``.
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


@dataclass(frozen=True)
class Session:
    """A codec at work on one picture: everything that is the same for all its encodes, resolved once.

    It holds no pixels, so that a large picture can be let go as soon as a preprocessor has made another one of it.

    Attributes:
        codec: that writes the files.
        backend: that takes this picture.
        setting: as the backend carries it out.
    """

    codec: Codec
    backend: Backend
    setting: Setting

    @classmethod
    def of(cls, image: Image, codec: Codec, setting: Setting, backend: str = "auto") -> "tuple[Image, Session]":
        """The picture as the codec can hold it, and the session for it.

        Raises:
            UnsupportedError: the codec cannot hold the picture.
            MissingProgramError: no encoder is there.
            ProgramError: the encoder failed.
        """
        image = codec.conformed(image)
        chosen = codec.backend(backend, image, setting)
        carried_out = effective(setting, chosen)
        if carried_out.sharp_yuv != setting.sharp_yuv:
            better = next(each for each in codec.backends if each.sharp_yuv)
            note = f"{chosen.name} knows no sharp chroma, so colours are coarser. Better: {better.install}"
            image = replace(image, notes=(*image.notes, note))
        return image, cls(codec, chosen, carried_out)

    def at(self, quality: int) -> "Session":
        """The same at a quality, by the tables of its codec."""
        return replace(self, setting=effective(self.codec.at(self.setting, quality), self.backend))

    def encode(self, image: Image, network: str = NONE, network_seconds: float = 0.0) -> Encoded:
        """Compress a picture of this size, which has been preprocessed or not.

        Raises:
            ProgramError: the encoder failed.
        """
        start = time.perf_counter()
        # Handed on without a name: a backend that has made planes of a large picture can let its pixels go.
        handed, image = [image], image.without_pixels
        data = self.backend.encode(handed.pop(), self.setting)
        if self.codec.is_complete is not None and not self.codec.is_complete(data):
            raise ProgramError(
                f"{self.backend.name} ended well but wrote no whole {self.codec.name} file. Try another --backend."
            )
        data, notes = self.codec.with_metadata(data, image, self.setting)
        return Encoded(
            data, image.width, image.height, self.setting, self.backend.name, self.backend.version() or "", network,
            network_seconds, time.perf_counter() - start, (*image.notes, *notes),
        )  # fmt: skip

    def reconstruction(self, image: Image) -> Pixels:
        """The picture (H, W, 3) after an encode and a decode.

        Raises:
            ProgramError: the encoder failed.
            InputError: its result cannot be decoded.
        """
        return decode(self.encode(image).data).pixels


def preprocessed(image: Image, preprocessor: Preprocessor | None, setting: Setting) -> tuple[Image, str, float]:
    """Run a preprocessor: picture, name and seconds, as `Session.encode` takes them.

    ``setting`` is that of a session: what the backend carries out, and not what was asked for.
    """
    if preprocessor is None:
        return image, NONE, 0.0
    start = time.perf_counter()
    changed = preprocessor(image, setting)
    return changed, preprocessor.name, time.perf_counter() - start


def encode(
    image: Image, codec: Codec, setting: Setting, preprocessor: Preprocessor | None = None, backend: str = "auto"
) -> Encoded:
    """Preprocess and compress one picture.

    Raises:
        UnsupportedError: the codec cannot hold the picture.
        ProgramError: no encoder is there, or it failed.
    """
    # One name for all stages: a large picture's original pixels are let go before the encoder wants memory.
    image, session = Session.of(image, codec, setting, backend)
    image, network, seconds = preprocessed(image, preprocessor, session.setting)
    handed = [image]
    del image
    return session.encode(handed.pop(), network, seconds)


def round_trip(codec: Codec, backend: str = "auto") -> RoundTrip:
    """Encode and decode as a function for networks that watch the codec; it raises what `encode` raises.

    It encodes at the codec's quick effort, where the setting's is more.
    """

    def prepared(image: Image, setting: Setting) -> Callable[[Image], Pixels]:
        # A file and its bare stream hold the same picture, and the stream's may have a row and a column more.
        setting = replace(setting, raw=False, effort=min(setting.effort, codec.quick_effort or setting.effort))
        return Session.of(image, codec, setting, backend)[1].reconstruction

    return prepared


def effective(setting: Setting, backend: Backend) -> Setting:
    """A setting as a backend carries it out.

    mozjpeg and jpegli have tables of their own, and decide on levels themselves; Pillow knows no sharp chroma. Both
    Pillow and bpgenc take no planes, and bpgenc no parameters.
    """
    if not backend.takes_parameters:
        setting = replace(setting, parameters=())
    sharp = setting.sharp_yuv and backend.sharp_yuv
    setting = replace(setting, sharp_yuv=sharp, planes=backend.takes_planes and not sharp)
    if setting.tables is None or (setting.tables_name != OWN and backend.takes_tables):
        return setting
    if not backend.trellis:
        return replace(setting, tables_name=STANDARD.name)
    return replace(setting, tables=written_tables(backend, setting), tables_name=OWN, trellis=True)
