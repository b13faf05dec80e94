"""Files of a training: its state, from which ``--resume`` goes on, and weights."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor, nn

from kcompress import storage
from kcompress.errors import InputError, UsageError, WeightsError
from kcompress.inference.weights import Weights
from kcompress.training.recipe import BEFORE

STATE = "state.pt"
"""State of a training after its last validation, or where it was interrupted, in its folder."""

BEST = "best.safetensors"
"""Weights of the best checkpoint so far, beside it."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after a step.

    ``data`` is the digest of the pictures, ``best`` the objective's lowest value so far. ``average`` is None without an
    average, and ``random``, of torch on the CPU, in files before all trainings kept it. ``unvalidated`` are the steps
    since the last validation, with the fields of `events.Step`.
    """

    step: int
    recipe: Mapping[str, Any]
    data: str
    seconds: float
    best: float
    model: Mapping[str, Any]
    optimiser: dict[str, Any]
    average: Mapping[str, Any] | None = None
    random: Tensor | None = None
    random_cuda: Tensor | None = None
    unvalidated: Sequence[dict[str, Any]] = ()

    @staticmethod
    def read(folder: Path) -> "Checkpoint | None":
        """Read the state in a folder, if there is one.

        Raises:
            InputError: it is no state.
        """
        path = folder / STATE
        if not path.is_file():
            return None
        try:
            return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:  # torch raises all kinds
            raise InputError(
                f"{path} is no state of a training ({error}). Remove it, or give another folder."
            ) from error

    def write(self, folder: Path) -> None:
        """Write the state into a folder: wholly or not at all."""
        temporary = (folder / STATE).with_suffix(".tmp")
        torch.save({name: value for name, value in vars(self).items() if value is not None}, temporary)
        temporary.replace(folder / STATE)

    def check(self, recipe: Any, data: str, free: Sequence[str]) -> None:
        """Check that a training of a recipe (a dataclass) and data may go on; ``free`` fields of it may differ.

        Raises:
            UsageError: it belongs to another recipe, or to other pictures.
        """
        if self.data != data:
            raise UsageError(
                "--resume: labels or pictures are others than before. Give the same again, or another --checkpoints."
            )
        before = {field.name: field.metadata.get(BEFORE) for field in fields(recipe)} | dict(self.recipe)
        for name, value in asdict(recipe).items():
            if name not in free and before[name] != value:
                raise UsageError(
                    f"--resume: {name} was {before[name]} before and is {value} now. "
                    "Give the same again, or another --checkpoints."
                )


def save(module: nn.Module, folder: Path, step: int) -> Path:
    """Write the weights of a step; returns the file's path."""
    path = folder / f"step-{step:06d}.safetensors"
    storage.write(str(path), serialised({name: value.contiguous() for name, value in module.state_dict().items()}))
    return path


def load_best(module: nn.Module, folder: Path) -> None:
    """Give a module the weights of the best checkpoint."""
    module.load_state_dict(load_file(folder / BEST))


def warm_start(network: nn.Module, start: Weights | Path | None, sizes: Mapping[str, int]) -> None:
    """Give a network the weights to start from, or those of a checkpoint; without any it stays as it is.

    ``sizes`` are constructor arguments of the network, by name; the width is the user's to choose.

    Raises:
        UsageError: the weights have other sizes, or are of another network.
        WeightsError: the checkpoint cannot be read.
    """
    if start is None:
        return
    if isinstance(start, Path):
        try:
            network.load_state_dict(load_file(start))
        except RuntimeError as error:
            raise UsageError(f"--weights {start} are of another network, or of other sizes. Give others.") from error
        except (OSError, SafetensorError) as error:
            raise WeightsError(f"--weights {start} cannot be read ({error}). Give a .safetensors file.") from error
        return
    for name, size in sizes.items():
        given = start.arguments.get(name)
        if given != size:
            way_out = (
                f"Give --width {given}, or other weights." if name == "width" else f"Give weights with {name} {size}."
            )
            raise UsageError(f"--start {start.path} has {name} {given}. {way_out}")
    network.load_state_dict(start.tensors())
