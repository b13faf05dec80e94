"""Descent of a rate-distortion cost in the levels of a batch of tiles.

Every level that is free is relaxed to a real number. In each step levels are sampled, each the one below or above its
number, and a differentiable JPEG gives the cost: ln(rate) less the gain of metrics, priced by the plain codec's slope
on the same pixels. The gradient is that in the middle of the step, by the diagonal Hessian (`proxies.curvature`), and
Adam follows it. Gradients of slow metrics are taken in some of the steps and kept in between.

All of a step happens on one device, in place, in one shape: on CUDA it is captured as a graph.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kcompress.metrics.differentiable import SCORES, Score
from kcompress.networks.rdo import Decisions
from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.jpeg import DifferentiableJpeg, bits_per_pixel, unpack_levels
from kcompress.search.repeated import Repeated

RATE = 0.04
"""Initial learning rate of Adam for 100 steps or more, in levels; half a cosine brings it down to a tenth.

With fewer steps it is higher."""

EVERY = {"ssimulacra2": 2, "iw-ssim": 2, "vif": 2, "butteraugli": 6, "ms-ssim": 6}
"""Steps from one gradient of a metric to the next, where it is not taken in every step."""

_CHANGES, _STAYS = 0.75, 0.2
"""Initial offsets from the encoder's level towards the decision, in levels.

A level decided to change does so in 75 of 100 samples, another one in 20."""

_DC_STAYS = 0.05
"""Initial offset of DC from the encoder's level towards the coefficient, in levels."""

_MEMORY = 0.9
"""Decay of the running mean of the diagonal Hessian, for each step."""

_FARTHEST, _DC_FARTHEST = 1.5, 1.0
"""Largest distance of a level from its coefficient, in quantiser steps."""

_BETAS, _EPSILON = (0.9, 0.99), 1e-8
"""Adam's, which is written out here, as that of torch takes its rate from the CPU."""

_SLOPES = {
    "ssimulacra2": (0.01, 0.3), "butteraugli": (0.2, 5.0), "vif": (0.01, 0.3), "psnr": (0.03, 0.4),
    "psnr-hvs-m": (0.03, 0.4), "ms-ssim": (0.1, 3.0), "iw-ssim": (0.1, 3.0),
}  # fmt: skip
"""Clamp of the codec's slope d ln(rate) / d metric. Values outside occur on flat tiles and mean nothing."""


