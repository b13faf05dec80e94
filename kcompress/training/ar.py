"""Training of the pool's artifact removal (``ar``), which the Kuchen paper takes from ByteDance (section 4.2).

``python -m kcompress.training.ar PHOTOS -o weights/ar`` repeats the weights that ship.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kcompress.training import console
from kcompress.training.tasks.ar.recipe import ArtifactRecipe
from kcompress.training.tasks.ar.task import ArtifactTask


def main(
    photos: console.Photos,
    output: console.Output,
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = ArtifactRecipe.steps,
    data: console.Data = "",
    threads: console.Threads = 1,
    checkpoints: Annotated[Path, typer.Option(help="Folder for checkpoints.")] = Path("checkpoints-ar"),
    device: console.Device = "auto",
    resume: console.Resume = False,
) -> None:
    """Train on a folder of photographs and write weights, graph and card."""
    task = ArtifactTask(photos, replace(ArtifactRecipe(), steps=steps))
    console.run(task, checkpoints, output, data, threads=threads, device=device, resume=resume)


if __name__ == "__main__":
    typer.run(main)
