"""The training of a proxy, whatever its networks: patches that the real encoder has coded, and how near it comes."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.proxies.accuracy import METRICS, accuracy
from kcompress.training.tasks.proxies.coded_patches import PLACE, Batch, CodedPatches, encoded
from kcompress.training.tasks.proxies.recipe import ProxyRecipe

_HELD_OUT_PATCHES = 4
"""Patches of a held-out picture."""

ProxyRecipeT = TypeVar("ProxyRecipeT", bound=ProxyRecipe)


@dataclass(frozen=True, kw_only=True)
class ProxyData(TrainingData):
    """Coded patches to train on, and to validate with."""

    patches: CodedPatches
    held_out_patches: CodedPatches


@dataclass(frozen=True)
class ProxyTask(PhotoTask[ProxyRecipeT, ProxyData, Batch]):
    """Learns what an encoder makes of photographs; patches are encoded once and kept beside the checkpoints.

    Card and plot take ``heading``, ``summary`` (with the codec put in) and ``loss_name``.
    """

    heading: ClassVar[str]
    summary: ClassVar[str]
    loss_name: ClassVar[str]
    prefetch: ClassVar = 2

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, ProxyData]:
        recipe, place = self.recipe, folder / PLACE
        each = -(-recipe.patches // len(split.train))
        patches = yield from encoded(self.photos, split.train, each, recipe, place, self.jobs)
        held_out = yield from encoded(self.photos, split.validation, _HELD_OUT_PATCHES, recipe, place, self.jobs)
        return ProxyData(
            trained_on=len(split.train),
            held_out=len(split.validation),
            metrics=list(METRICS),
            heading=f"{self.heading} of {recipe.codec}",
            shown=("psnr_gain_db", "bpp_error_percent"),
            axis="of what it shows and counts",
            patches=patches,
            held_out_patches=held_out,
        )

    def batch(self, data: ProxyData, number: int) -> Batch:
        random = np.random.default_rng([self.recipe.seed, 3, number])
        return data.patches.batch(self.recipe.codec, random.integers(len(data.patches.bpp), size=self.recipe.batch))

    def validate(self, module: Any, data: ProxyData) -> Metrics:
        device = next(module.parameters()).device
        return accuracy(self.network(module), data.held_out_patches, self.recipe.codec, device)

    def objective(self, metrics: Metrics) -> float:
        """In nepers, as the loss of a simulator counts."""
        decibels, error, change = (
            metrics[name] or 0.0 for name in ("psnr_to_the_decoder_db", "bpp_error_percent", "ln_bpp_difference_error")
        )
        return -decibels / 10 + error / 100 + 2 * change

    def export(self, best: Entry, data: ProxyData) -> ExportSpec:
        codec = self.recipe.codec
        return ExportSpec(
            summary=self.summary.format(codec),
            card={"codec": codec, "encoder": encoder(codec)},
            recipe={"loss": self.loss_name, "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            metrics={"on_held_out_patches": {name: round(value, 4) for name, value in best.metrics.items()}},
            graph=False,
        )
