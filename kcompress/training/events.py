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
    """Pictures that were looked at before the first step, of how many."""

    done: int
    total: int


@dataclass(frozen=True)
class Step:
    """A step that is done.

    Attributes:
        number: from 1.
        loss: mean over the batch, of all processes.
        parts: likewise, of the named parts of the loss.
    """

    number: int
    loss: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Validation:
    """A validation; the first process alone has them.

    Attributes:
        step: number.
        loss: mean over the steps since the last validation.
        parts: likewise, of the named parts of the loss.
        error: mean squared error against the labels of the held-out pictures, 0..1 scale; None without labels.
        identity_error: error of the untouched pictures.
        metrics: on the held-out pictures.
        checkpoint: file of the weights.
        is_best: better than all before.
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
    """The end of a training, from which weights are exported.

    Attributes:
        entries: of the log; empty on all processes but the first.
        data: what was learned from.
        seconds: that the training took, earlier runs included.
    """

    entries: "tuple[Entry, ...]"
    data: "TrainingData"
    seconds: float


Event = Prepared | Step | Validation | Finished
