"""Samples of what a simulated codec may decode, and derivatives by them that training cannot exploit.

A simulator foretells expectations. A network that is trained on those makes up for the expected error, which no picture
can do, and finds surroundings for which fewer bits are counted. So levels are drawn with the errors that a codec makes,
and what the simulator's contexts say is a constant. A coefficient that may vanish is judged in the middle of its way to
0, as levels are in `training.tasks.artefacts.loss`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.simulator import DistortionNetwork, Simulator

_NOISE = 0.5
"""Width of the error of rounding, in learned steps, which are wider than a codec's. Samples of 48 patches at all
qualities have, on average, the PSNR of JPEG (+1.1 dB), WebP (+1.4) and HEVC (-0.9); with whole steps it is up to 5 dB
too low at coarse qualities."""


@dataclass(frozen=True)
class Sample:
    """Sample of a simulated codec.

    Attributes:
        bits: per pixel, (N,), differentiable by the picture with the contexts as they are.
        units: coefficients of the picture in quantiser steps, (N, 192, h, w), differentiable.
        kept: probability that each is not coded as 0, differentiable.
        decoded: picture with drawn levels, (N, 3, H, W), without derivatives.
        in_units: pictures (N, 3, H, W) -> coefficients in units.
        in_pixels: its inverse for differences.
    """

    bits: Tensor
    units: Tensor
    kept: Tensor
    decoded: Tensor
    in_units: Callable[[Tensor], Tensor]
    in_pixels: Callable[[Tensor], Tensor]

    def path(self, original: Tensor, decoded: Tensor, by_pixels: Tensor) -> Tensor:
        """Sums (N,) whose derivatives by the picture are those of the expected cost.

        ``by_pixels`` are the cost's derivatives at ``decoded``, a sample or the encoder's own, of the original.
        """
        units, error = self.units.detach(), self.in_units(decoded - original)
        levels = self.in_units(decoded)
        still = torch.zeros_like(levels).requires_grad_()
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(self.in_pixels(still), still, by_pixels)
        bend = diagonal_hessian(slopes, error)
        as_it_is, halfway = (slopes + bend * (place - levels) for place in (units, units / 2))
        return (as_it_is * self.kept.detach() * self.units + halfway * units * self.kept).flatten(1).sum(1)


def sample(simulator: Simulator, picture: Tensor, coarseness: Tensor) -> Sample:
    """Draw a sample of pictures (N, 3, H, W), 0..1, at coarsenesses (N,), with torch's random numbers."""
    network: DistortionNetwork = simulator.distortion
    units, steps, kept, _ = network.seen(picture, coarseness, still=True)
    height, width = picture.shape[-2:]

    def in_pixels(levels: Tensor) -> Tensor:
        return network.blocks.synthesise(levels * steps, height, width)

    with torch.no_grad():
        rounded = units + _NOISE * (torch.rand_like(units) - 0.5)
        levels = torch.where(torch.rand_like(units) < kept, rounded, 0.0)
        decoded = (picture + in_pixels(levels - units)).clamp(0, 1)
    bits = simulator.rate(picture, coarseness, still=True)
    return Sample(bits, units, kept, decoded, lambda seen: network.blocks.analyse(seen) / steps, in_pixels)
