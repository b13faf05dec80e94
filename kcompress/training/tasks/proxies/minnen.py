"""From a folder of photographs to the weights of a learned codec that serves as a proxy."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from kcompress.proxies.minnen import NETWORK, Minnen, quantiser_step
from kcompress.training.tasks.proxies.accuracy import logarithm
from kcompress.training.tasks.proxies.coded_patches import Batch
from kcompress.training.tasks.proxies.recipe import MinnenRecipe
from kcompress.training.tasks.proxies.task import ProxyData, ProxyTask


class MinnenLoss(nn.Module):
    """A batch -> the cost of every patch, (M,).

    That is ln(R + lambda_p D), of equation 2 of NPP, less that of the real codec: by the logarithm every quality and
    every patch counts alike. First the proxy learns to compress: D is the distortion of the picture, and a cost of 0 is
    as good as the real codec. Then it mimics: D is the difference to what the real decoder shows, the error of ln R is
    added, and latents are rounded, as they will be. With noise in the place of rounding, latents that are always 0
    still cost 0.1 bit each. That is more than a codec spends at coarse qualities.
    """

    def __init__(self, proxy: Minnen, slope: float, rate_match: float) -> None:
        super().__init__()
        self.proxy = proxy
        self._slope, self._rate_match = slope, rate_match

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``: ``rate_distortion`` and ``rate_match`` added up."""
        self.proxy.train(not batch.mimics)
        decoded, bpp = self.proxy(batch.pictures, batch.coarseness)
        weight = distortion_weight(batch.coarseness, self._slope)
        target = batch.decoded if batch.mimics else batch.pictures
        real = batch.bpp + weight * _squared_error(batch.decoded, batch.pictures)
        cost = logarithm(bpp + weight * _squared_error(decoded, target)) - logarithm(real)
        if not batch.mimics:
            return {"loss": cost, "rate_distortion": cost.detach(), "rate_match": torch.zeros_like(cost)}
        match = self._rate_match * (logarithm(bpp) - logarithm(batch.bpp)).abs()
        return {"loss": cost + match, "rate_distortion": cost.detach(), "rate_match": match.detach()}


def distortion_weight(coarseness: Tensor, slope: float) -> Tensor:
    """lambda_p (N,) of coarsenesses (N,): bits per pixel that a squared grey level is worth.

    ``slope`` over the square of HEVC's quantiser step. HEVC's reference encoder weighs a bit by 0.57 * 2 ** ((QP - 12)
    / 3) squared levels, which is a slope of 11. The error of many fine steps is step ** 2 / 12. A bit quarters it,
    so their slope is 6 / ln 2 = 8.7.
    """
    return slope / quantiser_step(coarseness).square()


def _squared_error(one: Tensor, other: Tensor) -> Tensor:
    """MSE (N,) of pictures (N, 3, H, W), 0..1, in squared grey levels."""
    return 255**2 * (one - other).square().flatten(1).mean(1)


@dataclass(frozen=True)
class MinnenTask(ProxyTask[MinnenRecipe]):
    """Trains a learned codec."""

    network_type = Minnen
    network_name = NETWORK
    sizes = ("width", "latent")
    heading = "proxy"
    summary = "a learned codec that mimics {} for training: decoded pictures, and bits per pixel"
    loss_name = "ln(bpp + lambda_p MSE), and |ln bpp - ln bpp of the codec|"
    parts: ClassVar = ("rate_distortion", "rate_match")

    def loss(self, network: Minnen) -> MinnenLoss:
        return MinnenLoss(network, self.recipe.slope, self.recipe.rate_match)

    def network(self, module: MinnenLoss) -> Minnen:
        return module.proxy

    def batch(self, data: ProxyData, number: int) -> Batch:
        return super().batch(data, number)._replace(mimics=number >= self.recipe.mimic_from * self.recipe.steps)
