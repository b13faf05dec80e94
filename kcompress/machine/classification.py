"""Classification task: the right class on the decoded picture."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import UsageError, WeightsError
from kcompress.machine.model import Layout, Model


class Classification:
    """A `kcompress.machine.tasks.Task` with cross entropy as loss and accuracy as score.

    The target is a label, or without labels the model's own output on the uncompressed picture.

    Attributes:
        classes: number of classes.
        probabilities: the model's output is a softmax already, not logits.
    """

    name = "classification"
    trainable = True

    def __init__(self, model: Model, classes: int, probabilities: bool = False) -> None:
        self.model = model
        self.classes = classes
        self.probabilities = probabilities

    @classmethod
    def from_output(cls, model: Model, output: Tensor, classes: Sequence[int] | None) -> "Classification":
        """Task for a classifier, by its output for any pictures, and the labels' class numbers, if there are any.

        Raises:
            WeightsError: the output is not (N, classes).
            UsageError: there are more or fewer labels than classes.
        """
        if model.layout is not Layout.TENSOR or output.ndim != 2 or output.shape[1] < 2:
            raise WeightsError(
                f"the model {model.spec} gives a tensor of shape {tuple(output.shape)} for {len(output)} pictures. "
                "The task classification needs (pictures, classes). Take a classifier, or another task."
            )
        found = output.shape[1]
        if classes is not None and len(classes) != found:
            raise UsageError(
                f"there are {len(classes)} labels, and the model {model.spec} knows {found} classes. "
                "Take a model that was trained on these labels, or go without labels."
            )
        sums = output.double().sum(1)
        return cls(model, found, bool((output >= 0).all() and ((sums - 1).abs() < 1e-3).all()))

    def resized(self, pictures: Tensor) -> Tensor:
        """Pictures scaled to cover the model's size, centre cropped."""
        if self.model.size is None or pictures.shape[2:] == self.model.size:
            return pictures
        height, width = self.model.size
        scale = max(height / pictures.shape[2], width / pictures.shape[3])
        covering = (max(height, round(pictures.shape[2] * scale)), max(width, round(pictures.shape[3] * scale)))
        scaled = F.interpolate(pictures, covering, mode="bilinear", antialias=True)
        top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
        return scaled[:, :, top : top + height, left : left + width]

    def pseudo_labels(self, pictures: Tensor) -> Tensor:
        """Probabilities (N, classes) float32."""
        with torch.no_grad():
            return self._log_probabilities(pictures).exp()

    def class_targets(self, classes: Sequence[int]) -> Tensor:
        """Class numbers (N,) int64."""
        wrong = [number for number in classes if not 0 <= number < self.classes]
        if wrong:
            raise UsageError(
                f"class number {wrong[0]} is not one of the model {self.model.spec}. Allowed: 0..{self.classes - 1}."
            )
        return torch.tensor(list(classes), dtype=torch.int64)

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Cross entropy (N,) with the label or the pseudo label, nats."""
        return _cross_entropy(self._log_probabilities(pictures), targets)

    def judged(
        self, pictures: Tensor, targets: Tensor, labels: Sequence[Any] | None = None
    ) -> tuple[list[float], Tensor]:
        """1 where the likeliest class is the target's, or the pseudo label's likeliest, else 0; and the losses."""
        with torch.no_grad():
            found = self._log_probabilities(pictures)
        right = (targets if targets.ndim == 1 else targets.argmax(1)).cpu()
        return [float(each) for each in found.argmax(1).cpu() == right], _cross_entropy(found, targets)

    def score(self, outcomes: Sequence[float]) -> float | None:
        """Accuracy."""
        return sum(outcomes) / len(outcomes) if outcomes else None

    def _log_probabilities(self, pictures: Tensor) -> Tensor:
        """Log probabilities (N, classes)."""
        output = self.model(self.resized(pictures))
        return output.clamp_min(1e-12).log() if self.probabilities else output.log_softmax(1)


def _cross_entropy(logarithms: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logarithms, targets.to(logarithms.device), reduction="none")
