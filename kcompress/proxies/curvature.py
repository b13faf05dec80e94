"""How a cost bends with JPEG's levels, so that steps of whole levels can be foretold from its derivatives."""

import torch
from torch import Tensor
from torch.nn import functional as F

_SMALL = 1e-12


def curvature(slopes: Tensor, errors: Tensor) -> Tensor:
    """The second derivative of a cost by each level, 0 or above, from the first ones.

    As if every level added its own squared error, times a weight of its frequency and of its surroundings: the
    derivative of that is the error times the curvature. What others add has no preferred sign and falls out of the sum.

    Args:
        slopes: derivatives of the cost, (N, 384, h, w).
        errors: of the levels, in steps, likewise.
    """
    told, squares = slopes * errors, errors.square()
    of_frequency = (_of_frequencies(told) / (_of_frequencies(squares) + _SMALL)).clamp(min=0)
    expected = (of_frequency * squares).sum(1, keepdim=True)
    here, usual = (_around(part) for part in (told.sum(1, keepdim=True), expected))
    return of_frequency * (here / (usual + _SMALL)).clamp(0.2, 5)


def _of_frequencies(values: Tensor) -> Tensor:
    """Sums over a picture, (N, 384, 1, 1)."""
    sums = values.sum((2, 3), keepdim=True)
    luma = sums[:, :256].reshape(-1, 64, 4, 1, 1).sum(2).repeat_interleave(4, dim=1)
    return torch.cat([luma, sums[:, 256:]], dim=1)


def _around(values: Tensor) -> Tensor:
    """(N, 1, h, w), means of 3x3."""
    return F.avg_pool2d(F.pad(values, (1, 1, 1, 1), mode="replicate"), 3, 1)
