"""Blur: a Gaussian so narrow that it removes noise and ringing of single pixels, and little else."""

import cv2
import numpy as np
from numpy.typing import NDArray


def blur(pixels: NDArray[np.uint8], deviation: float = 0.5) -> NDArray[np.uint8]:
    """Convolve with a Gaussian of a standard deviation in pixels, mirrored at the edges: (H, W, 3) RGB 0..255."""
    blurred = cv2.GaussianBlur(np.ascontiguousarray(pixels), (0, 0), deviation)
    return np.asarray(blurred, dtype=np.uint8)
