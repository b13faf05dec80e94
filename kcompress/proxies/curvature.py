"""Diagonal Hessian of a cost in JPEG's levels, which predicts the effect of whole steps from derivatives."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.networks.mcu import COEFFICIENTS

_SMALL = 1e-12


def diagonal_hessian(slopes: Tensor, errors: Tensor) -> Tensor:
    """Estimate of the diagonal Hessian, 0 or above, from derivatives by level and errors in steps, all (N, C, h, w).

    C is 384, MCUs as in `networks.mcu`, or one channel a frequency of a block.

    Model: every level adds its own squared error, times a weight of its frequency and of its neighbourhood. The
    derivative of that is error times curvature. Cross terms have no preferred sign and average out.
    """
    products, squares = slopes * errors, errors.square()
    by_frequency = (_frequency_sums(products) / (_frequency_sums(squares) + _SMALL)).clamp(min=0)
    expected = (by_frequency * squares).sum(1, keepdim=True)
    local, typical = (_around(part) for part in (products.sum(1, keepdim=True), expected))
    return by_frequency * (local / (typical + _SMALL)).clamp(0.2, 5)


def _frequency_sums(values: Tensor) -> Tensor:
    """Sums over the positions and blocks of each frequency, (N, C, 1, 1)."""
    sums = values.sum((2, 3), keepdim=True)
    if values.shape[1] != COEFFICIENTS:
        return sums
    luma = sums[:, :256].reshape(-1, 64, 4, 1, 1).sum(2).repeat_interleave(4, dim=1)
    return torch.cat([luma, sums[:, 256:]], dim=1)


def _around(values: Tensor) -> Tensor:
    """Means of 3x3 positions, (N, 1, h, w)."""
    return F.avg_pool2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)
