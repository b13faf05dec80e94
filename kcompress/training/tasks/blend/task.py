"""From a folder of photographs to the network that mixes filters."""

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.inference.batches import tensor
from kcompress.inference.weights import Weights
from kcompress.networks.blend import Blend
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.mosaic import SIDE
from kcompress.networks.tables import with_tables
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder, gflop
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, picture
from kcompress.training.rated_patches import RATE
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.blend.labels import Labels, labelled
from kcompress.training.tasks.blend.loss import ExactBatch, ExactLoss, LabelledBatch, LabelLoss
from kcompress.training.tasks.blend.recipe import BlendRecipe
from kcompress.training.validation import CodecValidator, of_objective, under_training, weighted_size

PLACE = "labels"
"""In the folder of the checkpoints; files of each picture."""

_AT_ONCE = 16

_LOSSES = {"labels": "gain missed, less entropy", "exact": "ln(rate) - slope * score"}


Batch = LabelledBatch | ExactBatch


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

    def loss(self, network: Blend) -> LabelLoss | ExactLoss:
        if self.recipe.through == "exact":
            return ExactLoss(network, self.recipe)
        return LabelLoss(network, self.recipe.temperature)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, BlendData]:
        recipe = self.recipe
        labels = yield from labelled(self.photos, split.train, recipe, folder / PLACE, self.jobs)
        pictures = [picture(self.photos, name) for name in split.validation]
        codec = CODECS[recipe.codec]
        # Labels are by the codec's own tables: those behind the network's tables taught it nothing better.
        theirs = with_tables(codec, None, [self.network_name], codec.backend("auto")).tables
        validator = of_objective(codec.name, codec.quality.default, recipe.objective, pictures, theirs)
        return BlendData(
            trained_on=len(split.train), held_out=len(split.validation), metrics=validator.names,
            heading=validator.heading, validator=validator,
            patches=(_exact if recipe.through == "exact" else _labelled)(labels, recipe),
            prices={metric: round(labels.prices(metric).mean().item(), 5) for metric in recipe.objective},
        )  # fmt: skip

    def batch(self, data: BlendData, number: int) -> Batch:
        count, patches = self.recipe.batch, len(data.patches.coarseness)
        chosen = np.random.default_rng([self.recipe.seed, 3, number]).choice(patches, count, replace=count > patches)
        found: Batch = _rows(data.patches, torch.from_numpy(chosen))
        return found

    def validate(self, module: LabelLoss | ExactLoss, data: BlendData) -> Metrics:
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
            recipe={**domain(recipe).to_recipe(), "loss": _LOSSES[recipe.through], "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            details={
                "prices": data.prices,
                "gflop_at_1920x1080": round(gflop(network, [torch.zeros(1, 3, 1080, 1920), *inputs]), 1),
            },
            metrics={"against_the_plain_codec": best.metrics},
            inputs=inputs,
        )


def _labelled(labels: Labels, recipe: BlendRecipe) -> LabelledBatch:
    features = Blend(recipe.width).features
    local = torch.cat([features(tensor(list(part.numpy()))) for part in torch.split(labels.patches, _AT_ONCE)])
    whole = torch.cat([features(part / 255) for part in torch.split(labels.mosaics, _AT_ONCE)])
    return LabelledBatch(local, whole, labels.coarseness, labels.gains(recipe))


def _exact(labels: Labels, recipe: BlendRecipe) -> ExactBatch:
    slopes = {metric: worth[:, 0] for metric, worth in labels.worths(recipe).items()}
    plain = {metric: labels.scores[metric][:, 2] for metric in recipe.objective}
    plain[RATE] = labels.rates[:, 2] + math.log(8 / recipe.side**2)
    return ExactBatch(labels.patches, labels.originals, labels.mosaics, labels.coarseness, slopes, plain)


def _rows(samples: Any, chosen: Tensor) -> Any:
    """Samples of a batch, by number, of all its tensors."""
    if isinstance(samples, Tensor):
        return samples[chosen]
    if isinstance(samples, dict):
        return {name: _rows(part, chosen) for name, part in samples.items()}
    return type(samples)(*(_rows(part, chosen) for part in samples))


def domain(recipe: BlendRecipe) -> TrainingDomain:
    """Training domain of a network of this recipe."""
    return TrainingDomain.between("blend", recipe.codec, (recipe.lowest, recipe.highest))
