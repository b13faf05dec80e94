"""Smaller pictures: Lanczos in linear light."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from kcompress.images.image import Image

Light = NDArray[np.floating[Any]]

_KNEE, _SLOPE, _OFFSET, _GAMMA = 0.04045, 12.92, 0.055, 2.4  # of sRGB's curve, IEC 61966-2-1


@dataclass(frozen=True)
class Resize:
    """Reduction of pictures; none is enlarged.

    Attributes:
        max_side: longest side, pixels, or None.
        scale: share of each side, above 0 and at most 1.
    """

    max_side: int | None = None
    scale: float = 1.0

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height after it, 1 or more."""
        share = self.scale if self.max_side is None else min(self.scale, self.max_side / max(width, height))
        return max(1, round(width * share)), max(1, round(height * share))

    def __call__(self, image: Image) -> Image:
        """The picture in its new size, the same where that is its own.

        Samples are taken as sRGB's or of a profile with about the same curve. Colours are weighted by their alpha.
        """
        size = self.size(image.width, image.height)
        if size == (image.width, image.height):
            return image
        weight = None if image.alpha is None else image.alpha.astype(np.float32) / np.float32(255)
        alpha = None if weight is None else _resized(weight, size)
        channels = []
        for channel in range(1 if image.grey else 3):
            light: Light = _LINEAR[image.pixels[:, :, channel]]
            if weight is None or alpha is None:
                channels.append(_samples(_resized(light, size)))
            else:
                channels.append(_samples(_resized(light * weight, size) / np.maximum(alpha, np.float32(1 / 255))))
        pixels = np.ascontiguousarray(np.dstack(channels * 3 if image.grey else channels))
        return replace(image, pixels=pixels, alpha=None if alpha is None else _rounded(alpha))


def _curve() -> Light:
    values = np.arange(256) / 255
    bent = ((values + _OFFSET) / (1 + _OFFSET)) ** _GAMMA
    return np.where(values <= _KNEE, values / _SLOPE, bent).astype(np.float32)


_LINEAR = _curve()
"""Light of each sample value, 0..1."""


def _resized(plane: Light, size: tuple[int, int]) -> Light:
    return np.asarray(Pil.fromarray(np.ascontiguousarray(plane)).resize(size, Pil.Resampling.LANCZOS))


def _samples(light: Light) -> NDArray[np.uint8]:
    """Samples of light, the inverse of the curve."""
    light = np.clip(light, 0, 1)
    bent = (1 + _OFFSET) * light ** (1 / _GAMMA) - _OFFSET
    return _rounded(np.where(light <= _KNEE / _SLOPE, light * _SLOPE, bent))


def _rounded(values: Light) -> NDArray[np.uint8]:
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
