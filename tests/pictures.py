"""Pictures and measures that several tests share."""

from pathlib import Path

import numpy as np
import pytest

from kcompress.codecs import CODECS
from kcompress.images import Image, Pixels, luma, read

FOLDER = Path(__file__).parent / "images"
GOLDEN = Path(__file__).parent / "golden" / "bpg"
EMBEDDED = ("libwebp", "pillow", "ffmpeg")

BACKENDS = [
    pytest.param(
        codec,
        backend,
        id=f"{codec.name}-{backend.name}",
        # What came with the package has to be there; a program need not.
        marks=pytest.mark.skipif(
            backend.name not in EMBEDDED and backend.version() is None, reason=f"{backend.name} is not installed"
        ),
    )
    for codec in CODECS.values()
    for backend in (*codec.backends, *codec.only_by_name)
]


def load(name: str) -> Image:
    """One of the stored pictures."""
    return read((FOLDER / name).read_bytes(), name=name)


def smooth(width: int, height: int) -> Pixels:
    """Colours that change slowly, with a little fixed noise: cheap to make, sane to compress."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    waves = [128 + 90 * np.sin(x / 17 + k) * np.cos(y / 23 - k) for k in range(3)]
    noise = np.random.default_rng(7).normal(0, 2, (height, width, 1))
    return np.clip(np.dstack(waves) + noise, 0, 255).astype(np.uint8)


def in_grey(image: Image) -> Image:
    """The same picture without its colour."""
    return Image(np.repeat(luma(image.pixels)[:, :, None], 3, axis=2), grey=True)


def psnr(one: Pixels, other: Pixels) -> float:
    """Peak signal to noise ratio in dB; infinite for equal pictures."""
    error = float(np.mean((one.astype(np.float64) - other) ** 2))
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)
