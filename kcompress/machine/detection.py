"""Detection task: the right objects in the decoded picture, by COCO's average precision."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import UsageError, WeightsError
from kcompress.machine.average_precision import AveragePrecision, Boxes, Matches, match
from kcompress.machine.boxes import Detections, iou, select_detections
from kcompress.machine.detector_outputs import OUTPUT_FORMATS, OutputFormat, Size
from kcompress.machine.model import Model

SURE = 0.3
"""Lowest score of a detection in the original that counts as true."""

FAINTEST = 0.01
"""Lowest score of a detection in a decoded picture; lower ranks hardly change average precision."""

BACKGROUND = 0.05
"""Weight of a background place, against 1 where the model is sure of an object: most places are background."""


class Detection:
    """A `kcompress.machine.tasks.Task` whose targets are the model's own output on the uncompressed picture.

    Detections are judged by the boxes of labels, or without labels by what the model is sure of in this output.

    Attributes:
        trainable: has a loss: the model gives its output before suppression.
    """

    name = "detection"

    def __init__(self, model: Model, output_format: OutputFormat, classes: Sequence[int] | None = None) -> None:
        self.model = model
        self.trainable = not output_format.final
        self._format = output_format
        self._numbers = None if classes is None or output_format.final else np.array(classes, dtype=np.int64)

    @classmethod
    def from_output(cls, model: Model, output: Tensor, classes: Sequence[int] | None = None) -> "Detection":
        """Task for a detector, by its output for any pictures, and the labels' class numbers, if there are any.

        The classes of a model that suppresses by itself have these numbers; those of others are in their order.

        Raises:
            WeightsError: the output has no known format.
            UsageError: there are more or fewer classes than the model knows.
        """
        for output_format in OUTPUT_FORMATS:
            if output_format.layout is model.layout and output_format.fits(output):
                break
        else:
            known = "; ".join(each.name for each in OUTPUT_FORMATS)
            raise WeightsError(
                f"the model {model.spec} gives a tensor of shape {tuple(output.shape)} for {len(output)} pictures. The "
                f"task detection needs one of these: {known}. Take such a detector, or another task."
            )
        found = cls(model, output_format, classes)
        known_classes = output_format.decode(output, model.size or (1, 1)).classes.shape[2]
        if found._numbers is not None and known_classes != len(found._numbers):
            raise UsageError(
                f"there are {len(found._numbers)} categories, and the model {model.spec} knows {known_classes} "
                "classes. Take a model that was trained on these categories, or go without --annotations."
            )
        return found

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
        """Raise UsageError: there are no labels to train on."""
        raise UsageError("the task detection has no --labels. Take the task classification, or go without them.")

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Distance from the output on the original: (N,), 0 where nothing has changed.

        Sum of three weighted means over places: divergence of objectness, divergence of classes, and 1 - IoU of boxes.
        Weights are the original's objectness, for the first plus ``BACKGROUND``.
        """
        shown = self.resized(pictures)
        return self._distance(self.model(shown), targets, _size(shown))

    def judged(
        self, pictures: Tensor, targets: Tensor, labels: Sequence[Boxes] | None = None
    ) -> tuple[list[Matches], Tensor | None]:
        """Detections in each picture as right or wrong; and the losses."""
        with torch.no_grad():
            shown = self.resized(pictures)
            output, size = self.model(shown), _size(shown)
            found = self._boxes(output, size, FAINTEST)
            truth = self._boxes(targets, size, SURE) if labels is None else labels
            losses = self._distance(output, targets, size) if self.trainable else None
        return [match(ours, theirs) for ours, theirs in zip(found, truth, strict=True)], losses

    def score(self, outcomes: Sequence[Matches]) -> float | None:
        """COCO's average precision, mean over IoU 0.5 to 0.95; None where there are no objects."""
        found = float(AveragePrecision(outcomes)().mean())
        return None if np.isnan(found) else found

    def _distance(self, output: Tensor, targets: Tensor, size: Size) -> Tensor:
        predicted, target = (self._format.decode(each.to(output.device), size) for each in (output, targets))
        sure = target.objectness
        objectness = _mean(_binary_divergence(predicted.objectness, target.objectness), sure + BACKGROUND)
        classes = _mean(_divergence(predicted.classes, target.classes).sum(2), sure)
        return objectness + classes + _mean(1 - iou(predicted.boxes, target.boxes), sure)

    def _boxes(self, output: Tensor, size: Size, least: float) -> list[Boxes]:
        places = self._format.decode(output.cpu(), size)
        return [self._numbered(each) for each in select_detections(places, least, suppress=not self._format.final)]

    def _numbered(self, found: Detections) -> Boxes:
        boxes, classes, scores = (part.numpy() for part in found)
        numbers = classes if self._numbers is None else self._numbers[classes]
        return Boxes(boxes.astype(np.float64), numbers, scores.astype(np.float64), np.zeros(len(scores), dtype=bool))


def _size(shown: Tensor) -> Size:
    return shown.shape[2], shown.shape[3]


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean over places, (N, M) -> (N,); the sum of weights counts as at least 1."""
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)


def _divergence(predicted: Tensor, target: Tensor) -> Tensor:
    """Terms of the Kullback-Leibler divergence, nats."""
    return target * (target.clamp_min(1e-6).log() - predicted.clamp_min(1e-6).log())


def _binary_divergence(predicted: Tensor, target: Tensor) -> Tensor:
    """Kullback-Leibler divergence of Bernoulli distributions, nats."""
    return _divergence(predicted, target) + _divergence(1 - predicted, 1 - target)
