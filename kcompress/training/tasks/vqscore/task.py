"""From photographs to the weights of VQscore (Kuchen paper, section 4.1): judges with reference teach it."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from kcompress.errors import UsageError, WeightsError
from kcompress.inference.batches import tensor
from kcompress.inference.weights import open_shipped
from kcompress.metrics.vqscore_network import MULTIPLE, VQscoreNetwork
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, gflop
from kcompress.training.judges import FIRST, Judges
from kcompress.training.log import Entry
from kcompress.training.photos import JpegTask
from kcompress.training.pointed_kinds import PAIRED, POINTED, POOL, PUBLISHED
from kcompress.training.quality_data import JudgedRegions, QualityData, is_sharp, prepare
from kcompress.training.quality_kinds import KINDS, SOFTENING
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.vqscore.loss import Batch, QualityLoss
from kcompress.training.tasks.vqscore.recipe import QualityRecipe

CLEAN = [*KINDS].index("clean")

FURTHEST = 7
"""Largest shift of a version, pixels, by which its score shall not change: as far as blocks of 8 can be off."""

TABLES = {"": KINDS, "pointed": POINTED, "pool": POOL, "published": PUBLISHED, "paired": PAIRED}
"""Kinds of each part, by its folder."""

PREFIXES = tuple(f"{folder} " if folder else "" for folder in TABLES)
"""Beginnings of the names of each part's metrics."""


@dataclass(frozen=True)
class Part:
    """Regions in the same kinds of distortions; which are trained on, and which validated with."""

    regions: QualityData
    train: NDArray[np.int64]
    validation: Sequence[int]

    @property
    def paired(self) -> bool:
        """Whether versions of a region differ by their filters alone."""
        return tuple(self.regions.kinds) == tuple(PAIRED)


@dataclass(frozen=True, kw_only=True)
class TrainingRegions(TrainingData):
    """Distorted regions in parts, of which every batch has some, and who judged them."""

    parts: Sequence[Part]
    judges: Judges


@dataclass(frozen=True)
class QualityTask(JpegTask[QualityRecipe, TrainingRegions, Batch]):
    """Learns from JPEG photographs, distorted in every way of `TABLES`.

    The folder ``prepared`` holds the distorted regions, 9.2 MB each, for other trainings too. ``kinds`` of the first
    are made now, others another time; ``start`` is a checkpoint. The trunk is its, or the shipped weights'.
    """

    prepared: Path
    kinds: Sequence[str] = tuple(KINDS)
    start: Path | None = None
    parts: ClassVar = ("score", "damage", "shift")
    channels_last: ClassVar = True
    network_type = VQscoreNetwork
    network_name = "vqscore"
    sizes: ClassVar = ("content", "residuals")

    def loss(self, network: VQscoreNetwork) -> QualityLoss:
        if network.trunk is not None:
            if self.start is None:
                network.trunk.load_state_dict(shipped_trunk())
            network.trunk.requires_grad_(self.recipe.trained_trunk)
        if self.recipe.still_convolutions:
            network.levels.requires_grad_(False)
        return QualityLoss(network, self.recipe)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, TrainingRegions]:
        recipe, paths = self.recipe, sorted([*split.train, *split.validation])
        if FIRST not in recipe.judges:
            raise UsageError(f"--judges {','.join(recipe.judges)}: {FIRST} is missing, whose scale is taken. Add it.")
        parts = []
        for number, (name, table) in enumerate(TABLES.items()):
            kinds = [kind for kind in table if kind in self.kinds] if table is KINDS else None
            seed, folder = recipe.seed + number, self.prepared / name
            made = prepare(paths, folder, recipe.regions, recipe.region, seed, recipe.judges, kinds, table)
            for done, data in made:
                yield Prepared(done, len(data.scores))
            parts.append(data)
        held_out = [path in split.validation for path in paths]
        kept = [region for region, photo in enumerate(data.pictures) if held_out[photo]][:: recipe.regions]
        return regions(parts, [kept] * len(parts), recipe, len(split.train), len(split.validation))

    def batch(self, data: TrainingRegions, number: int) -> Batch:
        return batch(data.parts, self.recipe, number)

    def validate(self, module: QualityLoss, data: TrainingRegions) -> Metrics:
        found: dict[str, float] = {}
        for part, prefix in zip(data.parts, PREFIXES, strict=False):
            each = validated(module.network, part.regions, part.validation, self.recipe.large_side)
            found |= {f"{prefix}{name}": value for name, value in each.items()}
        return found

    def objective(self, metrics: Metrics) -> float:
        return -sum(metrics.get(f"{prefix}spearman") or 0 for prefix in PREFIXES)

    def export(self, best: Entry, data: TrainingRegions) -> ExportSpec:
        network = VQscoreNetwork(**self.arguments).eval()
        return ExportSpec(
            summary="quality of a picture without its original, 0..100, on the scale of SSIMULACRA2",
            card={
                "paper": "Zhang, Deng and Li, A Unified Image Preprocessing Framework For Image Compression, "
                "section 4.1",
            },
            recipe={
                "target": "mean of the judges against the clean region; SSIMULACRA2 is 20 exp(score / 20 - 1) below "
                "20, the others are put on its scale by equal ranks among the regions trained on",
                "loss": "smooth L1, margin ranking of the versions of one region, smooth L1 of differences between "
                "those of a region of PAIRED, smooth L1 of what was done to each token",
                "optimiser": "AdamW",
                "distortions": list(KINDS),
                "pointed_distortions": list(POINTED),
                "pool_distortions": list(POOL),
                "published_distortions": list(PUBLISHED),
                "paired_distortions": list(PAIRED),
            },
            data=f"{data.trained_on} photographs",
            details={
                "gflop_at_1920x1080": round(gflop(network, [torch.zeros(1, 3, 224, 224)])),
                "cannot_judge": [
                    "whether a picture is beautiful, well exposed or sharp where it was meant to be",
                    "what a filter has taken away without leaving a trace: smooth surfaces may have had texture",
                    "noise that is meant to be there, such as film grain: it counts as damage",
                    "colours, white balance and geometry",
                ],
                "judges": data.judges.card(),
            },
            metrics={"held_out_photographs": {
                "pictures": data.held_out, "regions": [len(part.validation) for part in data.parts], **best.metrics,
            }},
            multiple=MULTIPLE,
        )  # fmt: skip


