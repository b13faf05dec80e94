"""Boxes: overlaps and what is one object, against numbers found by hand."""

import pytest
import torch

from kcompress.machine.boxes import RawDetections, iou, select_detections


def test_overlap() -> None:
    one = torch.tensor([0.0, 0.0, 0.2, 0.2])
    others = torch.tensor(
        [[0.0, 0, 0.2, 0.2], [0.1, 0, 0.3, 0.2], [0.1, 0.1, 0.3, 0.3], [0.2, 0, 0.4, 0.2], [0, 0, 0, 0]]
    )
    torch.testing.assert_close(iou(one, others), torch.tensor([1, 1 / 3, 1 / 7, 0, 0]))


def test_weaker_boxes_of_an_object_are_dropped() -> None:
    boxes = torch.tensor([[(0.0, 0, 0.2, 0.2), (0.01, 0, 0.21, 0.2), (0.02, 0, 0.22, 0.2), (0.5, 0.5, 0.7, 0.7)]])
    scores = torch.tensor([[0.6, 0.8, 0.7, 0.2]])
    classes = torch.tensor([[0, 0, 1, 0]])
    places = RawDetections(scores, boxes, torch.nn.functional.one_hot(classes, 2).float(), scores)
    (found,) = select_detections(places, 0.1)
    assert found.classes.tolist() == [0, 1, 0]
    assert found.scores.tolist() == pytest.approx([0.8, 0.7, 0.2])
    assert [len(each.scores) for each in select_detections(places, 0.3)] == [2]
    assert [len(each.scores) for each in select_detections(places, 0.3, suppress=False)] == [3]
    assert [len(each.boxes) for each in select_detections(places, 0.9)] == [0]


def test_a_box_that_only_a_dropped_one_covers_stays() -> None:
    boxes = torch.tensor([[(0.0, 0, 0.2, 0.1), (0.06, 0, 0.26, 0.1), (0.12, 0, 0.32, 0.1)]])
    scores = torch.tensor([[0.9, 0.8, 0.7]])
    (found,) = select_detections(RawDetections(scores, boxes, torch.ones(1, 3, 1), scores), 0.1)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])
