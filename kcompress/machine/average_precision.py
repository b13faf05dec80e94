"""Average precision of detectors as COCO defines it, over many pictures.

Lin et al., "Microsoft COCO" (2014), by the rules of its evaluation code (pycocotools): detections of a class are pooled
over all pictures, so those in pictures without the class are false; a detection takes the object with the highest
overlap that is still free; what lies in a crowd counts for nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

OVERLAPS: Floats = np.linspace(0.5, 0.95, 10)
"""Lowest IoU of a right detection."""

RECALLS: Floats = np.linspace(0, 1, 101)
"""Recalls at which precision is read."""

MOST = 100
"""Largest number of detections of a class in a picture, by score."""


@dataclass(frozen=True)
class Boxes:
    """Boxes in one picture.

    Attributes:
        boxes: (K, 4), left, top, right, bottom, in any unit that all boxes of the picture share.
        classes: (K,).
        scores: (K,), of detections; those of objects are not read.
        crowd: (K,), objects that stand for a crowd; detections in them are neither right nor wrong.
    """

    boxes: Floats
    classes: NDArray[np.int64]
    scores: Floats
    crowd: Flags

    def of(self, kind: int) -> "Boxes":
        """Those of a class, highest score first."""
        places = np.flatnonzero(self.classes == kind)
        places = places[np.argsort(-self.scores[places], kind="stable")]
        return Boxes(self.boxes[places], self.classes[places], self.scores[places], self.crowd[places])


@dataclass(frozen=True)
class Matches:
    """Detections of one picture as right or wrong: all that average precision needs of it.

    Attributes:
        classes: (D,).
        scores: (D,).
        right: (D, 10), at each of ``OVERLAPS``.
        ignored: (D, 10), neither right nor wrong.
        objects: how many there are to find, by class.
    """

    classes: NDArray[np.int64]
    scores: Floats
    right: Flags
    ignored: Flags
    objects: dict[int, int]

    def text(self) -> str:
        """JSON; the flags of a detection become one number, with a bit an overlap."""
        bits = 1 << np.arange(len(OVERLAPS))
        columns = (self.classes, np.round(self.scores, 7), self.right @ bits, self.ignored @ bits)
        found = [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        return json.dumps({"objects": {str(kind): n for kind, n in self.objects.items()}, "found": found})

    @classmethod
    def from_text(cls, text: str) -> "Matches":
        """Matches of a text that `text` gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            content = json.loads(text)
            rows = np.array(content["found"], dtype=np.float64).reshape(-1, 4)
            flags = [(column.astype(np.int64)[:, None] >> np.arange(len(OVERLAPS))) & 1 == 1 for column in rows.T[2:]]
            objects = {int(kind): int(count) for kind, count in content["objects"].items()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"matches {text[:80]!r}") from error
        return cls(rows[:, 0].astype(np.int64), rows[:, 1], flags[0], flags[1], objects)


def match(found: Boxes, truth: Boxes) -> Matches:
    """Detections of one picture against its objects."""
    kinds = sorted({*found.classes.tolist(), *truth.classes.tolist()})
    classes, scores, flags = [], [], []
    objects: dict[int, int] = {}
    for kind in kinds:
        ours, theirs = found.of(kind), truth.of(kind)
        ours = Boxes(ours.boxes[:MOST], ours.classes[:MOST], ours.scores[:MOST], ours.crowd[:MOST])
        order = np.argsort(theirs.crowd, kind="stable")  # crowds last
        overlaps, crowd = _overlaps(ours.boxes, theirs.boxes[order], theirs.crowd[order]), theirs.crowd[order]
        classes.append(ours.classes)
        scores.append(ours.scores)
        flags.append(np.stack([_matched(overlaps, crowd, least) for least in OVERLAPS], axis=-1))
        if not crowd.all():
            objects[kind] = int((~crowd).sum())
    if not kinds:
        empty = np.zeros((0, len(OVERLAPS)), dtype=bool)
        return Matches(np.zeros(0, dtype=np.int64), np.zeros(0), empty, empty, {})
    taken, ignored = np.concatenate(flags, axis=1)
    return Matches(np.concatenate(classes), np.concatenate(scores), taken & ~ignored, ignored, objects)


def _overlaps(found: Floats, objects: Floats, crowd: Flags) -> Floats:
    """IoU of each detection and object (D, G); with a crowd the share of the detection that lies in it."""
    low = np.maximum(found[:, None, :2], objects[None, :, :2])
    high = np.minimum(found[:, None, 2:], objects[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    area, other = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (found, objects))
    union = area[:, None] + np.where(crowd, 0, other) - np.where(crowd, 0, common)
    return np.asarray(common / np.maximum(union, 1e-300), dtype=np.float64)


def _matched(overlaps: Floats, crowd: Flags, least: float) -> Flags:
    """Whether each detection takes an object, and whether that is a crowd: (2, D). The order is that of the scores."""
    taken = np.zeros(len(crowd), dtype=bool)
    result = np.zeros((2, len(overlaps)), dtype=bool)
    for number, row in enumerate(overlaps):
        for group in (np.flatnonzero(~crowd & ~taken), np.flatnonzero(crowd)):
            if len(group) and row[group].max() >= min(least, 1 - 1e-10):
                best = group[len(group) - 1 - row[group][::-1].argmax()]  # of equal ones the last
                taken[best] = True
                result[:, number] = True, crowd[best]
                break
    return result


class AveragePrecision:
    """Average precision of a set of pictures, for any weights of the pictures, as a bootstrap needs it."""

    def __init__(self, pictures: Sequence[Matches]) -> None:
        kinds = sorted({kind for each in pictures for kind in each.objects})
        numbers = np.repeat(np.arange(len(pictures)), [len(each.scores) for each in pictures])
        classes, scores, right, ignored = (
            np.concatenate([getattr(each, name) for each in pictures] or [np.zeros((0, len(OVERLAPS)))])
            for name in ("classes", "scores", "right", "ignored")
        )
        self._count = len(pictures)
        self._kinds = []
        for kind in kinds:
            places = np.flatnonzero(classes == kind)
            places = places[np.argsort(-scores[places], kind="stable")]
            hits, misses = right[places], ~(right[places] | ignored[places])
            objects = np.array([each.objects.get(kind, 0) for each in pictures])
            self._kinds.append((numbers[places], hits, misses, objects))

    def __call__(self, weights: NDArray[np.int64] | None = None) -> Floats:
        """Mean over the classes at each of ``OVERLAPS``, 0..1; NaN where the pictures show no object.

        Args:
            weights: how often each picture counts; None is once.
        """
        counts = np.ones(self._count, dtype=np.int64) if weights is None else weights
        found = [
            _of_class(counts[numbers], hits, misses, int(counts @ objects))
            for numbers, hits, misses, objects in self._kinds
            if counts @ objects
        ]
        return np.mean(found, axis=0) if found else np.full(len(OVERLAPS), np.nan)


def _of_class(weights: NDArray[np.int64], hits: Flags, misses: Flags, objects: int) -> Floats:
    """Average precision of one class at each overlap: mean of the best precision at each of ``RECALLS`` or above."""
    right, wrong = (np.cumsum(flags * weights[:, None], axis=0) for flags in (hits, misses))
    precision = right / np.maximum(right + wrong, 1)
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    best = np.concatenate([best, np.zeros((1, len(OVERLAPS)))])
    places = [np.searchsorted(column / objects, RECALLS, side="left") for column in right.T]
    return np.array([column[place].mean() for column, place in zip(best.T, places, strict=True)])
