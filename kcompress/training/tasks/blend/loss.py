"""Losses of the network that mixes filters: by labels of each filter, or by what JPEG makes of the mix itself.

Labels hold a mix for the mean of its choices. It is better than that: half of a filter costs a quarter of its harm.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kcompress.inference.batches import unit
from kcompress.networks.blend import Blend
from kcompress.proxies.straight_through import straight_through
from kcompress.training import exact_jpeg
from kcompress.training.objective import Objective
from kcompress.training.rated_patches import RATE
from kcompress.training.tasks.blend.recipe import BlendRecipe


class LabelledBatch(NamedTuple):
    """Features of patches (N, F, h, w) and of mosaics, coarseness (N, 1), and gains of the choices (N, choices)."""

    local: Tensor
    whole: Tensor
    coarseness: Tensor
    gains: Tensor


class ExactBatch(NamedTuple):
    """Patches and originals (N, side, side, 3) and mosaics (N, 3, h, w), uint8, and coarseness (N, 1).

    ``slopes`` are what a unit of each score is worth on each patch in nepers, (N,). ``plain`` are ln(bits per pixel)
    as ``RATE``, and the scores of the plain codec, (N,).
    """

    patches: Tensor
    originals: Tensor
    mosaics: Tensor
    coarseness: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]

    @property
    def images(self) -> Tensor:
        """The originals, by which the mix is judged, as (N, 3, H, W), 0..1."""
        return unit(self.originals)


class LabelLoss(nn.Module):
    """Gain that is missed in the mean, less the worth of not being sure; in units of the temperature.

    For each patch the best shares are then those of a Boltzmann distribution of what a choice gains on average where
    the features are the same: noise of the labels cancels out.
    """

    def __init__(self, network: Blend, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, batch: LabelledBatch) -> dict[str, Tensor]:
        """``loss``, and the expected ``gain`` in nepers, (N,) each."""
        shares = self.network.shares(batch.local, batch.whole, batch.coarseness)
        gain = (shares.mean((2, 3)) * batch.gains).sum(1)
        certainty = (shares * (shares + 1e-9).log()).sum(1).mean((1, 2))
        return {"loss": certainty - gain / self.temperature, "gain": gain}


class ExactLoss(nn.Module):
    """Change of ln(bits) less what the scores gain, of the mix behind JPEG's exact twin.

    Beyond the limit a gain or loss counts ever less: a few odd patches would decide otherwise.
    """

    def __init__(self, network: Blend, recipe: BlendRecipe) -> None:
        super().__init__()
        self.network, self.limit = network, recipe.limit
        self._objective = Objective(dict.fromkeys(recipe.objective, 1.0))

    def forward(self, batch: ExactBatch) -> dict[str, Tensor]:
        """``loss``, and the ``gain`` in nepers, (N,) each."""
        images = unit(batch.patches)
        with torch.autocast(images.device.type, enabled=False):
            mixed = self.network(images, batch.mosaics / 255, batch.coarseness).clamp(0, 1)
            made = straight_through((255 * mixed).round() / 255, mixed)
            cost, bits = exact_jpeg.coded(made, images, batch.coarseness[:, 0], partial(self._objective, batch))
            change = cost + bits.log() - batch.plain[RATE]
        return {"loss": self.limit * torch.tanh(change / self.limit), "gain": -change.detach()}
