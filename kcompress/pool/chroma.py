"""Chroma smoothing: a Gaussian on colour, which codecs keep coarsely, and none on luma."""

import cv2
import numpy as np
from numpy.typing import NDArray

from kcompress.colour import JFIF_RGB_TO_YCC
from kcompress.pool.strips import in_strips


def smooth_chroma(pixels: NDArray[np.uint8], deviation: float = 1.0) -> NDArray[np.uint8]:
    """Blur colour by a Gaussian of a standard deviation in pixels, mirrored at the edges: (H, W, 3) RGB 0..255.

    Luma is that of JFIF. It stays but where colours out of range are clipped.
    """

    def work(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        luma = (picture @ np.array(JFIF_RGB_TO_YCC[0], np.float32))[..., None]
        return np.asarray(luma + cv2.GaussianBlur(picture - luma, (0, 0), deviation))

    return in_strips(pixels, int(4 * deviation) + 2, work)  # OpenCV's Gaussian of floats reaches four deviations
