"""The network, the codec behind it and the objective, as one module.

The loss is in the currency of the BD-rate: the change of ln(rate) less what the plain codec would pay for the change
of the score, by its own slope on the very patch. Decisions are drawn, and the gradient is that of their probability, so
that the loss sees real levels and no gradient flows through a rounding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kcompress.networks.rdo import Rdo
from kcompress.training.proxies.jpeg import Blocks, Jpeg, bits_per_pixel
from kcompress.training.rdo.bank import RATE, Batch
from kcompress.training.rdo.recipe import SCORES


class Simulation(nn.Module):
    """A batch -> the cost of each of its pictures, (N,): an estimate of the BD-rate as ln, negative is better."""

    def __init__(self, network: Rdo, objective: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self._objective = tuple(objective)

    def forward(self, batch: Batch) -> Tensor:
        decisions = self.network.decide(batch.images, batch.conditions)
        chance = torch.sigmoid(decisions.scores)
        drawn = (torch.rand_like(chance) < chance).float()
        levels, sign = decisions.levels.detach(), decisions.levels.sign().detach()
        found = self._figures(levels - sign * drawn, levels - sign * chance, batch)
        cost = found[RATE] - batch.plain[RATE]
        for name in self._objective:
            paid = batch.slopes[name] * (found[name] - batch.plain[name])
            cost = cost - paid / len(self._objective)
        return cost

    def _figures(self, levels: Tensor, path: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ln(rate) and scores of levels, with the gradients of the path."""
        size = batch.images.shape[-2:]
        codec = Jpeg(batch.conditions[:, :128].view(-1, 2, 8, 8))
        decoded = codec.decoded(unpacked(levels + (path - path.detach()), size))
        scores = {name: SCORES[name](batch.images, decoded) for name in self._objective}
        return {RATE: bits_per_pixel(unpacked(levels, size), unpacked(path, size)).log(), **scores}


def unpacked(packed: Tensor, size: Sequence[int]) -> Blocks:
    """Levels as the network packs them, (N, 384, H / 16, W / 16), as the codec has them."""
    count = packed.shape[0]
    parts = ((nn.functional.pixel_shuffle(packed[:, :256], 2), 1), (packed[:, 256:], 2))
    luma, chroma = (
        part.reshape(count, channels, 8, 8, *part.shape[-2:]).permute(0, 1, 4, 5, 2, 3) for part, channels in parts
    )
    return Blocks(luma, chroma, int(size[0]), int(size[1]))
