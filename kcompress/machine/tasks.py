"""Tasks of downstream models: targets, loss and score on compressed pictures.

Without labels the target is a pseudo label: the model's own output on the uncompressed picture.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from kcompress.errors import UsageError
from kcompress.machine.model import Model

if TYPE_CHECKING:
    from torch import Tensor

PROBE = (224, 224)
"""Height and width of the test picture for a model without a size."""


class Task(Protocol):
    """Task of one downstream model; its name is a key of ``TASKS``.

    Pictures are (N, 3, H, W) float32 RGB 0..1, of any size, on the model's device. Targets are a tensor with one row a
    picture. Every function raises WeightsError where the model cannot take the pictures.
    """

    name: str
    model: Model
    trainable: bool
    """Has a loss."""

    def resized(self, pictures: "Tensor") -> "Tensor":
        """Pictures at the model's size, differentiable; unchanged where it has none."""
        ...

    def pseudo_labels(self, pictures: "Tensor") -> "Tensor":
        """Targets without labels: the model's output on uncompressed pictures. No gradient."""
        ...

    def class_targets(self, classes: Sequence[int]) -> "Tensor":
        """Targets from class numbers, one a picture, on the CPU.

        Raises:
            UsageError: the task has no labels, or the model does not know a class.
        """
        ...

    def loss(self, pictures: "Tensor", targets: "Tensor") -> "Tensor":
        """Loss (N,), 0 or above, of the model on decoded pictures, differentiable; for those that are trainable."""
        ...

    def judged(
        self, pictures: "Tensor", targets: "Tensor", labels: Sequence[Any] | None = None
    ) -> "tuple[list[Any], Tensor | None]":
        """Outcome on each decoded picture, and the losses, for those that are trainable: by one run, no gradient.

        Outcomes are by the labels, of the task's own kind, where there are any, else by the targets.
        """
        ...

    def score(self, outcomes: Sequence[Any]) -> float | None:
        """Score 0..1 of all pictures together, higher is better; None where their targets are empty."""
        ...


def _classification(model: Model, output: "Tensor", classes: Sequence[int] | None) -> Task:
    from kcompress.machine.classification import Classification

    return Classification.from_output(model, output, classes)


def _detection(model: Model, output: "Tensor", classes: Sequence[int] | None) -> Task:
    from kcompress.machine.detection import Detection

    return Detection.from_output(model, output, classes)


def _text(model: Model, output: "Tensor", classes: Sequence[int] | None) -> Task:
    from kcompress.machine.text import Text

    return Text.from_output(model)


TASKS: dict[str, Callable[[Model, "Tensor", Sequence[int] | None], Task]] = {
    "classification": _classification,
    "detection": _detection,
    "text": _text,
}
"""Constructors by name: model, its output on two pictures of noise, the labels' class numbers or None -> task."""


def task(name: str, model: Model, classes: Sequence[int] | None = None) -> Task:
    """Task of a name in ``TASKS`` for a model, which is run on two pictures of noise.

    ``classes`` are the numbers of the labels' classes, None without labels.

    Raises:
        UsageError: there is no such task; the number of classes is not the model's.
        WeightsError: the model cannot take pictures of its size, or its output does not fit the task.
    """
    import torch

    if name not in TASKS:
        raise UsageError(f"the task {name} is not known. Allowed: {', '.join(TASKS)}.")
    noise = torch.rand(2, 3, *(model.size or PROBE), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return TASKS[name](model, model(noise.to(model.device)), classes)
