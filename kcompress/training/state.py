"""The state of a training on disk, from which ``--resume`` goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from kcompress.errors import InputError, OutputError, UsageError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

STATE = "state.pt"
"""In the folder of the checkpoints."""


def begin(folder: Path, *, resume: bool) -> None:
    """Make the folder of a training.

    Raises:
        OutputError: it holds one already, which is not asked for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / STATE).exists() and not resume:
        raise OutputError(f"{folder} holds a training. Give --resume to go on, or another --checkpoints.")


def keep(
    folder: Path, recipe: "DataclassInstance", step: int, data: str, seconds: float, state: Mapping[str, Any]
) -> None:
    """Write a state: wholly or not at all.

    Args:
        folder: of the checkpoints.
        recipe: of the training.
        step: that was taken last.
        data: digest of what it learns from.
        seconds: that the training took so far.
        state: the rest.
    """
    temporary = (folder / STATE).with_suffix(".tmp")
    torch.save({"step": step, "recipe": asdict(recipe), "data": data, "seconds": seconds, **state}, temporary)
    temporary.replace(folder / STATE)


def steps_done(folder: Path) -> int:
    """Steps of the state in a folder; 0 where there is none.

    Raises:
        InputError: it is no state.
    """
    return int(_read(folder / STATE)["step"]) if (folder / STATE).is_file() else 0


def seconds_spent(folder: Path) -> float:
    """Seconds that led to the state in a folder."""
    return float(_read(folder / STATE)["seconds"]) if (folder / STATE).is_file() else 0.0


def opened(folder: Path, recipe: "DataclassInstance", data: str, free: Sequence[str]) -> dict[str, Any]:
    """The state of a folder.

    Args:
        folder: that holds one.
        recipe: with which the training goes on.
        data: digest of what it learns from.
        free: its values that may be others than before.

    Raises:
        InputError: it is no state.
        UsageError: it belongs to another recipe, or to other pictures.
    """
    state = _read(folder / STATE)
    if state["data"] != data:
        raise UsageError(
            "--resume: labels or pictures are others than before. Give the same again, or another --checkpoints."
        )
    before = state["recipe"]
    for name, value in asdict(recipe).items():
        if name not in free and before.get(name) != value:
            raise UsageError(
                f"--resume: {name} was {before.get(name)} before and is {value} now. "
                "Give the same again, or another --checkpoints."
            )
    return state


def _read(path: Path) -> dict[str, Any]:
    try:
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
        assert {"step", "recipe", "data", "seconds", "best", "model", "optimiser"} <= state.keys()
    except Exception as error:  # torch raises all kinds
        raise InputError(f"{path} is no state of a training ({error}). Remove it, or give another folder.") from error
    return state
