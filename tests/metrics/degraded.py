"""Pictures made worse, step by step."""

import io

import numpy as np
from PIL import Image as Pil

from kcompress.images import Pixels


def noisy(pixels: Pixels, sigma: float) -> Pixels:
    """With noise of so many levels; the same noise every time."""
    noise = np.random.default_rng(3).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """Through Pillow's JPEG encoder."""
    file = io.BytesIO()
    Pil.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Pil.open(file))
