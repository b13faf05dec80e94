"""Augmentation: pictures with more detail than photographs have, and the squares of them that models look at.

Photographs that are shrunk for training have a fifth of the power that ImageNet's pictures have in the finest details.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_SHARPER = 1.2
"""Highest share of the difference to the mean of 3x3 pixels that is added."""

_CONTRAST = (0.9, 1.4)

_NOISE = 0.012
"""Highest standard deviation of the noise, on the scale of 0..1."""

_CUT = 0.6
"""Share of the views that are not the whole picture."""

_LEAST = 0.8
"""Shortest side of a view, as a share of the picture's."""


def sharpened(pictures: Tensor) -> Tensor:
    """Pictures (N, 3, H, W), 0..1 in steps of 1/255, each with detail, contrast and noise of a random amount."""
    detail, contrast, noise = torch.rand(3, len(pictures), 1, 1, 1, device=pictures.device)
    means = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    found: Tensor = pictures + _SHARPER * detail * (pictures - means)
    grey, (low, high) = found.mean((2, 3), keepdim=True), _CONTRAST
    found = grey + (low + (high - low) * contrast) * (found - grey) + _NOISE * noise * torch.randn_like(found)
    return (found.clamp(0, 1) * 255).round() / 255


def view(side: int) -> tuple[slice, slice]:
    """Rows and columns of a random square of a picture of ``side`` x ``side`` pixels, often of all of it."""
    chance, size, down, right = torch.rand(4).tolist()
    if chance >= _CUT:
        return slice(0, side), slice(0, side)
    cut = int(side * (_LEAST + (1 - _LEAST) * size))
    top, left = (int(part * (side - cut + 1)) for part in (down, right))
    return slice(top, top + cut), slice(left, left + cut)
