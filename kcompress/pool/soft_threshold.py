"""Soft thresholding in the block DCT: removes fine texture, independently of the codec's quality."""

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import strips_shrunk, thresholds


def soft_threshold(pixels: NDArray[np.uint8], height: float = 2.0) -> NDArray[np.uint8]:
    """Soft-threshold the coefficients of all 8x8 blocks: (H, W, 3) RGB 0..255 -> the same.

    The height is that of the middle frequencies, grey levels (see `blockdct.thresholds`).
    """
    result = np.empty_like(pixels)
    for rows, changed in strips_shrunk(pixels, thresholds(height)):
        result[rows] = np.clip(np.rint(changed), 0, 255)
    return result
