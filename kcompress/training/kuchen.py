"""The first Kuchen checkpoint: the U-Net learns OpenCV's non-local means.

``python -m kcompress.training.kuchen PHOTOS -o weights/kuchen`` repeats the weights that ship. The labels
of a whole filter pool (Kuchen paper, section 3.2) take the place of the one filter later.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from safetensors.torch import load_file

from kcompress.images import read
from kcompress.inference.engine import TorchEngine
from kcompress.networks import NETWORKS
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.preprocessor import NetworkPreprocessor
from kcompress.pool import filter_named
from kcompress.pool.nonlocal_means import nonlocal_means
from kcompress.training.data import Pair, is_held_out
from kcompress.training.loop import Validation, train
from kcompress.training.publishing import described, publish
from kcompress.training.recipe import Recipe
from kcompress.training.validation import size_changes

STRENGTH = 3.0
"""``h`` of non-local means, the pool's default."""


def pairs(photos: Sequence[Path]) -> Iterator[Pair]:
    """Every picture with its filtered version, in order."""

    def pair(path: Path) -> Pair:
        original = read(path.read_bytes(), name=str(path)).pixels
        return Pair(original, nonlocal_means(original, STRENGTH))

    with ThreadPoolExecutor() as pool:
        yield from pool.map(pair, photos)


def split(photos: Path, recipe: Recipe) -> tuple[list[Path], list[Path]]:
    """The pictures of a folder to train on, and those to validate with.

    Raises:
        ValueError: one of the two would be empty.
    """
    every = sorted(path for path in photos.iterdir() if path.suffix == ".jpg")
    held_out = [path for path in every if is_held_out(path, recipe.held_out)]
    kept = [path for path in every if path not in set(held_out)]
    if not kept or not held_out:
        raise ValueError(f"{photos} holds {len(every)} JPEG pictures, too few for a training and a validation part")
    return kept, held_out[: recipe.validation_pictures]


def export(best: Validation, recipe: Recipe, held_out: Sequence[Path], data: str, output: Path) -> dict[str, Any]:
    """Write weights and card of a checkpoint; ``data`` says what it was trained on. Returns the card."""
    module = Kuchen(recipe.width)
    module.load_state_dict(load_file(best.checkpoint))
    network = NETWORKS["kuchen"]
    engine = TorchEngine(module, "cpu")
    preprocessor = NetworkPreprocessor(
        "kuchen", engine, strength=1, halo=network.halo, multiple=network.multiple
    )  # fmt: skip
    card = {
        "summary": "first checkpoint: imitates non-local means (h=3), not yet trained on labels of a filter pool",
        "network": "kuchen",
        "paper": "Zhang, Deng and Li, A Unified Image Preprocessing Framework For Image Compression, section 3.3",
        "recipe": {
            **asdict(recipe),
            "target": f"OpenCV non-local means, h={STRENGTH:g}",
            "loss": "MSE",
            "optimiser": "Adam",
        },
        "data": data,
        "gflop_at_1920x1080": 39.8,
        "best_step": best.step,
        "held_out_pictures": len(held_out),
        "mse_to_target": {"network": best.error, "untouched": best.identity_error},
        "at_default_quality": size_changes(preprocessor, held_out),
        "at_default_quality_by_the_filter_itself": size_changes(filter_named(f"nlm:h={STRENGTH:g}"), held_out),
    }
    return publish(output, module, {"width": recipe.width}, card)


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of JPEG photographs.")],
    output: Annotated[Path, typer.Option("-o", help="Stem of the weights to write.")],
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = Recipe.steps,
    data: Annotated[str, typer.Option(help="What the photographs are, for the card.")] = "",
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("checkpoints"),
) -> None:
    """Train, keep the checkpoint with the smallest error on the held-out pictures, and export it."""
    console = Console(stderr=True)
    recipe = replace(Recipe(), steps=steps)
    try:
        kept, held_out = split(photos, recipe)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    description = described(f"{len(kept)} photographs", data)
    console.print(f"filtering {len(kept)} pictures to train on and {len(held_out)} to validate with")
    torch.manual_seed(recipe.seed)
    best: Validation | None = None
    model = Kuchen(recipe.width)
    for state in train(model, recipe, list(pairs(kept)), list(pairs(held_out)), checkpoints):
        console.print(
            f"step {state.step}: loss {state.loss:.3e}, held out {state.error:.3e} ({state.identity_error:.3e})"
        )
        best = state if best is None or state.error < best.error else best
    if best is not None:
        console.print_json(data=export(best, recipe, held_out, description, output))


if __name__ == "__main__":
    typer.run(main)
