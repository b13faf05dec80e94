"""Boxes: overlaps, what is one object, and average precision, all against numbers found by hand."""

import math

import pytest
import torch

from kcompress.machine.boxes import (
    Detections,
    RawDetections,
    average_precision,
    decode_fastestdet,
    iou,
    select_detections,
)

SQUARES = [(0.1 * k, 0.0, 0.1 * k + 0.1, 0.1) for k in range(10)]
"""Side by side."""
NOWHERE = (0.5, 0.5, 0.6, 0.6)


def _found(*boxes: tuple[float, ...], kinds: list[int] | None = None) -> Detections:
    """The surest first."""
    scores = torch.linspace(0.9, 0.5, len(boxes))
    return Detections(torch.tensor(boxes).reshape(-1, 4), torch.tensor(kinds or [0] * len(boxes)), scores)


def test_overlap() -> None:
    one = torch.tensor([0.0, 0.0, 0.2, 0.2])
    others = torch.tensor(
        [[0.0, 0, 0.2, 0.2], [0.1, 0, 0.3, 0.2], [0.1, 0.1, 0.3, 0.3], [0.2, 0, 0.4, 0.2], [0, 0, 0, 0]]
    )
    torch.testing.assert_close(iou(one, others), torch.tensor([1, 1 / 3, 1 / 7, 0, 0]))


@pytest.mark.parametrize(
    ("found", "truth", "expected"),
    [
        ([0, 1], [0, 1], 1.0),
        ([1, 0], [0, 1], 1.0),
        ([], [0, 1], 0.0),
        ([0], [0, 1, 2, 3], 1 / 4),
        ([None, 0], [0], 1 / 2),
        ([0, None], [0], 1.0),
        ([0, None, 1], [0, 1], (1 + 2 / 3) / 2),
        ([None, 0, 1], [0, 1], 2 / 3),  # the precision at recall 1/2 is the best at any higher one: 2/3, not 1/2
        ([0, 0], [0], 1.0),
        ([0, 0, 1], [0, 1], (1 + 2 / 3) / 2),  # the second on one object is wrong
        ([None, None], [0], 0.0),
    ],
)
def test_average_precision(found: list[int | None], truth: list[int], expected: float) -> None:
    boxes = [NOWHERE if number is None else SQUARES[number] for number in found]
    assert average_precision(_found(*boxes), _found(*(SQUARES[k] for k in truth))) == pytest.approx(expected)


def test_average_precision_is_a_mean_over_the_classes_of_the_truth() -> None:
    truth = _found(SQUARES[0], SQUARES[1], kinds=[4, 7])
    assert average_precision(_found(SQUARES[0], kinds=[4]), truth) == 0.5
    assert average_precision(_found(SQUARES[0], SQUARES[1], kinds=[7, 4]), truth) == 0.0
    assert average_precision(_found(NOWHERE, SQUARES[0], SQUARES[1], kinds=[9, 4, 7]), truth) == 1.0
    assert average_precision(truth, _found()) is None


def test_half_an_overlap_is_enough() -> None:
    truth = _found((0.0, 0.0, 0.2, 0.1))
    assert average_precision(_found((0.0, 0.0, 0.101, 0.1)), truth) == 1.0
    assert average_precision(_found((0.0, 0.0, 0.099, 0.1)), truth) == 0.0


def test_of_two_objects_the_nearer_is_taken() -> None:
    truth = _found((0.0, 0.0, 0.2, 0.1), (0.03, 0.0, 0.23, 0.1))
    assert average_precision(_found((0.03, 0.0, 0.23, 0.1), (-0.05, 0.0, 0.15, 0.1)), truth) == 1.0


def test_weaker_boxes_of_an_object_are_dropped() -> None:
    boxes = torch.tensor([[(0.0, 0, 0.2, 0.2), (0.01, 0, 0.21, 0.2), (0.02, 0, 0.22, 0.2), (0.5, 0.5, 0.7, 0.7)]])
    scores = torch.tensor([[0.6, 0.8, 0.7, 0.2]])
    classes = torch.tensor([[0, 0, 1, 0]])
    places = RawDetections(scores, boxes, torch.nn.functional.one_hot(classes, 2).float(), scores)
    (found,) = select_detections(places, 0.1)
    assert found.classes.tolist() == [0, 1, 0]
    assert found.scores.tolist() == pytest.approx([0.8, 0.7, 0.2])
    assert [len(each.scores) for each in select_detections(places, 0.3)] == [2]
    assert [len(each.boxes) for each in select_detections(places, 0.9)] == [0]


def test_a_box_that_only_a_dropped_one_covers_stays() -> None:
    boxes = torch.tensor([[(0.0, 0, 0.2, 0.1), (0.06, 0, 0.26, 0.1), (0.12, 0, 0.32, 0.1)]])
    scores = torch.tensor([[0.9, 0.8, 0.7]])
    (found,) = select_detections(RawDetections(scores, boxes, torch.ones(1, 3, 1), scores), 0.1)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_what_fastestdet_means() -> None:
    output = torch.zeros(1, 7, 2, 4)
    output[0, :, 1, 3] = torch.tensor(
        [0.5, math.atanh(0.4), math.atanh(-0.2), math.log(0.5 / 0.5), -math.log(3), 0.2, 0.8]
    )
    places = decode_fastestdet(output)
    # place (row 1, column 3) of 2 rows and 4 columns is the eighth
    centre_x, centre_y, width, height = (3 + 0.4) / 4, (1 - 0.2) / 2, 0.5, 0.25
    assert places.boxes[0, 7].tolist() == pytest.approx(
        [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    )
    assert places.objectness[0, 7] == 0.5 and places.classes[0, 7].tolist() == pytest.approx([0.2, 0.8])
    assert places.scores[0, 7].item() == pytest.approx(0.5**0.6 * 0.8**0.4)
    assert places.objectness.shape == places.scores.shape == (1, 8) and places.classes.shape == (1, 8, 2)
