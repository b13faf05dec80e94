"""Training of VQscore (Kuchen paper, section 4.1): a score without reference, taught by one with reference.

``python -m kcompress.training.vqscore PHOTOS -o weights/vqscore`` trains anew; the weights that ship
came by several runs, each beginning where another ended (``--weights``), which their card lists.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.dataset import digest, is_held_out
from kcompress.inference.batches import tensor
from kcompress.metrics.vqscore_network import MULTIPLE, VQscoreNetwork
from kcompress.training.data import prefetched
from kcompress.training.publishing import described, publish
from kcompress.training.quality_data import KINDS, SIDE, QualityData, prepare, target
from kcompress.training.steps import averaged, place, save, steps

CLEAN = [*KINDS].index("clean")
DAMAGES = 3
"""Numbers that `damage` gives for a token."""


@dataclass(frozen=True)
class QualityRecipe:
    """How the network is trained.

    Attributes:
        regions: cut from each photograph.
        steps: optimiser steps.
        contents: different regions in a batch.
        versions: of each region in a batch: the ranking pairs come from them.
        side: of the crops that the network sees, pixels, a multiple of 32; small ones first, for speed.
        aligned: share of batches whose crops begin where the codecs' blocks do, as the score's windows mostly do;
            to find traces of blocks at any place takes far longer to learn.
        large_side: of the crops at the end, of fewer regions.
        large_contents: different regions in a batch of large crops.
        large_from: share of the steps after which crops are large.
        learning_rate: of AdamW at its highest, after ``warmup`` steps; it falls along a cosine to nothing.
        weight_decay: of AdamW.
        warmup: steps.
        ranking: weight of the ranking loss beside the error.
        local: weight of the error of what was done at each token.
        margin: of the ranking loss: the difference of the targets, at most this many points.
        averaging: of the weights, exponential, per step; the average is what is kept.
        exact_from: share of the steps after which the arithmetic is float32 instead of bfloat16.
        validate_every: steps between validations.
        held_out: share of the pictures kept for validation, drawn by their sha256.
        seed: of regions, distortions, weights and batches.
    """

    regions: int = 2
    steps: int = 5_200
    contents: int = 12
    versions: int = 4
    side: int = 128
    aligned: float = 0.85
    large_side: int = 224
    large_contents: int = 4
    large_from: float = 0.85
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    warmup: int = 100
    ranking: float = 0.5
    local: float = 0.5
    margin: float = 10.0
    averaging: float = 0.99
    exact_from: float = 0.9
    validate_every: int = 250
    held_out: float = 0.06
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Crops and what they should score.

    Attributes:
        pictures: (contents * versions, 3, side, side), 0..1; versions of one region follow each other.
        targets: (contents, versions), 0..100.
        clean: (contents, 3, side, side), 0..1, what the versions were made of.
    """

    pictures: Tensor
    targets: Tensor
    clean: Tensor


class Taught(nn.Module):
    """The network with what it is asked beside the score while it learns: what was done at each token.

    Taught by one number for each picture alone it learns many times slower. After Kim, Nguyen and Lee,
    Deep CNN-Based Blind Image Quality Predictor, 2019, whose network learns maps of the error first.

    Shapes: (N, 3, H, W) -> (N, 1 + T * DAMAGES): the score, and `damage` of the T tokens.
    """

    def __init__(self, network: VQscoreNetwork) -> None:
        super().__init__()
        self.network = network
        self.local = nn.Linear(network.tokens.out_features, DAMAGES)

    def forward(self, image: Tensor) -> Tensor:
        encoded = self.network.look(image)
        return torch.cat([self.network.score(encoded), self.local(encoded).flatten(1).float()], dim=1)


def complete(data: QualityData) -> NDArray[np.int64]:
    """Columns of the kinds that were made of every region."""
    return np.flatnonzero(~np.isnan(data.scores).any(axis=0))


