"""Training of the pool's artifact removal (``ar``), which the Kuchen paper takes from ByteDance (section 4.2).

``python -m kcompress.training.artifacts PHOTOS -o weights/ar`` repeats the weights that ship: real JPEG,
WebP and HEVC, once and twice, in; the photograph out.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from kcompress.dataset import digest, is_held_out
from kcompress.images import Pixels, read
from kcompress.inference.batches import tensor
from kcompress.metrics.psnr import psnr
from kcompress.pool.artifacts_network import ArtifactRemoval
from kcompress.training.data import prefetched
from kcompress.training.distortions import Distortion, Random, compression, random_compression, through
from kcompress.training.publishing import described, publish
from kcompress.training.steps import averaged, save, steps

MARGIN = 16
"""Pixels around a patch that are compressed with it and cut away: no codec sees an edge there."""

JUDGED = (
    *(compression("jpeg", quality) for quality in (10, 20, 50, 75, 90)),
    compression("webp", 40),
    compression("hevc", 36),
)
"""What is looked at in a validation."""


@dataclass(frozen=True)
class ArtifactRecipe:
    """How the network is trained.

    Attributes:
        width: channels at half resolution.
        steps: optimiser steps.
        alike: patches in a batch that share codec and quality, as those of a picture do.
        kinds: codecs and qualities in a batch.
        side: of a patch, pixels, a multiple of 8.
        learning_rate: of Adam at its highest, after ``warmup`` steps; it falls along a cosine to nothing.
        warmup: steps.
        clean: share of kinds that are not compressed at all, and must be left alone.
        twice: share of kinds that are compressed twice, the second time by any of the codecs.
        shifted: share of patches whose grid of blocks does not begin at their corner.
        hevc_regions: regions of 288x288 pixels compressed by HEVC beforehand.
        floor: mean squared error (grey levels squared) below which it hardly counts any more.
        averaging: of the weights, exponential, per step; the average is what is kept.
        exact_from: share of the steps after which the arithmetic is float32 instead of bfloat16.
        validate_every: steps between validations.
        held_out: share of the pictures kept for validation, drawn by their sha256.
        seed: of weights, patches and distortions.
    """

    width: int = 32
    steps: int = 9_000
    alike: int = 4
    kinds: int = 2
    side: int = 128
    learning_rate: float = 1e-3
    warmup: int = 200
    clean: float = 0.03
    twice: float = 0.2
    shifted: float = 0.25
    hevc_regions: int = 1_000
    floor: float = 1.0
    averaging: float = 0.995
    exact_from: float = 0.85
    validate_every: int = 500
    held_out: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """A region before and after compression, (H, W, 3) uint8."""

    clean: Pixels
    compressed: Pixels


def region(pictures: Sequence[Pixels], side: int, random: Random) -> Pixels:
    """A random square of a random picture; large pictures come as often as small ones."""
    picture = pictures[int(random.integers(len(pictures)))]
    top, left = (int(random.integers(length - side + 1)) for length in picture.shape[:2])
    square = picture[top : top + side, left : left + side]
    if random.random() < 0.5:
        square = square[:, ::-1]
    return np.ascontiguousarray(square)


def hevc_bank(pictures: Sequence[Pixels], recipe: ArtifactRecipe) -> list[list[Pair]]:
    """Regions through HEVC, which is too slow to be run for every patch; some at each quality."""

    def alike(number: int) -> list[Pair]:
        random = np.random.default_rng([recipe.seed, 1, number])
        step = random_compression(random, "hevc")
        cleans = [region(pictures, 288, random) for _ in range(recipe.alike)]
        return [Pair(clean, step.apply(clean)) for clean in cleans]

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(alike, range(recipe.hevc_regions // recipe.alike)))


def alike(
    pictures: Sequence[Pixels], bank: Sequence[Sequence[Pair]], recipe: ArtifactRecipe, random: Random
) -> list[Pair]:
    """Patches of one codec and quality, as the network sees them."""
    side = recipe.side + 2 * MARGIN
    steps: list[Distortion] = []
    if random.random() < 0.2:
        wholes: Sequence[Pair] = bank[int(random.integers(len(bank)))]
        # Multiples of 8: where HEVC's blocks are.
        corners = [8 * random.integers((288 - side) // 8 + 1, size=2) for _ in wholes]
        pairs = [
            Pair(
                pair.clean[top : top + side, left : left + side], pair.compressed[top : top + side, left : left + side]
            )
            for pair, (top, left) in zip(wholes, corners, strict=True)
        ]
    else:
        cleans = [region(pictures, side, random) for _ in range(recipe.alike)]
        pairs = [Pair(clean, clean) for clean in cleans]
        if random.random() >= recipe.clean:
            steps.append(random_compression(random, "jpeg" if random.random() < 0.75 else "webp"))
    if random.random() < recipe.twice:
        steps.append(random_compression(random, "jpeg" if random.random() < 0.75 else "webp"))
    shifted = random.random() < recipe.shifted
    top, left = map(int, random.integers(2 * MARGIN, size=2)) if shifted else (MARGIN, MARGIN)
    place = slice(top, top + recipe.side), slice(left, left + recipe.side)
    return [Pair(pair.clean[place], through(pair.compressed, steps)[place]) for pair in pairs]


def batches(
    pictures: Sequence[Pixels], bank: Sequence[Sequence[Pair]], recipe: ArtifactRecipe
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches (compressed, clean), (N, 3, side, side), 0..1; the next ones are made while one is used.

    Patches that are alike follow each other.
    """

    def batch(number: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng([recipe.seed, 2, number])
        pairs = [pair for _ in range(recipe.kinds) for pair in alike(pictures, bank, recipe, random)]
        return tensor([pair.compressed for pair in pairs]), tensor([pair.clean for pair in pairs])

    return prefetched(batch, 4)


def objective(restored: Tensor, clean: Tensor, recipe: ArtifactRecipe) -> Tensor:
    """Mean error in dB: every quality counts alike, and within one the patches with much to restore count most.

    The mean squared error is taken over all patches that are alike, as PSNR takes it over a picture.
    """
    error = (restored - clean).square().reshape(recipe.kinds, -1).mean(dim=1) * 255**2
    return 10 * torch.log10(error + recipe.floor).mean()


@torch.inference_mode()
def restored(model: nn.Module, pixels: Pixels) -> Pixels:
    """A whole picture (sides multiples of 8) through the module."""
    output = model(tensor([pixels]))[0].permute(1, 2, 0).mul(255).round().clamp(0, 255)
    return np.asarray(output.to(torch.uint8).numpy())


def gains(model: nn.Module, pictures: Sequence[Pixels], judged: Sequence[Distortion]) -> dict[str, float]:
    """Mean gain in dB of PSNR against the compressed picture, by distortion."""
    found = {}
    for distortion in judged:
        each = []
        for clean in pictures:
            compressed = distortion.apply(clean)
            each.append(psnr(clean, restored(model, compressed)) - psnr(clean, compressed))
        found[distortion.name] = round(float(np.mean(each)), 3)
    return found


def train(
    recipe: ArtifactRecipe, pictures: Sequence[Pixels], held_out: Sequence[Pixels], checkpoints: Path, console: Console
) -> tuple[ArtifactRemoval, dict[str, float]]:
    """Train; returns the averaged network and its gains on the held-out pictures."""
    torch.manual_seed(recipe.seed)
    model = ArtifactRemoval(recipe.width).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = averaged(model)
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate)
    console.print("compressing regions by HEVC")
    stream = batches(pictures, hevc_bank(pictures, recipe), recipe)
    start, found, losses = time.perf_counter(), {}, []
    for step in steps(
        model, average, optimiser, recipe, stream,
        lambda pair: pair[0], lambda result, pair: objective(result, pair[1], recipe),
    ):  # fmt: skip
        losses.append(step.loss - objective(*step.batch, recipe).item())
        if step.is_judged:
            found = gains(average, held_out, JUDGED)
            save(average, checkpoints, step.number)
            minutes = (time.perf_counter() - start) / 60
            console.print(f"{minutes:.1f} min, step {step.number}: {np.mean(losses):.3f} dB on patches; gains {found}")
            losses.clear()
    return average, found


