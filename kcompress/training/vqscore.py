"""Training of VQscore (Kuchen paper, section 4.1): a score without reference, taught by one with reference.

``python -m kcompress.training.vqscore PHOTOS -o weights/vqscore`` trains anew; the weights that ship
came by several runs, each beginning where another ended (``--weights``), which their card lists.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kcompress.training import console
from kcompress.training.quality_data import KINDS
from kcompress.training.tasks.vqscore.recipe import QualityRecipe
from kcompress.training.tasks.vqscore.task import QualityTask


def main(
    photos: console.Photos,
    output: console.Output,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = QualityRecipe.steps,
    rate: Annotated[float, typer.Option(help="Learning rate at its highest.")] = QualityRecipe.learning_rate,
    without: Annotated[str, typer.Option(help="Kinds of distortions to leave out for now, with commas.")] = "",
    data: console.Data = "",
    threads: console.Threads = 1,
    prepared: Annotated[Path, typer.Option(help="Folder for the distorted regions, 3.5 GB.")] = Path("quality-data"),
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("checkpoints-vqscore"),
    start: Annotated[Path | None, typer.Option("--weights", help="A checkpoint to begin with.")] = None,
    device: console.Device = "auto",
    resume: console.Resume = False,
) -> None:
    """Distort a folder of photographs, train on them, and write weights, graph and card.

    ``torchrun --nproc-per-node 2 -m kcompress.training.vqscore ...`` trains with several processes, which share each
    batch.
    """
    kinds = [kind for kind in KINDS if kind not in without.split(",") or kind == "clean"]
    task = QualityTask(photos, replace(QualityRecipe(), steps=steps, learning_rate=rate), prepared, kinds, start)
    console.run(task, checkpoints, output, data, threads=threads, device=device, resume=resume)


if __name__ == "__main__":
    typer.run(main)
