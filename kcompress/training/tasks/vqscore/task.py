"""From photographs to the weights of VQscore (Kuchen paper, section 4.1): judges with reference teach it."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from kcompress.errors import UsageError
from kcompress.inference.batches import tensor
from kcompress.metrics.vqscore_network import MULTIPLE, VQscoreNetwork
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec
from kcompress.training.judges import FIRST, Judges
from kcompress.training.log import Entry
from kcompress.training.photos import JpegTask
from kcompress.training.quality_data import SIDE, JudgedRegions, QualityData, prepare
from kcompress.training.quality_kinds import KINDS, SOFTENING
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.vqscore.loss import Batch, QualityLoss
from kcompress.training.tasks.vqscore.recipe import QualityRecipe

CLEAN = [*KINDS].index("clean")


@dataclass(frozen=True, kw_only=True)
class TrainingRegions(TrainingData):
    """Distorted regions; who judged them, which are trained on, and which validated with."""

    regions: QualityData
    judges: Judges
    train: NDArray[np.int64]
    validation: Sequence[int]


@dataclass(frozen=True)
class QualityTask(JpegTask[QualityRecipe, TrainingRegions, Batch]):
    """Learns from JPEG photographs that are distorted in every way of `quality_kinds.KINDS`.

    The folder ``prepared`` holds the distorted regions, 4.7 MB each, for other trainings too. ``kinds`` are made now,
    others another time; ``start`` is a checkpoint.
    """

    prepared: Path
    kinds: Sequence[str] = tuple(KINDS)
    start: Path | None = None
    parts: ClassVar = ("score", "damage")
    channels_last: ClassVar = True
    network_type = VQscoreNetwork
    network_name = "vqscore"

    def loss(self, network: VQscoreNetwork) -> QualityLoss:
        return QualityLoss(network, self.recipe)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, TrainingRegions]:
        recipe, paths = self.recipe, sorted([*split.train, *split.validation])
        if FIRST not in recipe.judges:
            raise UsageError(f"--judges {','.join(recipe.judges)}: {FIRST} is missing, whose scale is taken. Add it.")
        made = prepare(paths, self.prepared, recipe.regions, recipe.seed, recipe.judges, self.kinds)
        for done, data in made:
            yield Prepared(done, len(data.scores))
        held_out = [path in split.validation for path in paths]
        validation = [region for region, photo in enumerate(data.pictures) if held_out[photo]][:: recipe.regions]
        return regions(data, validation, recipe, len(split.train), len(split.validation))

    def batch(self, data: TrainingRegions, number: int) -> Batch:
        return batch(data.regions, data.train, self.recipe, number)

    def validate(self, module: QualityLoss, data: TrainingRegions) -> Metrics:
        return validated(module.network, data.regions, data.validation, self.recipe.large_side)

    def objective(self, metrics: Metrics) -> float:
        return -(metrics["spearman"] or 0)

    def export(self, best: Entry, data: TrainingRegions) -> ExportSpec:
        return ExportSpec(
            summary="quality of a picture without its original, 0..100, on the scale of SSIMULACRA2",
            card={
                "paper": "Zhang, Deng and Li, A Unified Image Preprocessing Framework For Image Compression, "
                "section 4.1",
            },
            recipe={
                "target": "mean of the judges against the clean region; SSIMULACRA2 is 20 exp(score / 20 - 1) below "
                "20, the others are put on its scale by equal ranks among the regions trained on",
                "loss": "smooth L1, margin ranking of the versions of one region, smooth L1 of what was done to each "
                "token",
                "optimiser": "AdamW",
                "distortions": list(KINDS),
            },
            data=f"{data.trained_on} photographs",
            details={
                "gflop_at_1920x1080": 66,
                "cannot_judge": [
                    "whether a picture is beautiful, well exposed or sharp where it was meant to be",
                    "what a filter has taken away without leaving a trace: smooth surfaces may have had texture",
                    "noise that is meant to be there, such as film grain: it counts as damage",
                    "colours, white balance and geometry",
                ],
                "judges": data.judges.card(),
            },
            metrics={
                "held_out_photographs": {"pictures": data.held_out, "regions": len(data.validation), **best.metrics}
            },
            multiple=MULTIPLE,
        )


def regions(
    judged: JudgedRegions, validation: Sequence[int], recipe: QualityRecipe, trained_on: int, held_out: int
) -> TrainingRegions:
    """Regions of the photographs to train on, whose scores make the judges' scales, and those to validate with."""
    train = np.setdiff1d(np.arange(len(judged.scores)), validation)
    seen = judged.scores[train].reshape(-1, len(recipe.judges))
    judges = Judges.fitted(recipe.judges, seen[~np.isnan(seen).any(axis=1)])
    data = judged.judged_by(judges)
    return TrainingRegions(
        trained_on=trained_on, held_out=held_out, metrics=["spearman", "spearman_within_a_region", "mean_error",
        "overrated_softness", *(name for name, _ in _ordered(data, validation))], heading="VQscore", shown=["spearman",
        "spearman_within_a_region"], axis="correlation with the judges", regions=data, judges=judges, train=train,
        validation=validation,
    )  # fmt: skip


