"""From a folder of photographs to the gains of the feedback network."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from kcompress.codecs import CODECS
from kcompress.encoding import Session
from kcompress.errors import InputError
from kcompress.images import Image, read_canonical
from kcompress.metrics import METRICS
from kcompress.networks.feedback import GAINS, Feedback
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.training.crops import holds, random_crop
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder
from kcompress.training.log import Entry
from kcompress.training.task import PhotoTask, Split, TrainingData
from kcompress.training.tasks.feedback.loss import NETWORK, FeedbackLoss, Patch, Trial, closed_loop, trained
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.validation import CodecValidator, weighted_size
from kcompress.workers import one_thread

_BESIDE = ("butteraugli", "psnr")
"""Metrics that are measured beside those of the objective."""


@dataclass(frozen=True, kw_only=True)
class FeedbackData(TrainingData):
    """Patches, each with the cost of its files, and what compares a network with the plain codec."""

    patches: Sequence[Patch]
    validator: CodecValidator


@dataclass(frozen=True)
class FeedbackTask(PhotoTask[FeedbackRecipe, FeedbackData, Trial]):
    """Learns from clean photographs."""

    parts: ClassVar = ("rate", "distortion")

    def build(self) -> FeedbackLoss:
        return FeedbackLoss(Feedback(), self.recipe, self.jobs)

    def network(self, module: FeedbackLoss) -> Feedback:
        return module.network

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, FeedbackData]:
        one_thread()  # trials run side by side
        patches: list[Patch] = []
        learned = set()
        pool = ThreadPoolExecutor(self.jobs)
        try:
            drawn = self._drawn(split.train)
            for number, found in enumerate(pool.map(self._patch, range(len(drawn)), drawn)):
                if found is not None:
                    patches.append(found)
                    learned.add(drawn[number])
                yield Prepared(number + 1, len(drawn))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C nobody wants the rest
        if not patches:
            raise InputError(
                f"{self.photos.location} has no picture of {self.recipe.side} pixels a side. "
                "Give larger ones, or a smaller --patch."
            )
        pictures = [read_canonical(self.photos.read(name), name).pixels for name in split.validation]
        known = [name for name in (*self.recipe.objective, *_BESIDE) if METRICS[name].available()]
        codec = self.recipe.codec
        validator = CodecValidator(codec, CODECS[codec].quality.default, known, pictures)
        return FeedbackData(
            trained_on=len(learned), held_out=len(split.validation), metrics=validator.names,
            heading=validator.heading, patches=patches, validator=validator,
        )  # fmt: skip

    def batch(self, data: FeedbackData, number: int) -> Trial:
        count, patches = self.recipe.batch, data.patches
        random = np.random.default_rng([self.recipe.seed, 3, number])
        chosen = random.choice(len(patches), count, replace=count > len(patches))
        signs = random.choice([-1.0, 1.0], (count, 3 * GAINS))
        return Trial([patches[each] for each in chosen], torch.from_numpy(signs).float())

    def validate(self, module: FeedbackLoss, data: FeedbackData) -> Metrics:
        return data.validator(closed_loop(module.network, self.recipe))

    def objective(self, metrics: Metrics) -> float:
        return weighted_size(metrics, self.recipe.objective)

    def export(self, best: Entry, data: FeedbackData) -> ExportSpec:
        codec = self.recipe.codec
        return ExportSpec(
            module=Feedback(),
            arguments={},
            card={
                "summary": f"watches what {codec} makes of the picture, and hands it more or less of each scale",
                "network": NETWORK,
                "codec": codec,
                "encoder": encoder(codec),
            },
            recipe={**trained(self.recipe).to_recipe(), "loss": "ln(bytes) - slope * score", "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            metrics={"against_the_plain_codec": best.metrics},
            multiple=16,
            inputs=(torch.zeros(1, 1),),
            channels=6,
        )

    def _drawn(self, names: Sequence[str]) -> list[str]:
        """The picture of each patch."""
        order = np.random.default_rng([self.recipe.seed, 1]).permutation(len(names))
        return [names[order[number % len(names)]] for number in range(self.recipe.patches)]

    def _patch(self, number: int, name: str) -> Patch | None:
        """A patch of a picture with the cost of its files; None where the picture is smaller."""
        recipe = self.recipe
        picture = read_canonical(self.photos.read(name), name).pixels
        if not holds(picture, recipe.side):
            return None
        random = np.random.default_rng([recipe.seed, 2, number])
        image = Image(np.ascontiguousarray(random_crop(picture, recipe.side, random)))
        codec = CODECS[recipe.codec]
        setting = codec.setting(int(random.integers(recipe.lowest, recipe.highest + 1)))
        return Patch(image, setting, RateDistortionCost(*Session.of(image, codec, setting), recipe.objective))
