"""From a folder of photographs to the weights of a proxy codec."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.training.log import load_best
from kcompress.training.loop import Prepared
from kcompress.training.minnen.recipe import MinnenRecipe
from kcompress.training.photographs import Lessons, PhotoTraining
from kcompress.training.proxies.minnen import NETWORK, Minnen, quantiser_step
from kcompress.training.publishing import described, publish
from kcompress.training.simulator.accuracy import FIGURES, accuracy, logarithm
from kcompress.training.simulator.pairs import PLACE, Batch, Pairs, batches, encoded
from kcompress.training.simulator.training import OF_A_JUDGED_PICTURE
from kcompress.training.state import seconds_spent


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
class MinnenTraining(PhotoTraining):
    """Patches that are encoded once are kept beside the checkpoints."""

    recipe: MinnenRecipe

    def fresh(self) -> Costs:
        proxy = Minnen(self.recipe.width, self.recipe.latent)
        return Costs(proxy, self.recipe.slope, self.recipe.rate_match)

    def network(self, model: Costs) -> Minnen:
        return model.proxy

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        pairs = yield from self._pairs(kept, -(-self.recipe.patches // len(kept)))
        unseen = yield from self._pairs(judged, OF_A_JUDGED_PICTURE)
        return Lessons(
            lambda first: self._tasks(pairs, first),
            lambda proxy: accuracy(proxy, unseen, self.recipe.codec),
            list(FIGURES), f"proxy of {self.recipe.codec}", ("psnr_gain_db", "bpp_error_percent"),
            "of what the proxy shows and counts",
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float]) -> float:
        """In nepers, as that of a simulator."""
        pixels = -figures["psnr_to_the_decoder_db"] / 10
        return pixels + figures["bpp_error_percent"] / 100 + 2 * figures["ln_bpp_difference_error"]

    def export(self, output: Path, about: str) -> dict[str, Any]:
        """Write weights and card of the best checkpoint; returns the card.

        Args:
            output: stem of the files.
            about: what the pictures are, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        recipe = self.recipe
        module = Minnen(recipe.width, recipe.latent)
        load_best(module, self.folder, self.entries)
        best = min(self.entries, key=lambda entry: self.worth(entry.scores))
        backend = CODECS[recipe.codec].backend("auto")
        loss = "ln(bpp + lambda_p MSE), and |ln bpp - ln bpp of the codec|"
        card = {
            "summary": f"a learned codec that mimics {recipe.codec} for training: decoded pictures, and bits per pixel",
            "network": NETWORK,
            "codec": recipe.codec,
            "encoder": f"{backend.name} {backend.version()}",
            "recipe": {**asdict(recipe), "loss": loss, "optimiser": "AdamW"},
            "data": described(f"{self.trained_on} photographs", about),
            "training_minutes": round(seconds_spent(self.folder) / 60),
            "held_out_pictures": self.held_out,
            "best_step": best.step,
            "on_held_out_patches": {name: round(value, 4) for name, value in best.scores.items()},
        }
        return publish(output, module, {"width": recipe.width, "latent": recipe.latent}, card, graph=False)

    def _tasks(self, pairs: Pairs, first: int) -> Iterator[Task]:
        """Endless, from number ``first`` on."""
        mimics_from = self.recipe.mimic_from * self.recipe.steps
        for number, batch in enumerate(batches(pairs, self.recipe, first), first):
            yield Task(batch, number >= mimics_from)

    def _pairs(self, names: list[str], each: int) -> Generator[Prepared, None, Pairs]:
        return encoded(self.photos, names, each, self.recipe, self.folder / PLACE, self.jobs)
