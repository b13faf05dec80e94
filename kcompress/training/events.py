"""Events of a training, in the order in which `Trainer.run` yields them; a caller draws them or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kcompress.training.log import Entry
    from kcompress.training.task import TrainingData

Metrics = Mapping[str, float | None]
"""Validation metrics by name; None where one is not defined."""


@dataclass(frozen=True)
class Prepared:
    """Pictures that are prepared before the first step, of how many."""

    done: int
    total: int


@dataclass(frozen=True)
class Step:
    """A step that is done, from 1: its loss and the named parts of it, means over the batch of all processes."""

    number: int
    loss: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Validation:
    """A validation; the first process alone has them.

    Attributes:
        loss, parts: means over the steps since the last validation.
        error: mean squared error against the labels of the held-out pictures, 0..1 scale; None without labels.
        identity_error: error of the untouched pictures.
        checkpoint: file of the weights.
    """

    step: int
    loss: float
    parts: Mapping[str, float]
    error: float | None
    identity_error: float | None
    metrics: Metrics
    checkpoint: Path
    is_best: bool


@dataclass(frozen=True)
class Finished:
    """The end of a training, from which weights are exported; earlier runs count in ``seconds``.

    Entries of the log are empty on all processes but the first.
    """

    entries: "tuple[Entry, ...]"
    data: "TrainingData"
    seconds: float


Event = Prepared | Step | Validation | Finished
