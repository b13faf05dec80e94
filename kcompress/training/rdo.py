"""Training of the RDO network for JPEG, end to end through an exact decoder and a rate model.

The loss is in the currency of the BD-rate: the change of ln(rate) less what the plain codec would pay for the change
of the score, by its own slope on the very patch. Decisions are drawn, and the gradient is that of their probability, so
that the loss sees real levels and no gradient flows through a rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.images import Pixels
from kcompress.inference.engine import TorchEngine
from kcompress.metrics.psnr_hvs_m import masked_error
from kcompress.metrics.ssimulacra2 import ssimulacra2
from kcompress.networks.condition import condition
from kcompress.networks.preprocessor import NetworkPreprocessor, Preprocessor
from kcompress.networks.rdo import MCU, Rdo
from kcompress.training.artifacts import region
from kcompress.training.data import prefetched, tensor
from kcompress.training.proxies import jpeg
from kcompress.training.steps import averaged, save, steps
from kcompress.training.validation import Figures

Score = Callable[[Tensor, Tensor], Tensor]


def hvs(original: Tensor, distorted: Tensor) -> Tensor:
    """PSNR-HVS-M, kept finite."""
    return -10 * torch.log10(masked_error(original, distorted) / 255**2 + 1e-7)


SCORES: dict[str, Score] = {"ssimulacra2": ssimulacra2, "psnr-hvs-m": hvs}
"""What quality can be measured by in training; all are better when higher."""

# Slopes, ln(rate) a unit of score, beyond which a patch is odd: flat, or already perfect.
_SLOPES = {"ssimulacra2": (0.01, 0.08), "psnr-hvs-m": (0.03, 0.25)}


@dataclass(frozen=True)
class RdoRecipe:
    """How the network is trained.

    Attributes:
        width: channels.
        depth: blocks.
        steps: optimiser steps.
        batch: patches a step.
        patches: that are cut and measured once, before the first step.
        side: of a patch, pixels, a multiple of 16.
        lowest: quality.
        highest: quality.
        objective: weights of the scores.
        learning_rate: highest of AdamW.
        warmup: steps in which it rises.
        averaging: of the exponential average of the weights, which is what ships.
        exact_from: share of the steps after which precision is float32: all of them.
        validate_every: steps between validations.
        held_out: share of the pictures kept for validation, drawn by their sha256.
        seed: of patches, weights and decisions.
    """

    width: int = 128
    depth: int = 4
    steps: int = 3_000
    batch: int = 8
    patches: int = 6_000
    side: int = 160
    lowest: int = 30
    highest: int = 92
    objective: dict[str, float] = field(default_factory=lambda: {"ssimulacra2": 0.5, "psnr-hvs-m": 0.5})
    learning_rate: float = 7e-4
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.0
    validate_every: int = 500
    held_out: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Patch:
    """A patch with the plain codec's figures at one quality.

    Attributes:
        pixels: (side, side, 3) uint8.
        quality: of JPEG.
        slopes: d ln(rate) / d score of the plain codec there, by name of the score.
        plain: ln(rate), and the scores, of the plain codec.
    """

    pixels: Pixels
    quality: int
    slopes: dict[str, float]
    plain: dict[str, float]


@torch.no_grad()
def measured(pixels: Pixels, quality: int) -> Patch:
    """A patch with its slopes, from a little below to a little above the quality."""
    original = tensor([pixels] * 3)
    decoded, rates = jpeg.Jpeg(jpeg.standard_steps([quality - 8, quality, min(quality + 6, 97)]))(original)
    found = {name: score(original, decoded) for name, score in SCORES.items()} | {"rate": rates.log()}
    paid = float(found["rate"][2] - found["rate"][0])
    slopes = {}
    for name, (low, high) in _SLOPES.items():
        gained = float(found[name][2] - found[name][0])
        slopes[name] = float(np.clip(paid / gained, low, high)) if gained > 0 else high
    return Patch(pixels, quality, slopes, {name: float(values[1]) for name, values in found.items()})


def bank(pictures: Sequence[Pixels], recipe: RdoRecipe, jobs: int) -> list[Patch]:
    """Patches of random pictures at random qualities, measured; the same whatever ``jobs`` is."""
    random = np.random.default_rng([recipe.seed, 2])
    cuts = [region(pictures, recipe.side, random) for _ in range(recipe.patches)]
    qualities = random.integers(recipe.lowest, recipe.highest + 1, size=recipe.patches).tolist()
    with ProcessPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return list(pool.map(measured, cuts, qualities, chunksize=50))


@dataclass(frozen=True)
class Batch:
    """What a step sees: pictures (N, 3, H, W) 0..1, conditions (N, 257), slopes and plain figures (N,) by name."""

    images: Tensor
    conditions: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]


def batches(patches: Sequence[Patch], recipe: RdoRecipe) -> Iterator[Batch]:
    """Endless; a batch follows from its number alone."""

    def made(number: int) -> Batch:
        random = np.random.default_rng([recipe.seed, 3, number])
        chosen = [patches[int(index)] for index in random.integers(len(patches), size=recipe.batch)]
        conditions = [condition(CODECS["jpeg"].setting(patch.quality)) for patch in chosen]
        slopes, plain = (
            {name: torch.tensor([figures[name] for figures in each]) for name in each[0]}
            for each in ([patch.slopes for patch in chosen], [patch.plain for patch in chosen])
        )
        pictures = tensor([patch.pixels for patch in chosen]).contiguous()
        return Batch(pictures, torch.from_numpy(np.concatenate(conditions)), slopes, plain)

    return prefetched(made, 3)


class Simulated(nn.Module):
    """The network, the codec behind it and the objective, as one module: a batch -> the cost of each picture, (N,)."""

    def __init__(self, network: Rdo, objective: dict[str, float]) -> None:
        super().__init__()
        self.network = network
        self._objective = objective

    def forward(self, batch: Batch) -> Tensor:
        decisions = self.network.decide(batch.images, batch.conditions)
        chance = torch.sigmoid(decisions.scores)
        drawn = (torch.rand_like(chance) < chance).float()
        levels, sign = decisions.levels.detach(), decisions.levels.sign().detach()
        found = self._figures(levels - sign * drawn, levels - sign * chance, batch)
        cost = found["rate"] - batch.plain["rate"]
        for name, weight in self._objective.items():
            cost = cost - weight * batch.slopes[name] * (found[name] - batch.plain[name])
        return cost

    def _figures(self, levels: Tensor, path: Tensor, batch: Batch) -> dict[str, Tensor]:
        """ln(rate) and scores of levels, with the gradients of the path."""
        size = batch.images.shape[-2:]
        codec = jpeg.Jpeg(batch.conditions[:, :128].view(-1, 2, 8, 8), "420")
        decoded = codec.decoded(unpacked(levels + (path - path.detach()), size))
        scores = {name: SCORES[name](batch.images, decoded) for name in self._objective}
        return {"rate": jpeg.bits_per_pixel(unpacked(levels, size), unpacked(path, size)).log(), **scores}


def unpacked(packed: Tensor, size: Sequence[int]) -> jpeg.Blocks:
    """Levels as the network packs them, (N, 384, H / 16, W / 16), as the codec has them."""
    count = packed.shape[0]
    parts = ((nn.functional.pixel_shuffle(packed[:, :256], 2), 1), (packed[:, 256:], 2))
    luma, chroma = (
        part.reshape(count, channels, 8, 8, *part.shape[-2:]).permute(0, 1, 4, 5, 2, 3) for part, channels in parts
    )
    return jpeg.Blocks(luma, chroma, int(size[0]), int(size[1]))


def preprocessor(network: Rdo) -> Preprocessor:
    """A network under training as what encodes take."""
    engine, halo = TorchEngine(network, "cpu"), MCU * len(network.blocks)
    return NetworkPreprocessor("rdo", engine, strength=1, halo=halo, multiple=MCU, condition=condition)


@dataclass(frozen=True)
class Validation:
    """State after some steps: number, mean cost since the last one, figures with the real encoder, checkpoint."""

    step: int
    cost: float
    figures: Figures
    checkpoint: Path


def train(
    recipe: RdoRecipe, patches: Sequence[Patch], judge: Callable[[Preprocessor], Figures], folder: Path
) -> Iterator[Validation]:
    """Train; every validation leaves a checkpoint of the averaged weights in the folder.

    Raises:
        FloatingPointError: the cost is no longer finite.
    """
    torch.manual_seed(recipe.seed)
    model = Simulated(Rdo(recipe.width, recipe.depth), recipe.objective)
    average = averaged(model)
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=1e-4)
    costs: list[float] = []
    for step in steps(
        model, average, optimiser, recipe, batches(patches, recipe), lambda batch: batch, lambda cost, _: cost.mean()
    ):
        costs.append(step.loss)
        if step.is_judged:
            path = save(average.network, folder, step.number)
            yield Validation(step.number, float(np.mean(costs)), judge(preprocessor(average.network)), path)
            costs.clear()
