"""Training of VQscore (Kuchen paper, section 4.1): a score without reference, taught by several with reference.

``python -m kcompress.training.vqscore PHOTOS -o weights/vqscore`` trains anew; the weights that ship
came by several runs, each beginning where another ended (``--weights``), which their card lists.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kcompress.metrics.vqscore_network import MULTIPLE
from kcompress.training import console
from kcompress.training.quality_kinds import KINDS
from kcompress.training.tasks.vqscore.recipe import QualityRecipe
from kcompress.training.tasks.vqscore.task import FURTHEST, QualityTask


def main(
    photos: console.Photos,
    output: console.Output,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = QualityRecipe.steps,
    rate: Annotated[float, typer.Option(help="Learning rate at its highest.")] = QualityRecipe.learning_rate,
    without: Annotated[str, typer.Option(help="Kinds of distortions to leave out for now, with commas.")] = "",
    judges: Annotated[str, typer.Option(help="Metrics with reference that teach it, with commas.")] = ",".join(
        QualityRecipe.judges
    ),
    regions: Annotated[int, typer.Option(help="Regions cut from each photograph.")] = QualityRecipe.regions,
    side: Annotated[
        int, typer.Option(min=168, help="Side of a region, pixels; crops at the end are nearly as large.")
    ] = QualityRecipe.region,
    overrated: Annotated[
        float, typer.Option(min=0, help="Weight of the error of a softened version that is overrated.")
    ] = QualityRecipe.overrated,
    minutes: console.Minutes = None,
    data: console.Data = "",
    threads: console.Threads = 1,
    prepared: Annotated[Path, typer.Option(help="Folder for the distorted regions, 9.2 MB each of 256 pixels.")] = Path(
        "quality-data"
    ),
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("checkpoints-vqscore"),
    start: Annotated[Path | None, typer.Option("--weights", help="A checkpoint to begin with.")] = None,
    still_norm: Annotated[bool, typer.Option("--still-norm", help="Leave batch norm as --weights have it.")] = False,
    still_convolutions: Annotated[
        bool, typer.Option("--still-convolutions", help="Let only what follows the convolutions learn.")
    ] = False,
    trained_trunk: Annotated[bool, typer.Option("--trained-trunk", help="Let the trunk learn along.")] = False,
    device: console.Device = "auto",
    resume: console.Resume = False,
) -> None:
    """Distort a folder of photographs, train on them, and write weights, graph and card.

    ``torchrun --nproc-per-node 2 -m kcompress.training.vqscore ...`` trains with several processes, which share each
    batch.
    """
    if still_convolutions and (start is None or trained_trunk):
        raise typer.BadParameter(
            "--still-convolutions leaves them as --weights have them. Give --weights, such as "
            "weights/vqscore.safetensors, and no --trained-trunk."
        )
    kinds = [kind for kind in KINDS if kind not in without.split(",") or kind == "clean"]
    recipe = replace(
        QualityRecipe(), judges=tuple(judges.split(",")), regions=regions, steps=steps, learning_rate=rate,
        still_norm=still_norm or still_convolutions, region=side, large_side=(side - FURTHEST) // MULTIPLE * MULTIPLE,
        overrated=overrated, trained_trunk=trained_trunk, still_convolutions=still_convolutions,
    )  # fmt: skip
    task = QualityTask(photos, recipe, prepared, kinds, start)
    console.run(task, checkpoints, output, data, threads=threads, device=device, resume=resume, minutes=minutes)


if __name__ == "__main__":
    typer.run(main)