def shipped_trunk() -> dict[str, Tensor]:
    """Tensors of the trunk that the shipped weights hold."""
    weights = open_shipped("vqscore")
    found = {name.removeprefix("trunk."): tensor for name, tensor in weights.tensors().items() if name[:6] == "trunk."}
    if not found:
        raise WeightsError(f"{weights.path} have no trunk, which a training takes from them. Reinstall kcompress.")
    return found


def regions(
    judged: Sequence[JudgedRegions], validation: Sequence[Sequence[int]], recipe: QualityRecipe, trained_on: int,
    held_out: int,
) -> TrainingRegions:  # fmt: skip
    """Parts of regions to train on, and those to validate with; the first part's scores make the judges' scales.

    A region without any sharp place is not trained on: it would teach that a blurred picture may be an untouched one.
    """
    trains = [np.setdiff1d(np.arange(len(part.scores)), kept) for part, kept in zip(judged, validation, strict=True)]
    seen = judged[0].scores[trains[0]].reshape(-1, len(recipe.judges))
    judges = Judges.fitted(recipe.judges, seen[~np.isnan(seen).any(axis=1)])
    parts = [
        Part(part.judged_by(judges), np.array([each for each in train if is_sharp(part.pixels[each, CLEAN])]), [*kept])
        for part, train, kept in zip(judged, trains, validation, strict=True)
    ]
    names = [f"{prefix}{name}" for part, prefix in zip(parts, PREFIXES, strict=False) for name in _metrics(part)]
    return TrainingRegions(
        trained_on=trained_on, held_out=held_out, metrics=names, heading="VQscore", shown=["spearman",
        "spearman_within_a_region"], axis="correlation with the judges", parts=parts, judges=judges,
    )  # fmt: skip


def _metrics(part: Part) -> list[str]:
    kinds = [name for name, _ in _ordered(part.regions, part.validation)]
    softness = ["overrated_softness"] if _soft(part.regions).any() else []
    return ["spearman", "spearman_within_a_region", "mean_error", *softness, *kinds]