def load(photos: Path, recipe: ArtifactRecipe) -> tuple[list[Pixels], list[Pixels]]:
    """The photographs to train on, and the upper left 512x512 pixels of those to validate with.

    Raises:
        ValueError: one of the two would be empty.
    """
    every = sorted(photos.glob("*.jpg"))
    with ThreadPoolExecutor() as pool:
        pixels = list(pool.map(lambda path: read(path.read_bytes(), name=str(path)).pixels, every))
    held_out = [is_held_out(digest(path.read_bytes()), recipe.held_out) for path in every]
    kept = [picture for picture, out in zip(pixels, held_out, strict=True) if not out and min(picture.shape[:2]) >= 288]
    corners = [picture[:512, :512] for picture, out in zip(pixels, held_out, strict=True) if out]
    corners = [picture[: picture.shape[0] // 8 * 8, : picture.shape[1] // 8 * 8] for picture in corners]
    if not kept or not corners:
        raise ValueError(f"{photos} holds {len(every)} JPEG pictures, too few for a training and a validation part")
    return kept, corners


def export(model: ArtifactRemoval, recipe: ArtifactRecipe, card: dict[str, Any], output: Path) -> None:
    """Write the weights, the graph and the card."""
    complete = {
        "summary": "removes the artefacts of JPEG, WebP and HEVC; blind to codec and quality",
        "network": "ar",
        "recipe": {**asdict(recipe), "loss": "mean over kinds of 10 log10(squared error + floor)", "optimiser": "Adam"},
        "gflop_at_1920x1080": 130 * (recipe.width / 32) ** 2,
        **card,
    }
    publish(output, model, {"width": recipe.width}, complete)


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of JPEG photographs.")],
    output: Annotated[Path, typer.Option("-o", help="Stem of the weights to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = ArtifactRecipe.steps,
    data: Annotated[str, typer.Option(help="What the photographs are, for the card.")] = "",
    threads: Annotated[int, typer.Option(help="Of torch.")] = 1,
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("checkpoints-ar"),
) -> None:
    """Train on a folder of photographs and write weights, graph and card."""
    torch.set_num_threads(threads)
    recipe = replace(ArtifactRecipe(), steps=steps)
    try:
        kept, held_out = load(photos, recipe)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    start = time.perf_counter()
    model, found = train(recipe, kept, held_out, checkpoints, Console(stderr=True, width=200))
    card = {
        "data": described(f"{len(kept)} photographs", data),
        "psnr_gain_db_on_held_out_photographs": found,
        "held_out_pictures": len(held_out),
        "training_minutes": round((time.perf_counter() - start) / 60),
    }
    export(model, recipe, card, output)


if __name__ == "__main__":
    typer.run(main)
