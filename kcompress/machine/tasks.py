"""Tasks: what a model is asked about a picture, how wrong a compressed picture makes it, and how often it stays right.

Without labels a task is "agree with the model's own answer on the uncompressed picture".
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from kcompress.errors import UsageError
from kcompress.machine.model import Model

if TYPE_CHECKING:
    from torch import Tensor

PROBE = (224, 224)
"""Height and width of the picture with which a model without a size is tried out."""


class Task(Protocol):
    """One question to one model.

    Pictures are (N, 3, H, W) float32 RGB 0..1, of any size, on the model's device. Targets are a tensor with a row a
    picture: they may be sliced, joined and stored like any tensor. Every function raises WeightsError where the model
    cannot take the pictures.

    Attributes:
        name: a key of ``TASKS``.
        model: that is asked.
    """

    name: str
    model: Model

    def resized(self, pictures: "Tensor") -> "Tensor":
        """The pictures at the model's size, differentiable; as they are where it has none."""
        ...

    def pseudo_labels(self, pictures: "Tensor") -> "Tensor":
        """Targets without labels: what the model says of uncompressed pictures. No gradient."""
        ...

    def class_targets(self, classes: Sequence[int]) -> "Tensor":
        """Targets from class numbers, one a picture, on the CPU.

        Raises:
            UsageError: the task has no labels, or a class that the model does not know.
        """
        ...

    def loss(self, pictures: "Tensor", targets: "Tensor") -> "Tensor":
        """How far the model is from the targets when it sees the decoded pictures: (N,), 0 or above, differentiable."""
        ...

    def scores(self, pictures: "Tensor", targets: "Tensor") -> list[float | None]:
        """How right it is, 0..1 a picture, higher is better; None where the target says nothing. No gradient."""
        ...


def _classification(model: Model, output: "Tensor", classes: int | None) -> Task:
    from kcompress.machine.classification import Classification

    return Classification.from_output(model, output, classes)


def _detection(model: Model, output: "Tensor", classes: int | None) -> Task:
    from kcompress.machine.detection import Detection

    if classes is not None:
        raise UsageError("the task detection has no labels. Take the task classification, or go without labels.")
    return Detection.from_output(model, output)


TASKS: dict[str, Callable[[Model, "Tensor", int | None], Task]] = {
    "classification": _classification,
    "detection": _detection,
}
"""By name: built from a model, what it says of two pictures of noise, and the number of labels if there are any."""


def task(name: str, model: Model, classes: int | None = None) -> Task:
    """A task for a model, which is tried out on two pictures of noise.

    Args:
        name: a key of ``TASKS``.
        model: that is asked.
        classes: how many labels the data set has, where there are labels.

    Raises:
        UsageError: no such task; a number of labels that is not the model's; labels for detection.
        WeightsError: the model cannot take pictures of its size, or its output does not fit the task.
    """
    import torch

    if name not in TASKS:
        raise UsageError(f"the task {name} is not known. Allowed: {', '.join(TASKS)}.")
    noise = torch.rand(2, 3, *(model.size or PROBE), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return TASKS[name](model, model(noise.to(model.device)), classes)