def complete(data: QualityData) -> NDArray[np.int64]:
    """Columns of the kinds that were made of every region."""
    return np.flatnonzero(~np.isnan(data.targets).any(axis=0))


def batch(data: QualityData, regions: NDArray[np.int64], recipe: QualityRecipe, number: int) -> Batch:
    """The batch of a step, from 0; versions of a region are cut alike, the untouched one first."""
    random = np.random.default_rng([recipe.seed, 3, number])
    large = number >= recipe.large_from * recipe.steps
    side = recipe.large_side if large else recipe.side
    contents = recipe.large_contents if large else recipe.contents
    grid = 8 if random.random() < recipe.aligned else 1
    crops, clean, wanted = [], [], np.empty((contents, recipe.versions), np.float32)
    for row, region in enumerate(random.choice(regions, contents, replace=False)):
        top, left = grid * random.integers((SIDE - side) // grid + 1, size=2)
        mirrored = slice(None, None, -1 if random.random() < 0.5 else 1)  # sides are multiples of 8: stays aligned
        made = np.setdiff1d(np.flatnonzero(~np.isnan(data.targets[region])), CLEAN)
        chosen = [CLEAN, *random.choice(made, recipe.versions - 1, replace=False)]
        wanted[row] = data.targets[region, chosen]
        versions = [data.pixels[region, kind, top : top + side, left : left + side][:, mirrored] for kind in chosen]
        clean.append(versions[0])
        crops += versions
    return Batch(tensor(crops), torch.from_numpy(wanted), tensor(clean))


@torch.inference_mode()
def scores(network: nn.Module, data: QualityData, regions: Sequence[int], side: int) -> NDArray[np.float64]:
    """Scores of the middles of whole regions, (regions, kinds that were made)."""
    margin = (SIDE - side) // 2
    middle = slice(margin, margin + side)
    place = next(network.parameters(), torch.empty(0)).device
    crops = (data.pixels[region][complete(data), middle, middle] for region in regions)
    return np.stack([network(tensor(list(crop)).to(place))[:, 0].cpu().numpy() for crop in crops]).astype(np.float64)


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's rank correlation of two arrays of one size; equal values share the mean of their ranks.

    It is 0 where all values of an array are equal.
    """
    if not np.ptp(first) or not np.ptp(second):
        return 0.0
    return float(spearmanr(first, second, axis=None).statistic)


def _ordered(data: QualityData, regions: Sequence[int]) -> list[tuple[str, int]]:
    """Kinds whose targets differ from region to region, with their columns among the complete ones."""
    wanted = data.targets[regions][:, complete(data)]
    return [([*KINDS][kind], column) for column, kind in enumerate(complete(data)) if np.ptp(wanted[:, column]) > 0]


def validated(network: nn.Module, data: QualityData, regions: Sequence[int], side: int) -> dict[str, float]:
    """Spearman correlations of held-out regions, overall and by kind, and errors in points.

    These are the mean error of all, and by how much softened regions are overrated on average.
    """
    found = scores(network, data, regions, side)
    wanted = data.targets[regions][:, complete(data)]
    soft = np.isin(complete(data), [[*KINDS].index(kind) for kind in SOFTENING])
    within = float(np.mean([correlation(row, other) for row, other in zip(found, wanted, strict=True)]))
    return {
        "spearman": round(correlation(found, wanted), 4),
        "spearman_within_a_region": round(within, 4),
        "mean_error": round(float(np.abs(found - wanted).mean()), 2),
        "overrated_softness": round(float((found - wanted)[:, soft].mean()), 2),
        **{
            name: round(correlation(found[:, column], wanted[:, column]), 3) for name, column in _ordered(data, regions)
        },
    }
