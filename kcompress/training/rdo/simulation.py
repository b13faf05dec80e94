"""The network, the codec behind it and the objective, as one module.

The loss is in the currency of the BD-rate: the change of ln(rate) less what the plain codec would pay for the change
of the scores, by its own slope on the very picture. Decisions are drawn, and the gradient is that of their probability,
so that the loss sees real levels and no gradient flows through a rounding.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kcompress.networks.rdo import Rdo
from kcompress.training.proxies.jpeg import Jpeg, bits_per_pixel, unpacked
from kcompress.training.rdo.bank import RATE, Batch
from kcompress.training.rdo.recipe import SCORES

_DECISIVE = 3.0


class Simulation(nn.Module):
    """A batch -> the cost of each of its pictures, (N,): an estimate of the BD-rate as ln, negative is better.

    Args:
        network: in training.
        objective: shares of scores, 1 in all.
    """

    def __init__(self, network: Rdo, objective: Mapping[str, float]) -> None:
        super().__init__()
        self.network = network
        self._objective = dict(objective)

    def forward(self, batch: Batch) -> Tensor:
        decoded, rate = self.coded(batch)
        cost = (rate - batch.plain[RATE]) / batch.rates
        for name, share in self._objective.items():
            gained = SCORES[name](batch.images, decoded) - batch.plain[name]
            cost = cost - share * batch.slopes[name] * gained
        return cost

    def coded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the codec makes of levels that were decided on: pictures (N, 3, H, W), 0..1, and bits per pixel (N,)."""
        decisions = self.network.decide(batch.images, batch.conditions)
        chance = torch.sigmoid(decisions.scores)
        # Drawn with less doubt than the gradient sees: what is as good as decided makes no noise, and even odds, where
        # encodes decide, stay where they are.
        drawn = (torch.rand_like(chance) < torch.sigmoid(_DECISIVE * decisions.scores)).float()
        levels, sign = decisions.levels.detach(), decisions.levels.sign().detach()
        fallen, path = levels - sign * drawn, levels - sign * chance
        size = batch.images.shape[-2:]
        codec = Jpeg(batch.conditions[:, :128].view(-1, 2, 8, 8))
        decoded = codec.decoded(unpacked(fallen + (path - path.detach()), size))
        return decoded, bits_per_pixel(unpacked(fallen, size), unpacked(path, size), progressive=True)
