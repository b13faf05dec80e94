"""The network, the codec behind it and the objective, as one module.

The loss is in the currency of the BD-rate: the change of ln(rate) less what the plain codec would pay for the change
of the scores, by its own slope on the very picture. Decisions are sampled, so that the loss sees real levels and no
gradient flows through a rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kcompress.networks.rdo import Rdo
from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.jpeg import DifferentiableJpeg, bits_per_pixel, unpack_levels
from kcompress.proxies.straight_through import straight_through
from kcompress.training.objective import Objective
from kcompress.training.rated_patches import RATE, Batch

_SHARPNESS = 20.0
"""Steepness of a decision, per quantiser step: 0.05 above the threshold the odds are e : 1."""

_DECISIVE = 3.0


class RdoLoss(nn.Module):
    """A batch -> the cost of each of its pictures, (N,): an estimate of the BD-rate as ln, negative is better."""

    def __init__(self, network: Rdo, objective: Mapping[str, float]) -> None:
        super().__init__()
        self.network = network
        self._objective = Objective(objective) if objective else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, and what of it is ``rate`` and ``distortion``."""
        sampled = self.sampled(batch)
        levels = sampled.levels.requires_grad_()
        cost = torch.zeros_like(batch.rates)
        if self._objective is not None:
            decoded = self.decoded(batch, levels)
            cost, by_pixels = self._objective(batch, decoded.detach())
            (slopes,) = torch.autograd.grad(decoded, levels, by_pixels)
            cost = straight_through(cost, sampled.change_of_cost(slopes))
        rate = (self.rate(batch, sampled) - batch.plain[RATE]) / batch.rates
        return {"loss": cost + rate, "rate": rate.detach(), "distortion": cost.detach()}

    def sampled(self, batch: Batch) -> "Sampled":
        """Sample the decisions."""
        decisions = self.network.decide(batch.images, batch.conditions)
        decrements, decrement = _bernoulli(decisions.decrement_scores)
        increments, increment = _bernoulli(decisions.increment_scores)
        increments, increment = increments * (1 - decrements), increment * (1 - decrement)
        return Sampled(decisions.coefficients.detach(), decisions.sign, decrements, decrement, increments, increment)

    def decoded(self, batch: Batch, levels: Tensor) -> Tensor:
        """Decoded pictures (N, 3, H, W), 0..1, of packed levels."""
        codec = DifferentiableJpeg(batch.conditions[:, :128].view(-1, 2, 8, 8))
        return codec.reconstruct(unpack_levels(levels, batch.size))

    def rate(self, batch: Batch, sampled: "Sampled") -> Tensor:
        """Bits per pixel (N,)."""
        levels, expected = (unpack_levels(each, batch.size) for each in (sampled.levels, sampled.expected))
        return bits_per_pixel(levels, expected, progressive=True)


@dataclass(frozen=True)
class Sampled:
    """Sampled decisions with their probabilities; all (N, 384, H / 16, W / 16).

    Attributes:
        coefficients: of the picture, in steps.
        sign: as `networks.rdo.Decisions` has it.
        decrements, increments: 1 where the level is changed so, else 0.
        decrement, increment: probabilities.
    """

    coefficients: Tensor
    sign: Tensor
    decrements: Tensor
    decrement: Tensor
    increments: Tensor
    increment: Tensor

    @property
    def levels(self) -> Tensor:
        """Levels after the decisions."""
        return self._moved(self.increments - self.decrements)

    @property
    def expected(self) -> Tensor:
        """Expectation of the levels."""
        return self._moved(self.increment - self.decrement)

    def _moved(self, steps: Tensor) -> Tensor:
        return self.coefficients.round() + self.sign * steps

    def change_of_cost(self, slopes: Tensor) -> Tensor:
        """Cost (N,) as a function of the probabilities, to the first order, given its derivatives by the levels.

        A decision changes the cost by the derivative in the middle of the step. At the sampled end it lies half a
        step's curvature off, with the sample's sign: several times what there is to learn.
        """
        bend = diagonal_hessian(slopes, self.levels - self.coefficients)
        before, levels = self.coefficients.round(), self.levels
        sign = self.sign
        down = -sign * (slopes + bend * (before - sign / 2 - levels)) * self.decrement
        up = sign * (slopes + bend * (before + sign / 2 - levels)) * self.increment
        return (down + up).flatten(1).sum(1)


def _bernoulli(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Samples, 0 or 1, and the probability whose gradient they are to have.

    Sampled with a sigmoid three times as steep as the one that is differentiated. Confident decisions add no noise, and
    even odds, where encodes decide, stay where they are.
    """
    scores = _SHARPNESS * scores
    return (torch.rand_like(scores) < torch.sigmoid(_DECISIVE * scores)).float(), torch.sigmoid(scores)