def _soft(data: QualityData) -> NDArray[np.bool_]:
    """Complete kinds that are softened, a bool for each."""
    return np.isin([data.kinds[kind] for kind in complete(data)], SOFTENING)


def complete(data: QualityData) -> NDArray[np.int64]:
    """Columns of the kinds that were made of every region."""
    return np.flatnonzero(~np.isnan(data.targets).any(axis=0))


def batch(parts: Sequence[Part], recipe: QualityRecipe, number: int) -> Batch:
    """The batch of a step, from 0, of regions of all parts in turn; versions of one are cut alike, untouched first."""
    random = np.random.default_rng([recipe.seed, 3, number])
    large = number >= recipe.large_from * recipe.steps
    side = recipe.large_side if large else recipe.side
    contents = recipe.large_contents if large else recipe.contents
    grid = 8 if random.random() < recipe.aligned else 1
    crops, clean, shifted, paired = [], [], [], []
    wanted, soft = (np.empty((contents, recipe.versions), kind) for kind in (np.float32, np.bool_))
    moved = random.integers(recipe.versions, size=contents)
    orders = [random.permutation(part.train) for part in parts]
    for row in range(contents):
        turn = (number + row) % len(parts)
        data, region = parts[turn].regions, orders[turn][row]
        paired.append(parts[turn].paired)
        top, left = grid * random.integers((recipe.region - side - FURTHEST) // grid + 1, size=2)
        made = np.setdiff1d(np.flatnonzero(~np.isnan(data.targets[region])), CLEAN)
        chosen = [CLEAN, *random.choice(made, recipe.versions - 1, replace=False)]
        wanted[row] = data.targets[region, chosen]
        soft[row] = np.isin([data.kinds[kind] for kind in chosen], SOFTENING)
        cut = data.pixels[region][chosen, top : top + side + FURTHEST, left : left + side + FURTHEST]
        down, right = (1, 1) if random.random() < 0.5 else random.integers(FURTHEST + 1, size=2)
        mirrored = slice(None, None, -1 if random.random() < 0.5 else 1)  # sides are multiples of 8: stays aligned
        versions = [version[:side, :side][:, mirrored] for version in cut]
        clean.append(versions[0])
        crops += versions
        shifted.append(cut[moved[row], down : down + side, right : right + side][:, mirrored])
    return Batch(
        tensor(crops), torch.from_numpy(wanted), torch.from_numpy(soft), tensor(clean), tensor(shifted),
        torch.from_numpy(moved), torch.tensor(paired),
    )  # fmt: skip


@torch.inference_mode()
def scores(network: VQscoreNetwork, data: QualityData, regions: Sequence[int], side: int) -> NDArray[np.float64]:
    """Scores of the middles of whole regions, (regions, kinds that were made)."""
    margin = (data.pixels.shape[2] - side) // 2
    middle = slice(margin, margin + side)
    place = next(network.parameters(), torch.empty(0)).device
    crops = (data.pixels[region][complete(data), middle, middle] for region in regions)
    found = (network.score(network.look(tensor(list(crop)).to(place))) for crop in crops)
    return np.stack([each[:, 0].cpu().numpy() for each in found]).astype(np.float64)


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
    return [(data.kinds[kind], column) for column, kind in enumerate(complete(data)) if np.ptp(wanted[:, column]) > 0]


def validated(network: VQscoreNetwork, data: QualityData, regions: Sequence[int], side: int) -> dict[str, float]:
    """Spearman correlations of held-out regions, overall and by kind, and errors in points.

    These are the mean error of all, and by how much softened regions, if any, are overrated on average.
    """
    found = scores(network, data, regions, side)
    wanted = data.targets[regions][:, complete(data)]
    soft = _soft(data)
    within = float(np.mean([correlation(row, other) for row, other in zip(found, wanted, strict=True)]))
    return {
        "spearman": round(correlation(found, wanted), 4),
        "spearman_within_a_region": round(within, 4),
        "mean_error": round(float(np.abs(found - wanted).mean()), 2),
        **({"overrated_softness": round(float((found - wanted)[:, soft].mean()), 2)} if soft.any() else {}),
        **{
            name: round(correlation(found[:, column], wanted[:, column]), 3) for name, column in _ordered(data, regions)
        },
    }