def batches(
    data: QualityData, regions: NDArray[np.int64], recipe: QualityRecipe, every: int = 1, first: int = 0
) -> Iterator[Batch]:
    """Endless batches; all versions of a region are cut at the same place.

    Of several processes each takes every so many batches, beginning with a ``first`` of its own.
    """

    def batch(number: int) -> Batch:
        random = np.random.default_rng([recipe.seed, 3, number * every + first])
        large = number >= recipe.large_from * recipe.steps
        side = recipe.large_side if large else recipe.side
        contents = recipe.large_contents if large else recipe.contents
        grid = 8 if random.random() < recipe.aligned else 1
        crops, clean, wanted = [], [], np.empty((contents, recipe.versions), np.float32)
        for row, region in enumerate(random.choice(regions, contents, replace=False)):
            top, left = grid * random.integers((SIDE - side) // grid + 1, size=2)
            mirrored = slice(None, None, -1 if random.random() < 0.5 else 1)  # sides are multiples of 8: stays aligned
            made = np.flatnonzero(~np.isnan(data.scores[region]))
            chosen = random.choice(made, recipe.versions, replace=False)
            wanted[row] = target(data.scores[region, chosen])
            versions = [
                data.pixels[region, kind, top : top + side, left : left + side][:, mirrored]
                for kind in (CLEAN, *chosen)
            ]
            clean.append(versions[0])
            crops += versions[1:]
        return Batch(tensor(crops), torch.from_numpy(wanted), tensor(clean))

    return prefetched(batch, 3)


def objective(scores: Tensor, targets: Tensor, recipe: QualityRecipe) -> Tensor:
    """Error of the scores, and of the order of every pair of versions of one region.

    Both tensors are (contents, versions), 0..100.
    """
    error = F.smooth_l1_loss(scores / 10, targets / 10, beta=0.5)
    apart = targets[:, :, None] - targets[:, None, :]
    scored = scores[:, :, None] - scores[:, None, :]
    margin = apart.clamp(max=recipe.margin)
    ranking = (F.relu(margin - scored) * (apart > 0)).sum() / (apart > 0).sum().clamp(min=1) / 10
    return error + recipe.ranking * ranking


def damage(pictures: Tensor, clean: Tensor) -> Tensor:
    """What was done at each token: how much is wrong, how much of that is coarse, and how much got sharper.

    Args:
        pictures: (N, 3, H, W), 0..1, sides multiples of 32.
        clean: of the same shape, what they were made of.

    Returns:
        (N, H/32 W/32, DAMAGES), of the mean of the channels in grey levels: log(1 + mean squared error), the same
        of means of 4x4 pixels, and the logarithm of the ratio of the energies of fine detail, negative where blurred.
    """
    grey, wanted = (255 * image.mean(dim=1, keepdim=True) for image in (pictures, clean))

    def energy(values: Tensor, size: int) -> Tensor:
        """Of means of size x size pixels, the mean over each token."""
        return F.avg_pool2d(F.avg_pool2d(values, size).square(), MULTIPLE // size).flatten(1)

    def detail(values: Tensor) -> Tensor:
        """Energy of what is lost in means of 2x2 pixels."""
        return energy(values - F.interpolate(F.avg_pool2d(values, 2), scale_factor=2), 1)

    error = grey - wanted
    return torch.stack([
        torch.log1p(energy(error, 1)),
        torch.log1p(4 * energy(error, 4)),
        torch.log((1 + detail(grey)) / (1 + detail(wanted))),
    ], dim=-1)  # fmt: skip


def lesson(result: Tensor, batch: Batch, recipe: QualityRecipe) -> Tensor:
    """The whole objective of a `Taught` network's result: `objective` of its scores, and the error of `damage`."""
    scores, local = result[:, 0].view_as(batch.targets), result[:, 1:]
    clean = batch.clean.repeat_interleave(recipe.versions, dim=0)
    done = damage(batch.pictures, clean).flatten(1)
    return objective(scores, batch.targets, recipe) + recipe.local * F.smooth_l1_loss(local, done)


@torch.inference_mode()
def scores(model: nn.Module, data: QualityData, regions: Sequence[int], side: int) -> NDArray[np.float64]:
    """Scores of the middles of whole regions, (regions, kinds that were made)."""
    margin = (SIDE - side) // 2
    middle = slice(margin, margin + side)
    crops = (data.pixels[region][complete(data), middle, middle] for region in regions)
    return np.stack([model(tensor(list(crop)))[:, 0].numpy() for crop in crops]).astype(np.float64)


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, of two arrays of one size."""
    ranks = [np.argsort(np.argsort(values, axis=None)) for values in (first, second)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def validated(model: nn.Module, data: QualityData, regions: Sequence[int], side: int) -> dict[str, float]:
    """How well the network orders held-out regions: Spearman overall and by kind, and its mean error in points."""
    found = scores(model, data, regions, side)
    wanted = target(data.scores[regions][:, complete(data)])
    by_kind = {
        [*KINDS][kind]: round(correlation(found[:, column], wanted[:, column]), 3)
        for column, kind in enumerate(complete(data))
        if np.ptp(wanted[:, column]) > 0
    }
    within = float(np.mean([correlation(row, other) for row, other in zip(found, wanted, strict=True)]))
    return {
        "spearman": round(correlation(found, wanted), 4),
        "spearman_within_a_region": round(within, 4),
        "mean_error": round(float(np.abs(found - wanted).mean()), 2),
        **by_kind,
    }


def train(
    recipe: QualityRecipe, data: QualityData, held_out: Sequence[int], checkpoints: Path, console: Console,
    start: Path | None = None,
) -> tuple[VQscoreNetwork, dict[str, float]]:  # fmt: skip
    """Train; returns the averaged network and how it did on the held-out regions."""
    torch.manual_seed(recipe.seed)
    model = Taught(VQscoreNetwork())
    if start is not None:
        model.network.load_state_dict(load_file(start))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = averaged(model)
    number, of = place()
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    stream = batches(data, np.setdiff1d(np.arange(len(data.scores)), held_out), recipe, of, number)
    began, found, losses = time.perf_counter(), {}, []
    for step in steps(
        model, average, optimiser, recipe, stream,
        lambda batch: batch.pictures, lambda result, batch: lesson(result, batch, recipe),
    ):  # fmt: skip
        losses.append(step.loss)
        if step.is_judged and number == 0:
            found = validated(average.network, data, held_out, recipe.large_side)
            save(average.network, checkpoints, step.number)
            minutes = (time.perf_counter() - began) / 60
            console.print(f"{minutes:.1f} min, step {step.number}: loss {np.mean(losses):.4f}; {found}")
            losses.clear()
    return average.network, found


def export(model: VQscoreNetwork, recipe: QualityRecipe, card: dict[str, Any], output: Path) -> None:
    """Write the weights, the graph and the card."""
    complete = {
        "summary": "quality of a picture without its original, 0..100, on the scale of SSIMULACRA2",
        "network": "vqscore",
        "paper": "Zhang, Deng and Li, A Unified Image Preprocessing Framework For Image Compression, section 4.1",
        "recipe": {
            **asdict(recipe),
            "target": "SSIMULACRA2 against the clean region; below 20, 20 exp(score / 20 - 1)",
            "loss": "smooth L1, margin ranking of the versions of one region, smooth L1 of what was done to each token",
            "optimiser": "AdamW",
            "distortions": list(KINDS),
        },
        "gflop_at_1920x1080": 66,
        "cannot_judge": [
            "whether a picture is beautiful, well exposed or sharp where it was meant to be",
            "what a filter has taken away without leaving a trace: smooth surfaces may have had texture",
            "noise that is meant to be there, such as film grain: it counts as damage",
            "drawings, text and screen content: it has seen photographs alone",
            "colours, white balance and geometry",
        ],
        **card,
    }
    publish(output, model, {}, complete, MULTIPLE)


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of JPEG photographs.")],
    output: Annotated[Path, typer.Option("-o", help="Stem of the weights to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = QualityRecipe.steps,
    rate: Annotated[float, typer.Option(help="Learning rate at its highest.")] = QualityRecipe.learning_rate,
    without: Annotated[str, typer.Option(help="Kinds of distortions to leave out for now, with commas.")] = "",
    data: Annotated[str, typer.Option(help="What the photographs are, for the card.")] = "",
    threads: Annotated[int, typer.Option(help="Of torch.")] = 1,
    prepared: Annotated[Path, typer.Option(help="Folder for the distorted regions, 3.5 GB.")] = Path("quality-data"),
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("checkpoints-vqscore"),
    start: Annotated[Path | None, typer.Option("--weights", help="A checkpoint to begin with.")] = None,
) -> None:
    """Distort a folder of photographs, train on them, and write weights, graph and card.

    ``torchrun --nproc-per-node 2 -m kcompress.training.vqscore ...`` trains with several processes, each of which
    has a batch of its own, on data that is prepared already.
    """
    torch.set_num_threads(threads)
    if torch.distributed.is_torchelastic_launched():
        torch.distributed.init_process_group("gloo")
    console = Console(stderr=True, width=240)
    recipe = replace(QualityRecipe(), steps=steps, learning_rate=rate)
    pictures = sorted(photos.glob("*.jpg"))
    held_out = [is_held_out(digest(path.read_bytes()), recipe.held_out) for path in pictures]
    if not any(held_out) or all(held_out):
        raise typer.BadParameter(f"{photos} holds {len(pictures)} JPEG pictures, too few to train and to validate")
    kinds = [kind for kind in KINDS if kind not in without.split(",") or kind == "clean"]
    for done, quality_data in prepare(pictures, prepared, recipe.regions, recipe.seed, kinds):
        if done % (40 * recipe.regions) == 0:
            console.print(f"{done} regions of {len(quality_data.scores)}")
    regions = [int(region) for region, photo in enumerate(quality_data.pictures) if held_out[photo]][:: recipe.regions]
    began = time.perf_counter()
    model, found = train(recipe, quality_data, regions, checkpoints, console, start)
    if place()[0] > 0:
        return
    card = {
        "data": described(f"{len(pictures) - sum(held_out)} photographs", data),
        "held_out_photographs": {"pictures": sum(held_out), "regions": len(regions), **found},
        "processes": place()[1],
        "training_minutes": round((time.perf_counter() - began) / 60),
    }
    export(model, recipe, card, output)


if __name__ == "__main__":
    typer.run(main)
