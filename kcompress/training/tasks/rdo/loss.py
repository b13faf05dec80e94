"""The network, the codec behind it and the objective, as one module.

The loss is in the currency of the BD-rate: the change of ln(rate) less what the plain codec would pay for the change
of the scores, by its own slope on the very picture. Decisions are drawn, so that the loss sees real levels and no
gradient flows through a rounding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kcompress.metrics.differentiable import SCORES
from kcompress.networks.rdo import Rdo
from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.jpeg import DifferentiableJpeg, bits_per_pixel, unpack_levels
from kcompress.proxies.straight_through import straight_through
from kcompress.training.tasks.rdo.patches import RATE, Batch

_SHARPNESS = 20.0
"""Of a decision, per quantiser step: 0.05 above the threshold the odds are e : 1."""

_DECISIVE = 3.0


class RdoLoss(nn.Module):
    """A batch -> the cost of each of its pictures, (N,): an estimate of the BD-rate as ln, negative is better.

    Args:
        network: in training.
        objective: shares of scores, 1 in all.
    """

    def __init__(self, network: Rdo, objective: Mapping[str, float]) -> None:
        super().__init__()
        self.network = network
        self._objective = dict(objective)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, and what of it is ``rate`` and ``distortion``."""
        drawn = self.drawn(batch)
        levels = drawn.levels.requires_grad_()
        decoded = self.decoded(batch, levels)
        cost = torch.zeros_like(batch.rates)
        for name, share in self._objective.items():
            gained = SCORES[name](batch.images, decoded) - batch.plain[name]
            cost = cost - share * batch.slopes[name] * gained
        if self._objective:
            (slopes,) = torch.autograd.grad(cost.sum(), levels)
            cost = straight_through(cost, drawn.change_of_cost(slopes).to(cost))  # some scores are float64
        rate = (self.rate(batch, drawn) - batch.plain[RATE]) / batch.rates
        return {"loss": cost + rate, "rate": rate.detach(), "distortion": cost.detach()}

    def drawn(self, batch: Batch) -> "Drawn":
        """Decide, by chance."""
        decisions = self.network.decide(batch.images, batch.conditions)
        falls, falling = _drawn(decisions.decrement_scores)
        rises, rising = _drawn(decisions.increment_scores)
        rises, rising = rises * (1 - falls), rising * (1 - falling)
        return Drawn(decisions.coefficients.detach(), decisions.sign, falls, falling, rises, rising)

    def decoded(self, batch: Batch, levels: Tensor) -> Tensor:
        """What the codec shows of packed levels: (N, 3, H, W), 0..1."""
        codec = DifferentiableJpeg(batch.conditions[:, :128].view(-1, 2, 8, 8))
        return codec.reconstruct(unpack_levels(levels, batch.images.shape[-2:]))

    def rate(self, batch: Batch, drawn: "Drawn") -> Tensor:
        """Bits per pixel (N,)."""
        size = batch.images.shape[-2:]
        return bits_per_pixel(unpack_levels(drawn.levels, size), unpack_levels(drawn.path, size), progressive=True)


@dataclass(frozen=True)
class Drawn:
    """Decisions that were drawn, and the chances; all (N, 384, H / 16, W / 16).

    Attributes:
        coefficients: of the picture, in steps.
        outwards: as `networks.rdo.Decisions` has them.
        falls: 1 where the level falls.
        falling: the chance of it.
        rises: 1 where it rises.
        rising: the chance of it.
    """

    coefficients: Tensor
    outwards: Tensor
    falls: Tensor
    falling: Tensor
    rises: Tensor
    rising: Tensor

    @property
    def levels(self) -> Tensor:
        """That were decided on."""
        return self._moved(self.rises - self.falls)

    @property
    def path(self) -> Tensor:
        """Their means."""
        return self._moved(self.rising - self.falling)

    def _moved(self, steps: Tensor) -> Tensor:
        return self.coefficients.round() + self.outwards * steps

    def change_of_cost(self, slopes: Tensor) -> Tensor:
        """The cost (N,) as a function of the chances, to the first order, given its derivatives by the levels.

        A decision changes the cost by the derivative in the middle of the step, not at the end that was drawn, which
        lies half a step's curvature off: with the sign of the draw, and several times what there is to learn.
        """
        bend = diagonal_hessian(slopes, self.levels - self.coefficients)
        before, levels = self.coefficients.round(), self.levels
        sign = self.outwards
        falling = -sign * (slopes + bend * (before - sign / 2 - levels)) * self.falling
        rising = sign * (slopes + bend * (before + sign / 2 - levels)) * self.rising
        return (falling + rising).flatten(1).sum(1)


def _drawn(scores: Tensor) -> tuple[Tensor, Tensor]:
    """What is decided by chance, 0 or 1, and the chance, whose gradient it is to have.

    Drawn with less doubt than the gradient sees: what is as good as decided makes no noise, and even odds, where
    encodes decide, stay where they are.
    """
    scores = _SHARPNESS * scores
    return (torch.rand_like(scores) < torch.sigmoid(_DECISIVE * scores)).float(), torch.sigmoid(scores)
