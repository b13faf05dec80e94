"""Shrink: a soft threshold in the block DCT, in proportion to the codec's coarseness. Nothing is learned.

What the quantiser would round away anyway, or code at high cost for little, leaves the picture before it.
"""

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import strips_shrunk, thresholds
from kcompress.images import Image
from kcompress.networks.preprocessor import blended
from kcompress.setting import Setting

AMPLITUDE = {"jpeg": 0.7, "webp": 0.65, "hevc": 0.25, "bpg": 0.25}
"""Strength per codec: the threshold is 10 times this, times the coarseness 0..1, in grey levels."""

BLOCK = {"jpeg": 8, "webp": 4, "hevc": 4, "bpg": 4}
"""Side of the transform's blocks: those of the codec, or the smallest of them."""


def limits(setting: Setting, side: int) -> NDArray[np.float32]:
    """Thresholds (side, side) of the block DCT for a setting, grey levels."""
    return thresholds(10 * AMPLITUDE[setting.codec] * setting.coarseness, side)


class Shrink:
    """The preprocessor; needs no weights and no device."""

    name = "shrink"
    conditioned = True

    def __init__(self, strength: float = 1.0) -> None:
        self._strength = strength

    def __call__(self, image: Image, setting: Setting) -> Image:
        result = np.empty_like(image.pixels)
        for rows, changed in strips_shrunk(image.pixels, limits(setting, BLOCK[setting.codec]), grey=image.grey):
            result[rows] = blended(image.pixels[rows], changed, self._strength)
        return image.with_pixels(result)
