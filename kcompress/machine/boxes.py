"""Boxes: what detectors give at their places, overlaps, and non-maximum suppression."""

from typing import NamedTuple

import torch
from torch import Tensor

CANDIDATES = 300
"""Largest number of boxes of a picture, by score, before non-maximum suppression."""

SAME_OBJECT = 0.45
"""IoU above which the weaker of two boxes of a class is suppressed."""


class RawDetections(NamedTuple):
    """Raw detections at M places in each of N pictures, before non-maximum suppression.

    Attributes:
        objectness: (N, M), 0..1.
        boxes: (N, M, 4), left, top, right, bottom, as shares of the picture's width and height.
        classes: (N, M, classes), probabilities, whose sum is 1.
        scores: (N, M), 0..1, confidence in the likeliest class, by the detector's own formula.
    """

    objectness: Tensor
    boxes: Tensor
    classes: Tensor
    scores: Tensor


class Detections(NamedTuple):
    """Detections in one picture, highest score first.

    Attributes:
        boxes: (K, 4), left, top, right, bottom, as shares of the picture's width and height.
        classes: (K,) int64.
        scores: (K,), 0..1.
    """

    boxes: Tensor
    classes: Tensor
    scores: Tensor


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union (IoU) of boxes (..., 4), broadcast: (...), 0..1."""
    width = (torch.minimum(one[..., 2], other[..., 2]) - torch.maximum(one[..., 0], other[..., 0])).clamp_min(0)
    height = (torch.minimum(one[..., 3], other[..., 3]) - torch.maximum(one[..., 1], other[..., 1])).clamp_min(0)
    intersection = width * height
    return intersection / (_area(one) + _area(other) - intersection).clamp_min(1e-9)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def select_detections(places: RawDetections, least: float, *, suppress: bool = True) -> list[Detections]:
    """Detections of at least this score in each picture: the likeliest class of every place, the strongest boxes.

    Without ``suppress`` the detector has dropped the weaker boxes of an object itself.
    """
    found = []
    kinds = places.classes.argmax(2)
    for boxes, classes, scores in zip(places.boxes, kinds, places.scores, strict=True):
        order = scores.argsort(descending=True, stable=True)[:CANDIDATES]
        order = order[scores[order] >= least]
        kept = order[_strongest(boxes[order], classes[order])] if suppress else order
        found.append(Detections(boxes[kept], classes[kept], scores[kept]))
    return found


def _strongest(boxes: Tensor, classes: Tensor) -> list[int]:
    """Indices of the boxes that non-maximum suppression keeps; boxes are sorted, highest score first."""
    same = (iou(boxes[:, None], boxes[None]) > SAME_OBJECT) & (classes[:, None] == classes[None])
    rows = same.tolist()
    kept: list[int] = []
    for position in range(len(rows)):
        if not any(rows[position][before] for before in kept):
            kept.append(position)
    return kept
