"""The task of detection: the same objects in the decoded picture as in the original."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import UsageError, WeightsError
from kcompress.machine.boxes import OUTPUT_FORMATS, OutputFormat, average_precision, iou, select_detections
from kcompress.machine.model import Model

SURE = 0.3
"""Score from which on a detection in the original is taken as true."""

FAINTEST = 0.05
"""Score from which on a detection in a decoded picture is looked at; ranks below hardly change an average precision."""

BACKGROUND = 0.05
"""Weight of a place where the model sees nothing, against 1 where it is sure: most places are such."""


class Detection:
    """A `kcompress.machine.tasks.Task`: does the model still find what it found?

    It has no labels: truth is what the model itself finds in the uncompressed picture.
    """

    name = "detection"

    def __init__(self, model: Model, output_format: OutputFormat) -> None:
        self.model = model
        self._format = output_format

    @classmethod
    def from_output(cls, model: Model, output: Tensor) -> "Detection":
        """The task for a model.

        Args:
            model: a detector.
            output: of the model, for any pictures.

        Raises:
            WeightsError: the output has no known form.
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
        """Stretched to the model's size."""
        if self.model.size is None or pictures.shape[2:] == self.model.size:
            return pictures
        return F.interpolate(pictures, self.model.size, mode="bilinear", antialias=True)

    def pseudo_labels(self, pictures: Tensor) -> Tensor:
        """The model's raw output: 165 KB a picture for FastestDet."""
        with torch.no_grad():
            return self.model(self.resized(pictures))

    def class_targets(self, classes: Sequence[int]) -> Tensor:
        """Always raises UsageError."""
        raise UsageError("the task detection has no labels. Take the task classification, or go without labels.")

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Distance from the model's own output on the original, place by place: (N,), 0 where nothing has changed.

        The sum of three means over places: the divergence of the objectness, weighted by the original's objectness and
        a little more than nothing elsewhere; that of the classes, and 1 - intersection over union of the boxes, both
        weighted by the original's objectness.
        """
        told = self._format.decode(self.model(self.resized(pictures)))
        true = self._format.decode(targets.to(pictures.device))
        sure = true.objectness
        objectness = _mean(_two_sided(told.objectness, true.objectness), sure + BACKGROUND)
        classes = _mean(_divergence(told.classes, true.classes).sum(2), sure)
        return objectness + classes + _mean(1 - iou(told.boxes, true.boxes), sure)

    def scores(self, pictures: Tensor, targets: Tensor) -> list[float | None]:
        """Average precision at an intersection over union of 0.5, a mean over the classes seen in the original.

        None where the model sees nothing in the original.
        """
        with torch.no_grad():
            told = select_detections(self._format.decode(self.model(self.resized(pictures)).cpu()), FAINTEST)
            true = select_detections(self._format.decode(targets.cpu()), SURE)
        return [average_precision(found, truth) for found, truth in zip(told, true, strict=True)]


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Over places, (N, M) -> (N,); weights that add up to less than one place do not count as one."""
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)


def _divergence(told: Tensor, true: Tensor) -> Tensor:
    """Terms of the Kullback-Leibler divergence, in nats: cross entropy less what no answer could avoid."""
    return true * (true.clamp_min(1e-6).log() - told.clamp_min(1e-6).log())


def _two_sided(told: Tensor, true: Tensor) -> Tensor:
    """Divergence of probabilities of yes and no, in nats."""
    return _divergence(told, true) + _divergence(1 - told, 1 - true)
