"""From a folder of photographs to the gains of the feedback network."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from kcompress.codecs import CODECS
from kcompress.encoding import Session
from kcompress.images import Image
from kcompress.inference.weights import Weights
from kcompress.networks.feedback import GAINS, SLOPES, Feedback
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.training.crops import holds, random_crop
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, picture, prepared, too_small
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.feedback.loss import NETWORK, FeedbackLoss, Patch, Trial, closed_loop, trained
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.validation import CodecValidator, of_objective, weighted_size
from kcompress.workers import one_thread, threads


@dataclass(frozen=True, kw_only=True)
class FeedbackData(TrainingData):
    """Patches, each with the cost of its files, and what compares a network with the plain codec."""

    patches: Sequence[Patch]
    validator: CodecValidator


@dataclass(frozen=True)
class FeedbackTask(PhotoTask[FeedbackRecipe, FeedbackData, Trial]):
    """Learns from clean photographs."""

    network_type = Feedback
    network_name = NETWORK
    parts: ClassVar = ("rate", "distortion")
    start: Weights | None = None

    def loss(self, network: Feedback) -> FeedbackLoss:
        return FeedbackLoss(network, self.recipe, self.jobs)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, FeedbackData]:
        one_thread()  # trials run side by side
        names = self._names(split.train)
        with threads(self.jobs) as executor:
            found = yield from prepared(executor, self._patch, list(enumerate(names)), self.jobs)
        patches = [patch for patch in found if patch is not None]
        if not patches:
            raise too_small(self.photos, self.recipe.side)
        learned = {name for name, patch in zip(names, found, strict=True) if patch is not None}
        codec, pictures = self.recipe.codec, [picture(self.photos, name) for name in split.validation]
        validator = of_objective(codec, CODECS[codec].quality.default, self.recipe.objective, pictures)
        return FeedbackData(
            trained_on=len(learned), held_out=len(split.validation), metrics=validator.names,
            heading=validator.heading, patches=patches, validator=validator,
        )  # fmt: skip

    def batch(self, data: FeedbackData, number: int) -> Trial:
        count, patches = self.recipe.batch, data.patches
        random = np.random.default_rng([self.recipe.seed, 3, number])
        chosen = random.choice(len(patches), count, replace=count > len(patches))
        signs = random.choice([-1.0, 1.0], (count, SLOPES * GAINS))
        return Trial([patches[each] for each in chosen], torch.from_numpy(signs).float())

    def validate(self, module: FeedbackLoss, data: FeedbackData) -> Metrics:
        return data.validator(closed_loop(module.network, self.recipe))

    def objective(self, metrics: Metrics) -> float:
        return weighted_size(metrics, self.recipe.objective)

    def export(self, best: Entry, data: FeedbackData) -> ExportSpec:
        codec = self.recipe.codec
        return ExportSpec(
            summary=f"watches what {codec} makes of the picture, and hands it more or less of each scale",
            card={"codec": codec, "encoder": encoder(codec)},
            recipe={**trained(self.recipe).to_recipe(), "loss": "ln(bytes) - slope * score", "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            metrics={"against_the_plain_codec": best.metrics},
            multiple=16,
            inputs=(torch.zeros(1, 1),),
            channels=6,
        )

    def _names(self, names: Sequence[str]) -> list[str]:
        """Picture of each patch."""
        order = np.random.default_rng([self.recipe.seed, 1]).permutation(len(names))
        return [names[order[number % len(names)]] for number in range(self.recipe.patches)]

    def _patch(self, number: int, name: str) -> Patch | None:
        """Patch of a picture with the cost of its files; None where the picture is smaller."""
        recipe = self.recipe
        pixels = picture(self.photos, name)
        if not holds(pixels, recipe.side):
            return None
        random = np.random.default_rng([recipe.seed, 2, number])
        image = Image(np.ascontiguousarray(random_crop(pixels, recipe.side, random)))
        codec = CODECS[recipe.codec]
        setting = codec.setting(int(random.integers(recipe.lowest, recipe.highest + 1)))
        return Patch(image, setting, RateDistortionCost(*Session.of(image, codec, setting), recipe.objective))
