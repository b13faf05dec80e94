"""Trainings that have a command of their own, ``python -m kcompress.training.ar`` and the like."""

import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from kcompress.errors import KcompressError
from kcompress.training.events import Finished, Prepared, Validation
from kcompress.training.task import Task
from kcompress.training.trainer import Trainer, accelerator

Photos = Annotated[Path, typer.Argument(help="Folder of JPEG photographs.")]
Output = Annotated[Path, typer.Option("-o", help="Stem of the weights to write.")]
Data = Annotated[str, typer.Option(help="What the photographs are, for the card.")]
Threads = Annotated[int, typer.Option(help="Of torch.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Minutes = Annotated[float | None, typer.Option(help="End after so many; the rate then falls by the clock.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")]


def run(
    task: Task[Any, Any, Any], folder: Path, stem: Path, about: str, *, threads: int, device: str, resume: bool,
    minutes: float | None = None,
) -> None:  # fmt: skip
    """Train, tell of it on stderr, and write weights, graph and card; arguments are those of the command.

    Raises:
        typer.Exit: something failed; stderr says what.
    """
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, so that the state is kept
    console, began = Console(stderr=True, width=240), time.perf_counter()
    try:
        trainer = Trainer(task, folder, accelerator(device), minutes)
        speaks = trainer.accelerator.is_main_process
        with closing(trainer.run(resume=resume)) as events:
            for event in events:
                passed = (time.perf_counter() - began) / 60
                if isinstance(event, Validation):
                    parts = "".join(f", {name} {value:.4f}" for name, value in event.parts.items())
                    console.print(
                        f"{passed:.1f} min, step {event.step}: loss {event.loss:.4f}{parts}; {dict(event.metrics)}"
                    )
                elif isinstance(event, Prepared) and speaks and (event.done % 100 == 0 or event.done == event.total):
                    console.print(f"{passed:.1f} min: {event.done} of {event.total} prepared")
                elif isinstance(event, Finished) and speaks:
                    stem.parent.mkdir(parents=True, exist_ok=True)
                    trainer.export(event, stem, about)
    except (KcompressError, FloatingPointError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(error.exit_code if isinstance(error, KcompressError) else 1) from error
