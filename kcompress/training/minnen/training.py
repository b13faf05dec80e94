"""From a folder of photographs to the weights of a proxy codec."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from kcompress.proxies.minnen import NETWORK, Minnen, quantiser_step
from kcompress.training.minnen.recipe import MinnenRecipe
from kcompress.training.simulator.accuracy import logarithm
from kcompress.training.simulator.mimicry import ProxyTraining
from kcompress.training.simulator.pairs import Batch, Pairs, batches


@dataclass(frozen=True)
class Task:
    """What a step sees.

    Attributes:
        batch: of patches and what the real codec made of them.
        mimics: the real decoder's picture is to be shown, instead of the original.
    """

    batch: Batch
    mimics: bool


class Costs(nn.Module):
    """A task -> the cost of every patch, (M,).

    That is ln(R + lambda_p D), of equation 2 of NPP, less that of the real codec: by the logarithm every quality and
    every patch counts alike. First the proxy learns to compress, where D is the distortion of the picture, and a cost
    of 0 is as good as the real codec. Then it mimics: D is the difference to what the real decoder shows, the error of
    ln R is added, and latents are rounded, as they will be. For with noise in the place of rounding, latents that are
    always 0 still cost 0.1 bit each, which is more than a codec spends at coarse qualities.
    """

    def __init__(self, proxy: Minnen, slope: float, rate_match: float) -> None:
        super().__init__()
        self.proxy = proxy
        self._slope, self._rate_match = slope, rate_match

    def forward(self, task: Task) -> Tensor:
        batch = task.batch
        self.proxy.train(not task.mimics)
        decoded, bpp = self.proxy(batch.pictures, batch.coarseness)
        weight = distortion_weight(batch.coarseness, self._slope)
        target = batch.decoded if task.mimics else batch.pictures
        real = batch.bpp + weight * _squared_error(batch.decoded, batch.pictures)
        cost = logarithm(bpp + weight * _squared_error(decoded, target)) - logarithm(real)
        if task.mimics:
            cost = cost + self._rate_match * (logarithm(bpp) - logarithm(batch.bpp)).abs()
        return cost


def distortion_weight(coarseness: Tensor, slope: float) -> Tensor:
    """lambda_p (N,) of coarsenesses (N,): bits per pixel that a squared grey level is worth.

    ``slope`` over the square of HEVC's quantiser step. HEVC's reference encoder weighs a bit by 0.57 * 2 ** ((QP - 12)
    / 3) squared levels, which is a slope of 11; many fine steps, where the error is step ** 2 / 12 and a bit quarters
    it, have one of 6 / ln 2 = 8.7.
    """
    return slope / quantiser_step(coarseness).square()


def _squared_error(one: Tensor, other: Tensor) -> Tensor:
    """MSE (N,) of pictures (N, 3, H, W), 0..1, in squared grey levels."""
    return 255**2 * (one - other).square().flatten(1).mean(1)


@dataclass
class MinnenTraining(ProxyTraining):
    """One training of a learned codec."""

    recipe: MinnenRecipe

    def fresh(self) -> Costs:
        return Costs(self.built(), self.recipe.slope, self.recipe.rate_match)

    def network(self, model: Costs) -> Minnen:
        return model.proxy

    def heading(self) -> str:
        return f"proxy of {self.recipe.codec}"

    def built(self) -> Minnen:
        return Minnen(self.recipe.width, self.recipe.latent)

    def arguments(self) -> dict[str, int]:
        return {"width": self.recipe.width, "latent": self.recipe.latent}

    def described(self) -> dict[str, str]:
        codec = self.recipe.codec
        return {
            "summary": f"a learned codec that mimics {codec} for training: decoded pictures, and bits per pixel",
            "network": NETWORK,
            "loss": "ln(bpp + lambda_p MSE), and |ln bpp - ln bpp of the codec|",
        }

    def tasks(self, pairs: Pairs, first: int) -> Iterator[Task]:
        mimics_from = self.recipe.mimic_from * self.recipe.steps
        for number, batch in enumerate(batches(pairs, self.recipe, first), first):
            yield Task(batch, number >= mimics_from)
