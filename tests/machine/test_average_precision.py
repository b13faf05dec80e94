"""Average precision: by hand, by its properties, and equal to pycocotools."""

import contextlib
import io

import numpy as np
import pytest

from kcompress.machine.average_precision import OVERLAPS, AveragePrecision, Boxes, Matches, match

SQUARES = [(0.1 * k, 0.0, 0.1 * k + 0.1, 0.1) for k in range(10)]
"""Side by side."""
NOWHERE = (0.5, 0.5, 0.6, 0.6)


def boxes(*given: tuple[float, ...], kinds: list[int] | None = None, scores: list[float] | None = None) -> Boxes:
    """The surest first."""
    count = len(given)
    return Boxes(
        np.array(given, dtype=float).reshape(-1, 4), np.array(kinds or [0] * count, dtype=np.int64),
        np.array(scores or np.linspace(0.9, 0.5, count), dtype=float), np.zeros(count, dtype=bool),
    )  # fmt: skip


def precision(*pictures: tuple[Boxes, Boxes]) -> float:
    """At IoU 0.5."""
    return float(AveragePrecision([match(found, truth) for found, truth in pictures])()[0])


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ([0, 1], [0, 1], 1.0),
        ([1, 0], [0, 1], 1.0),
        ([], [0, 1], 0.0),
        ([0], [0, 1, 2, 3], 26 / 101),  # the precision of 101 recalls: 0, 0.01 .. 0.25 are reached
        ([None, 0], [0], 1 / 2),
        ([0, None], [0], 1.0),
        ([0, None, 1], [0, 1], (51 + 50 * 2 / 3) / 101),
        ([None, 0, 1], [0, 1], 2 / 3),  # the precision at recall 1/2 is the best at any higher one: 2/3, not 1/2
        ([0, 0], [0], 1.0),
        ([0, 0, 1], [0, 1], (51 + 50 * 2 / 3) / 101),  # the second on one object is wrong
        ([None, None], [0], 0.0),
    ],
)
def test_by_hand(found: list[int | None], truth: list[int], expected: float) -> None:
    given = [NOWHERE if number is None else SQUARES[number] for number in found]
    assert precision((boxes(*given), boxes(*(SQUARES[k] for k in truth)))) == pytest.approx(expected)


def test_it_is_a_mean_over_the_classes_of_the_truth() -> None:
    truth = boxes(SQUARES[0], SQUARES[1], kinds=[4, 7])
    assert precision((boxes(SQUARES[0], kinds=[4]), truth)) == 0.5
    assert precision((boxes(SQUARES[0], SQUARES[1], kinds=[7, 4]), truth)) == 0.0
    assert precision((boxes(NOWHERE, SQUARES[0], SQUARES[1], kinds=[9, 4, 7]), truth)) == 1.0
    assert np.isnan(precision((truth, boxes()))) and np.isnan(AveragePrecision([])()).all()


def test_a_false_detection_in_another_picture_counts() -> None:
    one = (boxes(SQUARES[0], scores=[0.6]), boxes(SQUARES[0]))
    assert precision(one, (boxes(NOWHERE, scores=[0.5]), boxes())) == 1.0, "it is less sure than the right one"
    assert precision(one, (boxes(NOWHERE, scores=[0.7]), boxes())) == 0.5


def test_half_an_overlap_is_enough_at_a_half() -> None:
    truth = boxes((0.0, 0.0, 0.2, 0.1))
    assert precision((boxes((0.0, 0.0, 0.101, 0.1)), truth)) == 1.0
    assert precision((boxes((0.0, 0.0, 0.099, 0.1)), truth)) == 0.0
    by_overlap = AveragePrecision([match(boxes((0.0, 0.0, 0.2, 0.0751)), truth)])()
    np.testing.assert_array_equal(by_overlap, (OVERLAPS < 0.751).astype(float))


def test_of_two_objects_the_nearer_is_taken() -> None:
    truth = boxes((0.0, 0.0, 0.2, 0.1), (0.03, 0.0, 0.23, 0.1))
    assert precision((boxes((0.03, 0.0, 0.23, 0.1), (-0.05, 0.0, 0.15, 0.1)), truth)) == 1.0


