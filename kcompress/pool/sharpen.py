"""Sharpening: an unsharp mask of any strength, where `detail` has one."""

import cv2
import numpy as np
from numpy.typing import NDArray

from kcompress.pool.strips import in_strips


def sharpen(pixels: NDArray[np.uint8], amount: float = 0.3, deviation: float = 1.0) -> NDArray[np.uint8]:
    """Add ``amount`` of what a Gaussian of this deviation in pixels takes away: (H, W, 3) RGB 0..255 -> the same."""

    def work(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray((1 + amount) * picture - amount * cv2.GaussianBlur(picture, (0, 0), deviation))

    return in_strips(pixels, int(4 * deviation) + 2, work)  # OpenCV's Gaussian of floats reaches four deviations
