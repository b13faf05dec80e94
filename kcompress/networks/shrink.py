"""Shrink: soft thresholding in the block DCT, by the codec's coarseness or quantiser step. Nothing is learned.

It removes coefficients that the quantiser would round away, or that cost many bits for little quality.
"""

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import strips_shrunk, thresholds
from kcompress.images import Image
from kcompress.networks.preprocessor import blended
from kcompress.setting import Setting

_OF_COARSENESS = {"jpeg": 9.0, "webp": 7.0}
"""Height of the thresholds at coarseness 1, grey levels; proportional to coarseness."""

_OF_STEP = {"hevc": 0.075, "bpg": 0.02, "avif": 0.075}
"""Height before the others, in quantiser steps above the finest; steps double every 6 QP (ITU-T H.265, 8.6.3).

Before BPG it is less: against constant QP, VMAF-NEG has nothing to give.
"""

_QP = {"hevc": (0.0, 51.0), "bpg": (0.0, 51.0), "avif": (13.0, 46.5)}
"""QP at coarseness 0 and 1. AVIF's is about the one at which HEVC has the same SSIMULACRA2."""

BLOCK = {"jpeg": 8, "webp": 4, "hevc": 4, "bpg": 4, "avif": 4}
"""Side of the DCT's blocks, pixels: the codec's, or the smallest of them."""

MASKING = {"jpeg": 0.3, "webp": 0.3, "hevc": 0.0, "bpg": 0.0, "avif": 0.0}
"""Exponent by which texture lowers the thresholds and flat ground raises them, see `blockdct.shrunk`."""


def _thresholds_of(setting: Setting, side: int) -> NDArray[np.float32]:
    """Thresholds (side, side) of the block DCT for a setting, grey levels.

    Heights and blocks were chosen on photographs of the training set by SSIMULACRA2, Butteraugli and PSNR at four
    qualities each.
    """
    if setting.codec in _OF_COARSENESS:
        height = _OF_COARSENESS[setting.codec] * setting.coarseness
    else:
        low, high = _QP[setting.codec]
        step, finest = (2 ** ((low + place * (high - low) - 4) / 6) for place in (setting.coarseness, 0))
        height = _OF_STEP[setting.codec] * (step - finest)
    return thresholds(height, side)


class Shrink:
    """The preprocessor; needs no weights and no device.

    RGB (H, W, 3) -> YCbCr -> block DCT -> sign(c) max(|c| - t, 0) -> inverse DCT -> RGB (H, W, 3)
    """

    name = network = "shrink"
    conditioned = True

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, image: Image, setting: Setting) -> Image:
        result, codec = np.empty_like(image.pixels), setting.codec
        strips = strips_shrunk(
            image.pixels, _thresholds_of(setting, BLOCK[codec]), grey=image.grey, masking=MASKING[codec]
        )
        for rows, changed in strips:
            result[rows] = blended(image.pixels[rows], changed, self.strength)
        return image.with_pixels(result)