def random_set(seed: int, pictures: int = 12, *, digits: int = 2) -> list[tuple[Boxes, Boxes]]:
    """Objects, some of them crowds, and detections: moved objects, some of another class, and some of nothing."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(pictures):
        count = int(random.integers(0, 9))
        corner, size = random.uniform(0, 80, (count, 2)), random.uniform(2, 60, (count, 2))
        truth = Boxes(
            np.concatenate([corner, corner + size], axis=1), random.integers(0, 4, count), np.zeros(count),
            random.random(count) < 0.2,
        )  # fmt: skip
        twice = np.concatenate([truth.boxes, truth.boxes, random.uniform(0, 50, (6, 4))])
        twice[2 * count :, 2:] += twice[2 * count :, :2]
        twice += np.repeat(random.normal(0, 4, (len(twice), 2)), 2, axis=1).reshape(len(twice), 2, 2).swapaxes(
            1, 2).reshape(len(twice), 4)  # fmt: skip
        kinds = np.concatenate([truth.classes, truth.classes, random.integers(0, 5, 6)])
        scores = np.round(random.random(len(twice)), digits)  # with two, some are equal
        made.append((Boxes(twice, kinds, scores, np.zeros(len(twice), dtype=bool)), truth))
    return made


def by_coco(pictures: list[tuple[Boxes, Boxes]]) -> np.ndarray:
    """Mean over classes at each overlap, by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def rows(number: int, given: Boxes) -> list[dict]:
        sides = np.concatenate([given.boxes[:, :2], given.boxes[:, 2:] - given.boxes[:, :2]], axis=1)
        return [
            {"image_id": number, "category_id": int(kind), "bbox": list(box), "score": float(score), "iscrowd": int(c),
             "area": float(box[2] * box[3])}
            for box, kind, score, c in zip(sides, given.classes, given.scores, given.crowd, strict=True)
        ]  # fmt: skip

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        objects = [row for number, (_, truth) in enumerate(pictures, start=1) for row in rows(number, truth)]
        coco.dataset = {
            "images": [{"id": number} for number in range(1, len(pictures) + 1)],
            "categories": [{"id": kind} for kind in range(5)],
            "annotations": [{**row, "id": number} for number, row in enumerate(objects, start=1)],
        }
        coco.createIndex()
        found = [row for number, (found, _) in enumerate(pictures, start=1) for row in rows(number, found)]
        judge = COCOeval(coco, coco.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
    values = judge.eval["precision"][:, :, :, 0, -1]  # overlaps, recalls, classes; all sizes, 100 detections
    return np.array([each[each > -1].mean() for each in values])


@pytest.mark.parametrize("seed", range(6))
def test_equal_to_pycocotools(seed: int) -> None:
    pytest.importorskip("pycocotools")
    pictures = random_set(seed)
    ours = AveragePrecision([match(found, truth) for found, truth in pictures])()
    assert 0.05 < ours[0] < 0.95 and ours[-1] < ours[0]
    np.testing.assert_allclose(ours, by_coco(pictures), atol=1e-12)


def test_a_hundred_detections_of_a_class_count() -> None:
    pytest.importorskip("pycocotools")
    truth = boxes(SQUARES[0], SQUARES[1])
    many = boxes(SQUARES[0], *[NOWHERE] * 99, SQUARES[1])
    assert precision((many, truth)) == pytest.approx(by_coco([(many, truth)])[0]) == pytest.approx(51 / 101)


def test_weights_count_pictures_as_often() -> None:
    matches = [match(found, truth) for found, truth in random_set(3, digits=9)]
    random = np.random.default_rng(0)
    for _ in range(5):
        drawn = random.integers(0, len(matches), len(matches))
        weights = np.bincount(drawn, minlength=len(matches))
        twice = AveragePrecision([matches[place] for place in sorted(drawn)])()
        np.testing.assert_allclose(AveragePrecision(matches)(weights), twice)


def test_text_keeps_everything() -> None:
    matches = [match(found, truth) for found, truth in random_set(5)]
    again = [Matches.from_text(each.text()) for each in matches]
    np.testing.assert_array_equal(AveragePrecision(again)(), AveragePrecision(matches)())
    assert Matches.from_text(match(boxes(), boxes()).text()).scores.size == 0
    for damaged in ('{"found": []}', "[]", "{", '{"objects": {}, "found": [[1, 2]]}'):
        with pytest.raises(ValueError):
            Matches.from_text(damaged)