class Descent:
    """The optimisation of N tiles of one size."""

    def __init__(
        self, original: Tensor, decisions: Decisions, dc: Tensor, codecs: Sequence[DifferentiableJpeg],
        weights: Mapping[str, float], last: int, seed: int, *, graph: bool = True,
    ) -> None:  # fmt: skip
        """Nothing is optimised yet.

        Args:
            original: (N, 3, H, W) 0..1, against which scores are held; its device is where everything happens.
            decisions: of a network, where the descent starts.
            dc: mask (N, 384, 1, 1) of DC whose levels are free, too, on which the network does not decide.
            codecs: a coarser one, the one in use, and a finer one.
            weights: of ``SCORES``; they add up to 1.
            last: number of the last step.
            seed: of the samples.
            graph: whether steps are captured on CUDA.
        """
        coarser, self._codec, finer = codecs
        self._size, self._last = original.shape[-2:], last
        scores = {name: SCORES[name](original) for name in weights}
        slopes = _slopes(original, scores, coarser, finer)
        self._parts = [
            _Part(every, {name: (weights[name] * slopes[name], scores[name]) for name in names})
            for every in sorted({EVERY.get(name, 1) for name in weights})
            if (names := [name for name in weights if EVERY.get(name, 1) == every])
        ]
        self._levels, self._free = decisions.levels, decisions.allowed | dc
        self._coefficients = decisions.coefficients
        decided, sign = decisions.new_levels - self._levels, self._levels.sign()
        offset = torch.where(decided != 0, _CHANGES * decided, -_STAYS * sign)
        start = self._levels + torch.where(dc, _DC_STAYS * (self._coefficients - self._levels).sign(), offset)
        farthest = torch.where(dc, _DC_FARTHEST, _FARTHEST)
        lowest, highest = (self._coefficients - farthest).ceil(), (self._coefficients + farthest).floor()
        self._places, self._lowest, self._highest = (
            torch.where(self._free, each, self._levels) for each in (start, lowest, highest)
        )
        self._mean, self._square = torch.zeros_like(start), torch.zeros_like(start)
        self._noise = torch.empty_like(start)
        self._random = torch.Generator(original.device).manual_seed(seed)
        self._rate, self._bias = (torch.ones((), device=original.device) for _ in range(2))
        self._graph = graph and original.is_cuda
        self._steps: dict[tuple[bool, ...], Repeated] = {}

    def step(self, number: int) -> None:
        """One step, from number 1 on."""
        cosine = math.cos(math.pi * (number - 1) / self._last)
        rate = RATE * max(1.0, math.sqrt(100 / self._last)) * (0.55 + 0.45 * cosine)
        self._rate.fill_(rate / (1 - _BETAS[0] ** number))
        self._bias.fill_(1 - _BETAS[1] ** number)
        self._noise.uniform_(generator=self._random)
        fresh = tuple((number - 1) % part.every == 0 for part in self._parts)
        if fresh not in self._steps:
            self._steps[fresh] = Repeated(graph=self._graph)
        self._steps[fresh](lambda: self._step(fresh))

    def levels(self) -> Tensor:
        """(N, 384, H / 16, W / 16): those next to their places."""
        return self._places.round()

    def _step(self, fresh: Sequence[bool]) -> None:
        drawn = torch.where(self._free, (self._places + self._noise).floor(), self._levels)
        due = [part for part, is_fresh in zip(self._parts, fresh, strict=True) if is_fresh]
        decoded = self._codec.reconstruct(unpack_levels(drawn.requires_grad_(), self._size)) if due else drawn
        for part in due:
            (slopes,) = torch.autograd.grad(part.cost(decoded), drawn, retain_graph=part is not due[-1])
            part.update(slopes, drawn.detach(), self._coefficients)
        drawn = drawn.detach()
        middle = self._places.floor() + 0.5
        places = self._places.detach().requires_grad_()
        whole, between = unpack_levels(drawn, self._size), unpack_levels(places, self._size)
        rate = bits_per_pixel(whole, between, progressive=self._codec.progressive).log()
        (gradient,) = torch.autograd.grad(rate.sum(), places)
        for part in self._parts:
            gradient = gradient + part.slopes(middle)
        self._mean.lerp_(gradient, 1 - _BETAS[0])
        self._square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        self._places.sub_(self._rate * self._mean / ((self._square / self._bias).sqrt() + _EPSILON))
        self._places.copy_(torch.minimum(torch.maximum(self._places, self._lowest), self._highest))


class _Part:
    """Metrics whose gradient is taken in the same steps: a quadratic model of their cost in each level."""

    def __init__(self, every: int, priced: Mapping[str, tuple[Tensor, Score]]) -> None:
        """``priced`` has what a unit of a score is worth, as ln(rate), (N,), and the score."""
        self.every, self._priced = every, priced
        self._bend: Tensor | None = None
        self._at_zero: Tensor | None = None

    def cost(self, decoded: Tensor) -> Tensor:
        """Sum over the tiles."""
        return torch.stack([-(worth * score(decoded)).sum().float() for worth, score in self._priced.values()]).sum()

    def update(self, slopes: Tensor, levels: Tensor, coefficients: Tensor) -> None:
        """Take in the derivatives by the levels, all (N, 384, h, w)."""
        bend = diagonal_hessian(slopes, levels - coefficients)
        if self._bend is None or self._at_zero is None:
            self._bend, self._at_zero = bend, slopes - bend * levels
        else:
            self._bend.lerp_(bend, 1 - _MEMORY**self.every)
            self._at_zero.copy_(slopes - self._bend * levels)

    def slopes(self, levels: Tensor) -> Tensor:
        """Derivatives at other levels."""
        assert self._bend is not None and self._at_zero is not None
        return self._at_zero + self._bend * levels


@torch.no_grad()
def _slopes(
    original: Tensor, scores: Mapping[str, Score], coarser: DifferentiableJpeg, finer: DifferentiableJpeg
) -> dict[str, Tensor]:
    """Slopes d ln(rate) / d score (N,) of the plain codec between a coarser and a finer setting, by score."""
    (worse, less), (better, more) = coarser(original), finer(original)
    paid, found = (more / less).log(), {}
    for name, score in scores.items():
        gained, (low, high) = score(better) - score(worse), _SLOPES[name]
        found[name] = torch.where(gained > 0, (paid / gained).clamp(low, high), high).float()
    return found
