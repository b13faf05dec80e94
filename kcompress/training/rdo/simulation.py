"""The network, the codec behind it and the objective, as one module.

The loss is in the currency of the BD-rate: the change of ln(rate) less what the plain codec would pay for the change
of the scores, by its own slope on the very picture.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from kcompress.networks.rdo import Rdo
from kcompress.networks.soft_rdo import SoftRdo
from kcompress.training.proxies.jpeg import Blocks, Jpeg, bits_per_pixel
from kcompress.training.rdo.bank import RATE, Batch
from kcompress.training.rdo.recipe import SCORES

Codec = Callable[[Tensor, Sequence[int], Tensor], tuple[Tensor, Tensor]]
"""Pictures, qualities and coarsenesses -> decoded pictures and bits per pixel, as `proxies.real.RealCodec`."""


_DECISIVE = 3.0


class Simulation(nn.Module):
    """A batch -> the cost of each of its pictures, (N,): an estimate of the BD-rate as ln, negative is better.

    JPEG is simulated exactly (`OfLevels`), other codecs are asked (`OfPixels`).
    """

    network: Rdo | SoftRdo

    def __init__(self, objective: Mapping[str, float]) -> None:
        super().__init__()
        self._objective = dict(objective)

    def forward(self, batch: Batch) -> Tensor:
        decoded, rate = self.coded(batch)
        cost = (rate - batch.plain[RATE]) / batch.rates
        for name, share in self._objective.items():
            gained = SCORES[name](batch.images, decoded) - batch.plain[name]
            cost = cost - share * batch.slopes[name] * gained
        return cost

    def coded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the codec makes of the preprocessed pictures: decoded ones (N, 3, H, W), and bits per pixel (N,)."""
        raise NotImplementedError


class OfLevels(Simulation):
    """Decisions on JPEG's levels are drawn, and the gradient is that of their probability.

    So the loss sees real levels, and no gradient flows through a rounding.
    """

    def __init__(self, network: Rdo, objective: Mapping[str, float]) -> None:
        super().__init__(objective)
        self.network: Rdo = network

    def coded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        decisions = self.network.decide(batch.images, batch.conditions)
        chance = torch.sigmoid(decisions.scores)
        # Drawn with less doubt than the gradient sees: what is as good as decided makes no noise, and even odds, where
        # encodes decide, stay where they are.
        drawn = (torch.rand_like(chance) < torch.sigmoid(_DECISIVE * decisions.scores)).float()
        levels, sign = decisions.levels.detach(), decisions.levels.sign().detach()
        return self.of_levels(levels - sign * drawn, levels - sign * chance, batch)

    @staticmethod
    def of_levels(levels: Tensor, path: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Packed levels, with the gradients of the path."""
        size = batch.images.shape[-2:]
        codec = Jpeg(batch.conditions[:, :128].view(-1, 2, 8, 8))
        decoded = codec.decoded(unpacked(levels + (path - path.detach()), size))
        return decoded, bits_per_pixel(unpacked(levels, size), unpacked(path, size), progressive=True)


class OfPixels(Simulation):
    """What another codec makes of changed pixels: by its simulator, or by itself under the simulator's gradients."""

    def __init__(self, network: SoftRdo, objective: Mapping[str, float], codec: Codec) -> None:
        super().__init__(objective)
        self.network: SoftRdo = network
        self._codec = codec

    def coded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pictures = self.network(batch.images, batch.conditions)
        return self._codec(pictures, batch.qualities.tolist(), batch.conditions[:, -1])


def unpacked(packed: Tensor, size: Sequence[int]) -> Blocks:
    """Levels as the network packs them, (N, 384, H / 16, W / 16), as the codec has them."""
    count = packed.shape[0]
    parts = ((nn.functional.pixel_shuffle(packed[:, :256], 2), 1), (packed[:, 256:], 2))
    luma, chroma = (
        part.reshape(count, channels, 8, 8, *part.shape[-2:]).permute(0, 1, 4, 5, 2, 3) for part, channels in parts
    )
    return Blocks(luma, chroma, int(size[0]), int(size[1]))
