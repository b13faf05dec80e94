"""Boxes: decoding of detectors' output, non-maximum suppression, average precision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class OutputFormat:
    """Output format of detectors: its name with its shape, its test, and its differentiable decoder."""

    name: str
    fits: Callable[[Tensor], bool]
    decode: Callable[[Tensor], RawDetections]


def _is_fastestdet(output: Tensor) -> bool:
    """Whether an output is (N, 5 + classes, h, w) with objectness and classes as probabilities."""
    if output.ndim != 4 or output.shape[1] < 6:
        return False
    objectness, classes = output[:, 0], output[:, 5:]
    sums = classes.sum(1)
    shares = bool((classes >= 0).all() and ((sums - 1).abs() < 1e-3).all())
    return shares and bool(((objectness >= 0) & (objectness <= 1)).all())


def decode_fastestdet(output: Tensor) -> RawDetections:
    """Decode FastestDet: centres within one cell of their place (tanh), sizes as shares of the picture (sigmoid).

    Args:
        output: (N, 5 + classes, h, w): objectness, x, y, width, height, probabilities of the classes.
    """
    rows, columns = output.shape[2:]
    objectness, classes = output[:, 0], output[:, 5:]
    x = (torch.arange(columns, device=output.device) + output[:, 1].tanh()) / columns
    y = (torch.arange(rows, device=output.device)[:, None] + output[:, 2].tanh()) / rows
    width, height = output[:, 3].sigmoid(), output[:, 4].sigmoid()
    boxes = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)
    scores = objectness**0.6 * classes.amax(1) ** 0.4  # the exponents of its authors
    return RawDetections(
        objectness.flatten(1), boxes.flatten(1, 2), classes.flatten(2).transpose(1, 2), scores.flatten(1)
    )


OUTPUT_FORMATS = (OutputFormat("(N, 5 + classes, h, w) as FastestDet gives it", _is_fastestdet, decode_fastestdet),)
"""Known formats; the first that fits an output decodes it."""


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union (IoU) of boxes (..., 4), broadcast: (...), 0..1."""
    width = (torch.minimum(one[..., 2], other[..., 2]) - torch.maximum(one[..., 0], other[..., 0])).clamp_min(0)
    height = (torch.minimum(one[..., 3], other[..., 3]) - torch.maximum(one[..., 1], other[..., 1])).clamp_min(0)
    intersection = width * height
    return intersection / (_area(one) + _area(other) - intersection).clamp_min(1e-9)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def select_detections(places: RawDetections, least: float) -> list[Detections]:
    """Detections of at least this score in each picture: the likeliest class of every place, the strongest boxes."""
    found = []
    kinds = places.classes.argmax(2)
    for boxes, classes, scores in zip(places.boxes, kinds, places.scores, strict=True):
        order = scores.argsort(descending=True, stable=True)[:CANDIDATES]
        order = order[scores[order] >= least]
        kept = order[_strongest(boxes[order], classes[order])]
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


def average_precision(found: Detections, truth: Detections, least_overlap: float = 0.5) -> float | None:
    """Mean average precision over the classes of the truth, 0..1, at a lowest IoU; None where the truth is empty.

    A detection is right if an object of its class, not taken by a detection of higher score, overlaps it enough; it
    takes the one with the highest IoU. Precision at a recall is the best at this recall or any higher one. Classes that
    the truth does not have are ignored (as in COCO's evaluation), and so are its scores.
    """
    kinds = sorted(set(truth.classes.tolist()))
    if not kinds:
        return None
    areas = []
    for kind in kinds:
        objects = truth.boxes[truth.classes == kind]
        right = _right(found.boxes[found.classes == kind], objects, least_overlap)
        areas.append(_area_under(right, len(objects)))
    return sum(areas) / len(areas)


def _right(boxes: Tensor, objects: Tensor, least_overlap: float) -> list[bool]:
    """Whether each box matches an object of its own."""
    taken: set[int] = set()
    right = []
    for overlaps in iou(boxes[:, None], objects[None]).tolist():
        free = [(value, number) for number, value in enumerate(overlaps) if number not in taken]
        best, number = max(free, default=(-1.0, -1))
        right.append(best >= least_overlap)
        if right[-1]:
            taken.add(number)
    return right


def _area_under(right: Sequence[bool], objects: int) -> float:
    """Area under precision over recall: every right detection is a step of 1 / objects in recall."""
    hits, precisions = 0, []
    for count, each in enumerate(right, start=1):
        if each:
            hits += 1
            precisions.append(hits / count)
    best, total = 0.0, 0.0
    for precision in reversed(precisions):
        best = max(best, precision)
        total += best
    return total / objects
