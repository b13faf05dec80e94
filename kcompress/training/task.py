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

from kcompress.inference.weights import Weights
from kcompress.training.checkpoint import warm_start
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
"""``loss``, and its named parts: one value a sample (N,), or a mean."""


@dataclass(frozen=True)
class Split:
    """Names of the pictures to train on and to validate with, and the digest of all of them.

    A training goes on with pictures of the same digest alone.
    """

    train: Sequence[Any]
    validation: Sequence[Any]
    digest: str


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Data of a training; tasks add what their batches and validations are made of.

    Attributes:
        trained_on, held_out: numbers of pictures to train on and to validate with.
        metrics: names of the validation metrics, in order.
        heading, shown, axis: title of the log's plot, metrics in it (by default those of size), label of their axis.
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
        network_type: class of the network.
        network_name: name of its weights, in their metadata and on the card.
        sizes: fields of the recipe that are constructor arguments of the network.
        start: weights to start from; the recipe names them.
        parts: names of the loss's parts, a column of the log each.
        clip: norm that gradients are clipped to; None to leave them.
        channels_last: memory format of the module.
        prefetch: batches that are made while one is used.
    """

    recipe: RecipeT
    network_type: ClassVar[type[nn.Module]]
    network_name: ClassVar[str]
    sizes: ClassVar[Sequence[str]] = ()
    start: Weights | Path | None = None
    parts: ClassVar[Sequence[str]] = ()
    clip: ClassVar[float | None] = 1.0
    channels_last: ClassVar[bool] = False
    prefetch: ClassVar[int] = 3

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Constructor arguments of the network."""
        return {name: getattr(self.recipe, name) for name in self.sizes}

    def build(self) -> nn.Module:
        """Build the loss module with its initial weights.

        Raises:
            UsageError: the weights to start from are of other sizes.
        """
        network = self.network_type(**self.arguments)
        warm_start(network, self.start, self.arguments)
        return self.loss(network)

    @abstractmethod
    def loss(self, network: Any) -> nn.Module:
        """Return the loss module of a network, with codec and loss: a batch -> `Losses`."""

    def network(self, module: Any) -> nn.Module:
        """Return the part of the loss module that ships."""
        found: nn.Module = module.network
        return found

    @abstractmethod
    def split(self) -> Split:
        """Say which pictures to train on, and which to validate with.

        Raises:
            InputError: one of the two is empty.
        """

    @abstractmethod
    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, DataT]:
        """Read and measure the pictures; what takes long may be kept in the training's folder."""

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


def prefetched(make: Callable[[int], Made], ahead: int, first: int = 0) -> Generator[Made, None, None]:
    """``make(first)``, the next and so on without end; the next ``ahead`` are made while one is used."""
    with ThreadPoolExecutor(1) as pool:
        yield from ordered(pool, make, ((number,) for number in count(first)), ahead)
