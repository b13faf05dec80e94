"""The network, a model of the codec behind it and the objective, as one module.

The loss is in the currency of the BD-rate, as that of `training.tasks.rdo`: the change of ln(rate) less what the plain
codec would pay for the change of the scores of the decoded picture.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.networks.artefacts import Artefacts
from kcompress.proxies.choice import FrozenProxy
from kcompress.proxies.straight_through import Encoded, straight_through
from kcompress.training import exact_jpeg
from kcompress.training.objective import Objective
from kcompress.training.rated_patches import RATE, Batch
from kcompress.training.tasks.artefacts.recipe import ArtefactsRecipe

Proxy = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Pictures (N, 3, H, W) and coarsenesses (N,) -> decoded pictures and bits per pixel (N,), differentiable."""


class ArtefactsLoss(nn.Module):
    """A batch -> the cost of each of its pictures, (N,): an estimate of the BD-rate as ln, negative is better.

    Without a proxy the codec is JPEG, by its exact twin.
    """

    def __init__(self, network: Artefacts, proxy: Proxy | None, recipe: ArtefactsRecipe, jobs: int) -> None:
        super().__init__()
        self.network = network
        self._scale = CODECS[recipe.codec].quality
        # In a tuple, a frozen proxy is no part of this module: it is neither trained, averaged nor written down.
        self._proxy = None if proxy is None else (proxy,)
        self._real = None
        if proxy is not None and recipe.through == "real":
            self._real = Encoded(CODECS[recipe.codec], jobs, effort=recipe.effort)
        self._objective = Objective(recipe.objective)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``, and what of it is ``rate`` and ``distortion``."""
        made = self.network(batch.images, batch.conditions).float().clamp(0, 1)
        with torch.autocast(made.device.type, enabled=False):
            cost, bits = (self._exact if self._proxy is None else self._coded)(batch, made)
        rate = (bits - batch.plain[RATE]) / batch.rates
        return {"loss": cost + rate, "rate": rate.detach(), "distortion": cost.detach()}

    def _coded(self, batch: Batch, made: Tensor) -> tuple[Tensor, Tensor]:
        """Cost of the scores, and bits per pixel, (N,) each, of pictures by proxy or encoder."""
        assert self._proxy is not None
        proxy, coarseness = self._proxy[0], batch.conditions[:, 0]
        drawn = proxy.sample(made, coarseness) if isinstance(proxy, FrozenProxy) else None
        decoded, bits = proxy(made, coarseness) if drawn is None else (drawn.decoded, drawn.bits)
        if self._real is not None:
            shown, counted = self._real(made, [self._scale.nearest(each) for each in coarseness.tolist()])
            decoded, bits = straight_through(shown, decoded), straight_through(counted, bits)
        decoded = decoded.clamp(0, 1)
        cost, by_pixels = self._objective(batch, decoded.detach())
        if drawn is None:
            return straight_through(cost, (decoded * by_pixels).flatten(1).sum(1)), bits
        return straight_through(cost, drawn.path(batch.images, decoded.detach(), by_pixels)), bits

    def _exact(self, batch: Batch, made: Tensor) -> tuple[Tensor, Tensor]:
        """As `_coded`, by JPEG's twin."""
        return exact_jpeg.coded(made, batch.images, batch.conditions[:, 0], partial(self._objective, batch))
