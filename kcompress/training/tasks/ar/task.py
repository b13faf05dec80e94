"""From photographs to the weights of artifact removal: real codecs, once and twice, in; the photograph out."""

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kcompress.images import Pixels, read
from kcompress.inference.batches import tensor
from kcompress.metrics.psnr import psnr
from kcompress.pool.artifacts_network import ArtifactRemoval
from kcompress.training.crops import holds
from kcompress.training.distortions import Distortion, compression
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec
from kcompress.training.log import Entry
from kcompress.training.photos import REGION, JpegTask, prepared
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.ar.patches import Pair, alike, hevc_bank
from kcompress.training.tasks.ar.recipe import ArtifactRecipe

VALIDATED = (
    *(compression("jpeg", quality) for quality in (10, 20, 50, 75, 90)),
    compression("webp", 40),
    compression("hevc", 36),
)
"""Distortions that a validation looks at."""


class Batch(NamedTuple):
    """Patches (N, 3, side, side), RGB 0..1, of a step; those of one codec and quality follow each other."""

    compressed: Tensor
    clean: Tensor


class ArtifactLoss(nn.Module):
    """A batch -> `error` of the restored patches, and of the compressed ones as ``untouched``."""

    def __init__(self, network: ArtifactRemoval, recipe: ArtifactRecipe) -> None:
        super().__init__()
        self.network = network
        self._recipe = recipe

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        restored = self.network(batch.compressed).float()
        return {
            "loss": error(restored, batch.clean, self._recipe),
            "untouched": error(batch.compressed, batch.clean, self._recipe),
        }


def error(restored: Tensor, clean: Tensor, recipe: ArtifactRecipe) -> Tensor:
    """Mean error in dB: every quality counts alike, and within one the patches with much to restore count most.

    The mean squared error is taken over all patches that are alike, as PSNR takes it over a picture.
    """
    with torch.autocast(restored.device.type, enabled=False):
        squared = (restored - clean).square().reshape(len(clean) // recipe.alike, -1).mean(dim=1) * 255**2
        return 10 * torch.log10(squared + recipe.floor).mean()


@dataclass(frozen=True, kw_only=True)
class ArtifactData(TrainingData):
    """Photographs, regions that HEVC has compressed, and pictures to validate with (sides multiples of 8)."""

    pictures: Sequence[Pixels]
    bank: Sequence[Sequence[Pair]]
    validation: Sequence[Pixels]


@dataclass(frozen=True)
class ArtifactTask(JpegTask[ArtifactRecipe, ArtifactData, Batch]):
    """Learns to undo what codecs do to JPEG photographs."""

    network_type = ArtifactRemoval
    network_name = "ar"
    sizes = ("width",)
    parts: ClassVar = ("untouched",)
    channels_last: ClassVar = True
    prefetch: ClassVar = 4

    def loss(self, network: ArtifactRemoval) -> ArtifactLoss:
        return ArtifactLoss(network, self.recipe)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, ArtifactData]:
        paths = [(path,) for path in (*split.train, *split.validation)]
        with ThreadPoolExecutor() as pool:
            pixels = yield from prepared(pool, _read, paths, len(paths))
        pictures = [picture for picture in pixels[: len(split.train)] if holds(picture, REGION)]
        if not pictures:
            raise self.too_few(len(paths))
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
            summary="removes the artefacts of JPEG, WebP and HEVC; blind to codec and quality",
            recipe={"loss": "mean over kinds of 10 log10(squared error + floor)", "optimiser": "Adam"},
            data=f"{data.trained_on} photographs",
            details={"gflop_at_1920x1080": 130 * (recipe.width / 32) ** 2},
            metrics={"psnr_gain_db_on_held_out_photographs": best.metrics},
        )


def _read(path: Path) -> Pixels:
    return read(path.read_bytes(), name=str(path)).pixels


def corner(picture: Pixels) -> Pixels:
    """Upper left 512x512 pixels of a picture, as far as it has them, sides multiples of 8."""
    height, width = (min(length, 512) // 8 * 8 for length in picture.shape[:2])
    return picture[:height, :width]


@torch.inference_mode()
def restored(network: nn.Module, pixels: Pixels) -> Pixels:
    """Restore a whole picture (sides multiples of 8)."""
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
