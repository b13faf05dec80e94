"""Distortions of pictures on their way: compression, noise, blur, sharpening and the pool's own filters.

Every distortion takes and gives pixels (H, W, 3) uint8 and is described by a short text, for example
``jpeg q=35 420``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image as Pil
from PIL import ImageFilter

from kcompress.codecs import CODECS, decode
from kcompress.colour import JFIF_RGB_TO_YCC
from kcompress.encoding import encode, round_trip
from kcompress.images import Image, Pixels
from kcompress.networks import Preprocessor
from kcompress.networks.loading import load
from kcompress.networks.tables import with_tables
from kcompress.pool import filter_named

Random = np.random.Generator
EMBEDDED = {"jpeg": "pillow", "webp": "pillow", "hevc": "ffmpeg", "bpg": "ffmpeg", "avif": "pillow"}
"""Backends that are everywhere: what is trained does not depend on what is installed."""


@dataclass(frozen=True)
class Distortion:
    """One step, ready to be applied; its name tells the strength."""

    name: str
    apply: Callable[[Pixels], Pixels]


def compression(codec: str, quality: int, chroma: str | None = None) -> Distortion:
    """There and back through a real codec, with its embedded encoder."""

    def apply(pixels: Pixels) -> Pixels:
        setting = CODECS[codec].setting(quality, chroma)
        return decode(encode(Image(pixels), CODECS[codec], setting, None, EMBEDDED[codec]).data).pixels

    return Distortion(" ".join(part for part in (codec, f"q={quality}", chroma) if part), apply)


def preprocessing(network: str, codec: str, quality: int | None = None) -> Distortion:
    """A preprocessor alone, or with a quality there and back through its codec; it is told the default quality else."""

    def apply(pixels: Pixels) -> Pixels:
        kind = CODECS[codec]
        kind = with_tables(kind, None, [network], kind.backend(EMBEDDED[codec]))
        setting, ready = kind.setting(quality), _preprocessor(network, codec)
        if quality is None:
            return ready(Image(pixels), setting).pixels
        return decode(encode(Image(pixels), kind, setting, ready, EMBEDDED[codec]).data).pixels

    return Distortion(f"{network} {codec}" + (f" q={quality}" if quality is not None else ""), apply)


@cache
def _preprocessor(network: str, codec: str) -> Preprocessor:
    # All that kuchen changes deceives a score more than the half of it that is its own.
    strength = 1.0 if network == "kuchen" else None
    loop = round_trip(CODECS[codec], EMBEDDED[codec])
    found = load(network, device="cpu", strength=strength, codec=codec, round_trip=loop)
    assert found is not None
    return found


def noise(sigma: float, grain: float, seed: int) -> Distortion:
    """Normal noise of ``sigma`` grey levels, ``grain`` pixels coarse (0: white), half of it alike in all channels."""

    def apply(pixels: Pixels) -> Pixels:
        random = np.random.default_rng(seed)
        height, width = pixels.shape[:2]
        field = 0.7 * random.standard_normal((height, width, 1)) + 0.7 * random.standard_normal((height, width, 3))
        if grain:
            import cv2

            field = np.asarray(cv2.GaussianBlur(field, (0, 0), grain), dtype=np.float64)
            field /= field.std()
        return np.clip(np.rint(pixels + sigma * field), 0, 255).astype(np.uint8)

    return Distortion(f"noise sigma={sigma:.1f} grain={grain:.1f}", apply)


def blur(sigma: float) -> Distortion:
    """Gaussian blur, ``sigma`` in pixels."""

    def apply(pixels: Pixels) -> Pixels:
        import cv2

        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), dtype=np.uint8)

    return Distortion(f"blur sigma={sigma:.2f}", apply)


def darkening(gamma: float) -> Distortion:
    """Dark as by night: sample values to the power of ``gamma``."""

    def apply(pixels: Pixels) -> Pixels:
        return np.rint(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)[pixels]

    return Distortion(f"darkening gamma={gamma:.1f}", apply)


def grey() -> Distortion:
    """Luma alone."""

    def apply(pixels: Pixels) -> Pixels:
        return np.repeat(np.rint(pixels @ np.array(JFIF_RGB_TO_YCC[0])).astype(np.uint8)[..., None], 3, axis=2)

    return Distortion("grey", apply)


def resampling(factor: float) -> Distortion:
    """Made smaller by ``factor`` and large again, as pictures on the web are."""

    def apply(pixels: Pixels) -> Pixels:
        picture = Pil.fromarray(pixels)
        small = (max(8, round(picture.width / factor)), max(8, round(picture.height / factor)))
        back = picture.resize(small, Pil.Resampling.BICUBIC).resize(picture.size, Pil.Resampling.BICUBIC)
        return np.asarray(back, dtype=np.uint8)

    return Distortion(f"resampling by {factor:.2f}", apply)


def sharpening(percent: int, radius: float) -> Distortion:
    """Unsharp mask."""

    def apply(pixels: Pixels) -> Pixels:
        mask = ImageFilter.UnsharpMask(radius, percent, 0)
        return np.asarray(Pil.fromarray(pixels).filter(mask), dtype=np.uint8)

    return Distortion(f"sharpening {percent} % radius {radius:.1f}", apply)


def median(side: int) -> Distortion:
    """Median of ``side`` x ``side`` pixels, channel by channel."""

    def apply(pixels: Pixels) -> Pixels:
        import cv2

        return np.asarray(cv2.medianBlur(pixels, side), dtype=np.uint8)

    return Distortion(f"median {side}x{side}", apply)


def filtering(name: str) -> Distortion:
    """A filter of the pool, as the user would type it."""
    return Distortion(name, filter_named(name).apply)


def half(whole: Distortion) -> Distortion:
    """Half of what a distortion changes."""

    def apply(pixels: Pixels) -> Pixels:
        return ((pixels.astype(np.uint16) + whole.apply(pixels) + 1) // 2).astype(np.uint8)

    return Distortion(f"half {whole.name}", apply)


def random_compression(random: Random, codec: str | None = None) -> Distortion:
    """JPEG (mostly), WebP or HEVC over nearly the whole range of qualities; others where they are asked for."""
    codec = codec or str(random.choice(["jpeg", "webp", "hevc"], p=[0.5, 0.25, 0.25]))
    if codec in ("hevc", "bpg"):
        return compression(codec, int(random.integers(12, 50)))
    chroma = str(random.choice(["420", "444"], p=[0.75, 0.25])) if codec == "jpeg" else None
    return compression(codec, int(random.integers(5, 98)), chroma)


def through(pixels: Pixels, steps: list[Distortion]) -> Pixels:
    """One step after the other."""
    for step in steps:
        pixels = step.apply(pixels)
    return pixels
