"""A task: all that one network's training has of its own. The trainer knows tasks; tasks do not know the trainer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from kcompress.dataset import DataSet, digest, is_held_out
from kcompress.errors import InputError
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec
from kcompress.training.log import Entry
from kcompress.training.recipe import Recipe
from kcompress.workers import ordered

Made = TypeVar("Made")
BatchT = TypeVar("BatchT")
DataT = TypeVar("DataT", bound="TrainingData")
RecipeT = TypeVar("RecipeT", bound=Recipe)
Losses = Mapping[str, Tensor]
"""``loss``, and the named parts of it: one value a sample (N,), or a mean."""


@dataclass(frozen=True)
class Split:
    """Pictures by their use.

    Attributes:
        train: names of those to train on.
        validation: names of those to validate with.
        digest: of all pictures; a training goes on with the same alone.
    """

    train: Sequence[Any]
    validation: Sequence[Any]
    digest: str


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What `Task.prepare` returns; tasks add what their batches and validations are made of.

    Attributes:
        trained_on: number of pictures.
        held_out: number of pictures to validate with.
        metrics: names of the validation metrics, in order.
        heading: of the log's plot.
        shown: metrics in the plot. [default: those of size]
        axis: label of their axis.
    """

    trained_on: int
    held_out: int
    metrics: Sequence[str]
    heading: str
    shown: Sequence[str] = ()
    axis: str = "against the plain codec"


class Task(ABC, Generic[RecipeT, DataT, BatchT]):
    """One network's training.

    Attributes:
        recipe: how.
        parts: names of the loss's parts, a column of the log each.
        clip: norm that gradients are clipped to; None to leave them.
        channels_last: memory format of the module.
        prefetch: batches that are made while one is used.
    """

    recipe: RecipeT
    parts: ClassVar[Sequence[str]] = ()
    clip: ClassVar[float | None] = 1.0
    channels_last: ClassVar[bool] = False
    prefetch: ClassVar[int] = 3

    @abstractmethod
    def build(self) -> nn.Module:
        """Build the loss module (network, codec and loss) with its initial weights: a batch -> `Losses`.

        Raises:
            UsageError: the weights to start from are of other sizes.
        """

    @abstractmethod
    def network(self, module: Any) -> nn.Module:
        """Return the part of the loss module that ships."""

    @abstractmethod
    def split(self) -> Split:
        """Say which pictures to train on, and which to validate with.

        Raises:
            InputError: one of the two is empty.
        """

    @abstractmethod
    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, DataT]:
        """Read and measure the pictures; yields progress.

        Args:
            split: of the pictures.
            folder: of the training; what takes long may be kept there.
        """

    @abstractmethod
    def batch(self, data: DataT, number: int) -> BatchT:
        """Make the batch of a step, from 0, on the CPU: it follows from its number alone.

        A `NamedTuple` of tensors, lists and mappings of them, whose items belong to samples in order; other values are
        for all samples. The trainer shares it among processes, and moves its tensors to the device.
        """

    @abstractmethod
    def validate(self, module: Any, data: DataT) -> Metrics:
        """Measure a loss module under training; it stays where it is, in evaluation mode.

        ``error`` and ``identity_error``, where they are among the metrics, have columns of their own.
        """

    @abstractmethod
    def objective(self, metrics: Metrics) -> float:
        """Rate a checkpoint by its validation metrics: the lower, the better."""

    @abstractmethod
    def export(self, best: Entry, data: DataT) -> ExportSpec:
        """Describe what ships, given the log's entry of the best checkpoint."""

    @property
    def weight_decay(self) -> float:
        """Weight decay of AdamW; at 0 it is Adam."""
        return 1e-4

    def batches(self, data: DataT, first: int = 0) -> Generator[BatchT, None, None]:
        """Make batches without end, from a number on."""
        return prefetched(lambda number: self.batch(data, number), self.prefetch, first)

    def full_precision_from(self, device: torch.device) -> float:
        """Return the share of the steps after which arithmetic is float32 instead of bfloat16."""
        return self.recipe.exact_from

    @property
    def free_on_resume(self) -> Sequence[str]:
        """Fields of the recipe that may change when a training goes on."""
        return ("validate_every",)


@dataclass(frozen=True)
class PhotoTask(Task[RecipeT, DataT, BatchT]):
    """A task that learns from a folder of photographs.

    Attributes:
        photos: to learn from.
        recipe: how.
        jobs: processes or threads that prepare.
    """

    photos: DataSet
    recipe: RecipeT
    jobs: int = 1

    def split(self) -> Split:
        names = self.photos.names()
        digests = [digest(self.photos.read(name)) for name in names]
        held_out = [is_held_out(each, 1 - self.recipe.split) for each in digests]
        train = [name for name, held in zip(names, held_out, strict=True) if not held]
        validation = [name for name, held in zip(names, held_out, strict=True) if held]
        if not train or not validation:
            purpose = "validate with" if train else "train on"
            raise InputError(
                f"{self.photos.location} has {len(names)} pictures: split {self.recipe.split:g} : "
                f"{1 - self.recipe.split:g} leaves none to {purpose}. Give more pictures, or another --split."
            )
        return Split(train, validation[: self.recipe.validation_pictures], digest("".join(digests).encode()))


def prefetched(make: Callable[[int], Made], ahead: int, first: int = 0) -> Generator[Made, None, None]:
    """``make(first)``, the next and so on without end; the next ``ahead`` are made while one is used."""
    with ThreadPoolExecutor(1) as pool:
        yield from ordered(pool, make, ((number,) for number in count(first)), ahead)
