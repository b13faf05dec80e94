"""MS-SSIM over R, G and B, by pytorch-msssim.

Source: Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003:
five scales with its weights, Gaussian window of 11x11 and sigma 1.5, K1 = 0.01, K2 = 0.03, mean of the three channels.
"""

from collections.abc import Callable

import numpy as np
import torch
from pytorch_msssim import ms_ssim
from torch import Tensor

from kcompress.images import Pixels

SMALLEST_SIDE = 161  # four halvings must leave the window room


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 161: 0..1, higher is better, 1 for identical pictures."""
    batch = _batch(original)

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            return float(ms_ssim(batch, _batch(distorted), data_range=255))

    return score


def _batch(pixels: Pixels) -> Tensor:
    """(1, 3, H, W) float32, 0..255."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))[None]
