"""PSNR: peak signal-to-noise ratio over R, G and B together (ISO/IEC 29170-1, with peak 255)."""

import math
from collections.abc import Callable

import numpy as np

from kcompress.images import Pixels


def psnr(original: Pixels, distorted: Pixels) -> float:
    """PSNR = 10 log10(255^2 / MSE), dB, of two pictures (H, W, 3) or planes (H, W) of one size, uint8.

    Range 0 (black against white) .. infinity (identical); higher is better.
    """
    # In whole numbers, so that neither size nor order costs accuracy.
    difference = original.astype(np.int32) - distorted
    error = int(np.square(difference).sum(dtype=np.int64)) / difference.size
    return 10 * math.log10(255**2 / error) if error else math.inf


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), as `psnr`."""
    return lambda distorted: psnr(original, distorted)
