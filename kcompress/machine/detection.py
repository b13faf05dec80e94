"""Detection task: the same objects in the decoded picture as in the original."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import UsageError, WeightsError
from kcompress.machine.boxes import OUTPUT_FORMATS, OutputFormat, average_precision, iou, select_detections
from kcompress.machine.model import Model

SURE = 0.3
"""Lowest score of a detection in the original that counts as true."""

FAINTEST = 0.05
"""Lowest score of a detection in a decoded picture; lower ranks hardly change average precision."""

BACKGROUND = 0.05
"""Weight of a background place, against 1 where the model is sure of an object: most places are background."""


class Detection:
    """A `kcompress.machine.tasks.Task` without labels: targets are detections in the uncompressed picture."""

    name = "detection"

    def __init__(self, model: Model, output_format: OutputFormat) -> None:
        self.model = model
        self._format = output_format

    @classmethod
    def from_output(cls, model: Model, output: Tensor) -> "Detection":
        """Task for a detector, by its output for any pictures.

        Raises:
            WeightsError: the output has no known format.
        """
        for output_format in OUTPUT_FORMATS:
            if output_format.fits(output):
                return cls(model, output_format)
        known = " or ".join(each.name for each in OUTPUT_FORMATS)
        raise WeightsError(
            f"the model {model.spec} gives a tensor of shape {tuple(output.shape)} for {len(output)} pictures. The "
            f"task detection needs {known}. Take such a detector, or another task."
        )

    def resized(self, pictures: Tensor) -> Tensor:
        """Pictures stretched to the model's size."""
        if self.model.size is None or pictures.shape[2:] == self.model.size:
            return pictures
        return F.interpolate(pictures, self.model.size, mode="bilinear", antialias=True)

    def pseudo_labels(self, pictures: Tensor) -> Tensor:
        """Raw output of the model: 165 KB a picture for FastestDet."""
        with torch.no_grad():
            return self.model(self.resized(pictures))

    def class_targets(self, classes: Sequence[int]) -> Tensor:
        """Raise UsageError: there are no labels."""
        raise UsageError("the task detection has no labels. Take the task classification, or go without labels.")

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Distance from the output on the original: (N,), 0 where nothing has changed.

        Sum of three weighted means over places: divergence of objectness, divergence of classes, and 1 - IoU of boxes.
        Weights are the original's objectness, for the first plus ``BACKGROUND``.
        """
        predicted = self._format.decode(self.model(self.resized(pictures)))
        target = self._format.decode(targets.to(pictures.device))
        sure = target.objectness
        objectness = _mean(_binary_divergence(predicted.objectness, target.objectness), sure + BACKGROUND)
        classes = _mean(_divergence(predicted.classes, target.classes).sum(2), sure)
        return objectness + classes + _mean(1 - iou(predicted.boxes, target.boxes), sure)

    def scores(self, pictures: Tensor, targets: Tensor) -> list[float | None]:
        """Mean average precision at IoU 0.5 over the classes in the original; None where it has no detections."""
        with torch.no_grad():
            predicted = select_detections(self._format.decode(self.model(self.resized(pictures)).cpu()), FAINTEST)
            target = select_detections(self._format.decode(targets.cpu()), SURE)
        return [average_precision(found, truth) for found, truth in zip(predicted, target, strict=True)]


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over places, (N, M) -> (N,); the sum of weights counts as at least 1."""
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)


def _divergence(predicted: Tensor, target: Tensor) -> Tensor:
    """Terms of the Kullback-Leibler divergence, nats."""
    return target * (target.clamp_min(1e-6).log() - predicted.clamp_min(1e-6).log())


def _binary_divergence(predicted: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of Bernoulli distributions, nats."""
    return _divergence(predicted, target) + _divergence(1 - predicted, 1 - target)
