"""Detail filter: Pillow's 3x3 high-pass kernel (Kuchen paper, section 4.2)."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter


def detail(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Sharpen texture: (H, W, 3) RGB 0..255 -> the same."""
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.DETAIL), dtype=np.uint8)
