"""Bilateral filter: OpenCV's (Tomasi and Manduchi, ICCV 1998)."""

import cv2
import numpy as np
from numpy.typing import NDArray

_CHANNELS = 3
"""OpenCV adds the differences of all channels."""


def bilateral(pixels: NDArray[np.uint8], deviation: float = 2.0, height: float = 5.0) -> NDArray[np.uint8]:
    """Average pixels by nearness and likeness: (H, W, 3) RGB 0..255 -> the same, mirrored at the edges.

    ``deviation`` is in pixels, ``height`` the standard deviation in grey levels of what counts as alike.
    """
    filtered = cv2.bilateralFilter(np.ascontiguousarray(pixels), 0, _CHANNELS * height, deviation)
    return np.asarray(filtered, dtype=np.uint8)
