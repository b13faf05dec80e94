"""From photographs to the weights of artifact removal: real codecs, once and twice, in; the photograph out."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from kcompress.dataset import digest, is_held_out
from kcompress.errors import InputError
from kcompress.images import Pixels, read
from kcompress.inference.batches import tensor
from kcompress.metrics.psnr import psnr
from kcompress.pool.artifacts_network import ArtifactRemoval
from kcompress.training.crops import holds
from kcompress.training.distortions import Distortion, compression
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec
from kcompress.training.log import Entry
from kcompress.training.task import Split, Task, TrainingData
from kcompress.training.tasks.artifacts.loss import ArtifactLoss, Batch
from kcompress.training.tasks.artifacts.patches import REGION, Pair, alike, hevc_bank
from kcompress.training.tasks.artifacts.recipe import ArtifactRecipe

VALIDATED = (
    *(compression("jpeg", quality) for quality in (10, 20, 50, 75, 90)),
    compression("webp", 40),
    compression("hevc", 36),
)
"""Distortions that a validation looks at."""


@dataclass(frozen=True, kw_only=True)
class ArtifactData(TrainingData):
    """Photographs, regions that HEVC has compressed, and pictures to validate with (sides multiples of 8)."""

    pictures: Sequence[Pixels]
    bank: Sequence[Sequence[Pair]]
    validation: Sequence[Pixels]


@dataclass(frozen=True)
class ArtifactTask(Task[ArtifactRecipe, ArtifactData, Batch]):
    """Learns from a folder of JPEG photographs.

    Attributes:
        photos: the folder.
        recipe: how.
    """

    photos: Path
    recipe: ArtifactRecipe
    parts: ClassVar = ("untouched",)
    channels_last: ClassVar = True
    prefetch: ClassVar = 4

    @property
    def weight_decay(self) -> float:
        return 0.0

    def build(self) -> ArtifactLoss:
        return ArtifactLoss(ArtifactRemoval(self.recipe.width), self.recipe)

    def network(self, module: ArtifactLoss) -> ArtifactRemoval:
        return module.network

    def split(self) -> Split:
        paths = sorted(self.photos.glob("*.jpg"))
        digests = [digest(path.read_bytes()) for path in paths]
        held_out = [is_held_out(each, self.recipe.held_out) for each in digests]
        train = [path for path, held in zip(paths, held_out, strict=True) if not held]
        validation = [path for path, held in zip(paths, held_out, strict=True) if held]
        if not train or not validation:
            raise self._too_few(len(paths))
        return Split(train, validation, digest("".join(digests).encode()))

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, ArtifactData]:
        paths = [*split.train, *split.validation]
        pixels: list[Pixels] = []
        with ThreadPoolExecutor() as pool:
            for picture in pool.map(lambda path: read(path.read_bytes(), name=str(path)).pixels, paths):
                pixels.append(picture)
                yield Prepared(len(pixels), len(paths))
        pictures = [picture for picture in pixels[: len(split.train)] if holds(picture, REGION)]
        if not pictures:
            raise self._too_few(len(paths))
        validation = [corner(picture) for picture in pixels[len(split.train) :]]
        return ArtifactData(
            trained_on=len(pictures), held_out=len(validation), metrics=[each.name for each in VALIDATED],
            heading="artifact removal", shown=[each.name for each in VALIDATED], axis="gain over the input, dB",
            pictures=pictures, bank=hevc_bank(pictures, self.recipe), validation=validation,
        )  # fmt: skip

    def batch(self, data: ArtifactData, number: int) -> Batch:
        recipe = self.recipe
        random = np.random.default_rng([recipe.seed, 2, number])
        pairs = [pair for _ in range(recipe.kinds) for pair in alike(data.pictures, data.bank, recipe, random)]
        return Batch(tensor([pair.compressed for pair in pairs]), tensor([pair.clean for pair in pairs]))

    def validate(self, module: ArtifactLoss, data: ArtifactData) -> Metrics:
        return gains(module.network, data.validation, VALIDATED)

    def objective(self, metrics: Metrics) -> float:
        return -sum(gain for gain in metrics.values() if gain is not None)

    def export(self, best: Entry, data: ArtifactData) -> ExportSpec:
        recipe = self.recipe
        return ExportSpec(
            module=ArtifactRemoval(recipe.width),
            arguments={"width": recipe.width},
            card={
                "summary": "removes the artefacts of JPEG, WebP and HEVC; blind to codec and quality",
                "network": "ar",
            },
            recipe={"loss": "mean over kinds of 10 log10(squared error + floor)", "optimiser": "Adam"},
            data=f"{data.trained_on} photographs",
            details={"gflop_at_1920x1080": 130 * (recipe.width / 32) ** 2},
            metrics={"psnr_gain_db_on_held_out_photographs": best.metrics},
        )

    def _too_few(self, pictures: int) -> InputError:
        return InputError(
            f"{self.photos} holds {pictures} JPEG pictures, too few for a training and a validation part. "
            f"Give more, of at least {REGION} pixels a side."
        )


def corner(picture: Pixels) -> Pixels:
    """The upper left 512x512 pixels of a picture, or what it has of them, sides multiples of 8."""
    height, width = (min(length, 512) // 8 * 8 for length in picture.shape[:2])
    return picture[:height, :width]


@torch.inference_mode()
def restored(network: nn.Module, pixels: Pixels) -> Pixels:
    """A whole picture (sides multiples of 8) through the network."""
    place = next(network.parameters(), torch.empty(0)).device
    output = network(tensor([pixels]).to(place))[0].permute(1, 2, 0).mul(255).round().clamp(0, 255)
    return np.asarray(output.to(torch.uint8).cpu().numpy())


def gains(network: nn.Module, pictures: Sequence[Pixels], distortions: Sequence[Distortion]) -> dict[str, float]:
    """Mean gain in dB of PSNR over the compressed picture, by distortion."""
    found = {}
    for distortion in distortions:
        each = []
        for clean in pictures:
            compressed = distortion.apply(clean)
            each.append(psnr(clean, restored(network, compressed)) - psnr(clean, compressed))
        found[distortion.name] = round(float(np.mean(each)), 3)
    return found
