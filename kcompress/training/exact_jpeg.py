"""Pictures through JPEG's exact twin: what they cost, with derivatives that tell which levels to change."""

from collections.abc import Callable

import torch
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.jpeg import (
    DifferentiableJpeg,
    bits_per_pixel,
    pack_levels,
    soft_round,
    standard_quantiser_steps,
    unpack_levels,
)
from kcompress.proxies.straight_through import straight_through

_TEMPERATURE = 0.05
"""Width of the risers of soft rounding, in steps. At 0.1 the many coefficients that are near no boundary add so much
that slopes by the height of the thresholds are up to twice the finite differences."""


def coded(
    made: Tensor, originals: Tensor, coarseness: Tensor, judge: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Cost of the decoded pictures, and bits per pixel, (N,) each, of pictures (N, 3, H, W) made of originals.

    Coarsenesses, (N,), count as the nearest qualities. ``judge`` gives the cost (N,) of decoded pictures, and its
    derivatives by them. Derivatives by a level are taken in the middle of the step to the next. At the level itself
    they are half a step's curvature off, and say that what is nearly rounded otherwise should be. Finite differences
    by the height of luma's thresholds are met within 15 %.
    """
    qualities = [CODECS["jpeg"].quality.nearest(each) for each in coarseness.tolist()]
    codec = DifferentiableJpeg(standard_quantiser_steps(qualities), progressive=True)
    coefficients = codec.coefficients(made)
    rounded, relaxed = codec.quantise(coefficients), coefficients.map(lambda each: soft_round(each, _TEMPERATURE))
    levels = pack_levels(rounded).detach().requires_grad_()
    with torch.enable_grad():
        decoded = codec.reconstruct(unpack_levels(levels, made.shape[2:]))
    cost, by_pixels = judge(decoded.detach())
    (slopes,) = torch.autograd.grad(decoded, levels, by_pixels)
    bend = diagonal_hessian(slopes, levels.detach() - pack_levels(codec.coefficients(originals)))
    middle = slopes + bend * (pack_levels(coefficients).detach().floor() + 0.5 - levels.detach())
    bits = bits_per_pixel(rounded, relaxed, progressive=True)
    return straight_through(cost, (middle * pack_levels(relaxed)).flatten(1).sum(1)), bits
