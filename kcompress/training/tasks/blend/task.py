"""From a folder of photographs to the network that mixes filters."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.inference.batches import tensor
from kcompress.inference.weights import Weights
from kcompress.networks.blend import Blend
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.mosaic import SIDE
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder, gflop
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, picture
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.blend.labels import labelled
from kcompress.training.tasks.blend.recipe import BlendRecipe
from kcompress.training.validation import CodecValidator, of_objective, under_training, weighted_size

PLACE = "labels"
"""In the folder of the checkpoints; files of each picture."""

_AT_ONCE = 16


class Batch(NamedTuple):
    """Features of patches (N, F, h, w) and of mosaics, coarseness (N, 1), and gains of the choices (N, choices)."""

    local: Tensor
    whole: Tensor
    coarseness: Tensor
    gains: Tensor


class BlendLoss(nn.Module):
    """Gain that is missed in the mean, less the worth of not being sure; in units of the temperature.

    For each patch the best shares are then those of a Boltzmann distribution of what a choice gains on average where
    the features are the same: noise of the labels cancels out.
    """

    def __init__(self, network: Blend, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """``loss``, and the expected ``gain`` in nepers, (N,) each."""
        shares = self.network.shares(batch.local, batch.whole, batch.coarseness)
        gain = (shares.mean((2, 3)) * batch.gains).sum(1)
        certainty = (shares * (shares + 1e-9).log()).sum(1).mean((1, 2))
        return {"loss": certainty - gain / self.temperature, "gain": gain}


@dataclass(frozen=True, kw_only=True)
class BlendData(TrainingData):
    """All patches as a batch, the mean price of each score, and what compares a network with the plain codec."""

    patches: Batch
    prices: dict[str, float]
    validator: CodecValidator


@dataclass(frozen=True)
class BlendTask(PhotoTask[BlendRecipe, BlendData, Batch]):
    """Learns from photographs of all kinds: clean ones teach it to do nothing."""

    start: Weights | None = None
    network_type = Blend
    network_name = "blend"
    sizes = ("width",)
    parts: ClassVar = ("gain",)

    def loss(self, network: Blend) -> BlendLoss:
        return BlendLoss(network, self.recipe.temperature)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, BlendData]:
        recipe = self.recipe
        labels = yield from labelled(self.photos, split.train, recipe, folder / PLACE, self.jobs)
        features = Blend(recipe.width).features
        local = torch.cat([features(tensor(list(part.numpy()))) for part in torch.split(labels.patches, _AT_ONCE)])
        whole = torch.cat([features(part / 255) for part in torch.split(labels.mosaics, _AT_ONCE)])
        pictures = [picture(self.photos, name) for name in split.validation]
        validator = of_objective(recipe.codec, CODECS[recipe.codec].quality.default, recipe.objective, pictures)
        return BlendData(
            trained_on=len(split.train), held_out=len(split.validation), metrics=validator.names,
            heading=validator.heading, validator=validator,
            patches=Batch(local, whole, labels.coarseness, labels.gains(recipe.objective, recipe.limit)),
            prices={metric: round(labels.prices(metric).mean().item(), 5) for metric in recipe.objective},
        )  # fmt: skip

    def batch(self, data: BlendData, number: int) -> Batch:
        count, patches = self.recipe.batch, len(data.patches.gains)
        chosen = np.random.default_rng([self.recipe.seed, 3, number]).choice(patches, count, replace=count > patches)
        return Batch(*(part[torch.from_numpy(chosen)] for part in data.patches))

    def validate(self, module: BlendLoss, data: BlendData) -> Metrics:
        return data.validator(under_training(module.network, domain(self.recipe)))

    def objective(self, metrics: Metrics) -> float:
        return weighted_size(metrics, self.recipe.objective)

    def export(self, best: Entry, data: BlendData) -> ExportSpec:
        recipe = self.recipe
        inputs = (torch.zeros(1, 3, SIDE, SIDE), torch.zeros(1, 1))
        network = Blend(recipe.width)
        return ExportSpec(
            summary=f"mixes filters before {recipe.codec} by weights that it predicts for each pixel",
            card={"codec": recipe.codec, "encoder": encoder(recipe.codec)},
            recipe={**domain(recipe).to_recipe(), "loss": "gain missed, less entropy", "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            details={
                "prices": data.prices,
                "gflop_at_1920x1080": round(gflop(network, [torch.zeros(1, 3, 1080, 1920), *inputs]), 1),
            },
            metrics={"against_the_plain_codec": best.metrics},
            inputs=inputs,
        )


def domain(recipe: BlendRecipe) -> TrainingDomain:
    """Training domain of a network of this recipe."""
    return TrainingDomain.between("blend", recipe.codec, (recipe.lowest, recipe.highest))
