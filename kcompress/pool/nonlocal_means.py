"""Fast denoising: OpenCV's non-local means (Kuchen paper, section 4.2; Buades, Coll and Morel, IPOL 2011)."""

import cv2
import numpy as np
from numpy.typing import NDArray


def nonlocal_means(pixels: NDArray[np.uint8], strength: float = 3.0) -> NDArray[np.uint8]:
    """Remove noise by averaging similar neighbourhoods: (H, W, 3) RGB 0..255 -> the same.

    The strength is OpenCV's ``h`` for lightness and colour alike; 3 is OpenCV's default, 10 is heavy.
    """
    # The function works in L*a*b* and expects OpenCV's channel order.
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    filtered = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength)
    return np.ascontiguousarray(np.asarray(filtered, dtype=np.uint8)[:, :, ::-1])
