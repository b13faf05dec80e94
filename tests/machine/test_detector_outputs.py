"""What the outputs of detectors mean, each by numbers found by hand."""

import math

import pytest
import torch
from torch import Tensor

from kcompress.machine.boxes import RawDetections
from kcompress.machine.detector_outputs import OUTPUT_FORMATS
from kcompress.machine.model import Layout

SIZE = (100, 200)
"""Height and width."""


def decoded(output: Tensor, layout: Layout = Layout.TENSOR) -> tuple[str, RawDetections]:
    """Name of the format that fits, and what it reads."""
    (found,) = [each for each in OUTPUT_FORMATS if each.layout is layout and each.fits(output)]
    return found.name, found.decode(output, SIZE)


def test_fastestdet() -> None:
    output = torch.zeros(1, 7, 2, 4)
    output[0, 5] = 1
    output[0, :, 1, 3] = torch.tensor(
        [0.5, math.atanh(0.4), math.atanh(-0.2), math.log(0.5 / 0.5), -math.log(3), 0.2, 0.8]
    )
    name, places = decoded(output)
    assert "FastestDet" in name
    # place (row 1, column 3) of 2 rows and 4 columns is the eighth
    centre_x, centre_y, width, height = (3 + 0.4) / 4, (1 - 0.2) / 2, 0.5, 0.25
    assert places.boxes[0, 7].tolist() == pytest.approx(
        [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    )
    assert places.objectness[0, 7] == 0.5 and places.classes[0, 7].tolist() == pytest.approx([0.2, 0.8])
    assert places.scores[0, 7].item() == pytest.approx(0.5**0.6 * 0.8**0.4)
    assert places.objectness.shape == places.scores.shape == (1, 8) and places.classes.shape == (1, 8, 2)


def test_yolo() -> None:
    row = torch.tensor([50.0, 40, 20, 60, 0.5, 0.3, 0.9])
    fifth = torch.zeros(1, 12, 7)
    fifth[0, 5] = row
    name, places = decoded(fifth)
    assert "YOLOv5" in name and places.boxes[0, 5].tolist() == pytest.approx([0.2, 0.1, 0.3, 0.7])
    assert places.scores[0, 5].item() == pytest.approx(0.45) and places.objectness[0, 5] == 0.5
    assert places.classes[0, 5].tolist() == pytest.approx([0.25, 0.75])
    eighth = torch.zeros(1, 6, 12)
    eighth[0, :, 5] = row[[0, 1, 2, 3, 5, 6]]
    name, again = decoded(eighth)
    assert "YOLOv8" in name and again.scores[0, 5].item() == pytest.approx(0.9)
    torch.testing.assert_close(again.boxes, places.boxes)
    torch.testing.assert_close(again.classes, places.classes)


def test_scores_and_boxes() -> None:
    output = torch.tensor([[[0.1, 0.2, 0.3, 0.4, 0.25, 0.15, 0.6]]])  # background, two classes
    _, places = decoded(output, Layout.ANCHORS)
    assert places.boxes[0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert places.objectness.item() == 0.75 and places.scores.item() == pytest.approx(0.6)
    assert places.classes[0, 0].tolist() == pytest.approx([0.2, 0.8])


def test_boxes_after_suppression() -> None:
    output = torch.tensor([[[20.0, 10, 100, 50, 0.7, 3], [0, 0, 0, 0, 0, 0]]])
    _, places = decoded(output, Layout.BOXES)
    assert places.boxes[0, 0].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.5])
    assert places.scores.tolist() == [[pytest.approx(0.7), 0]] and places.classes[0].argmax(1).tolist() == [3, 0]


@pytest.mark.parametrize("shape", [(1, 5), (1, 8, 3), (1, 3, 5, 5), (1, 12, 5)])
def test_what_is_no_output_of_a_detector(shape: tuple[int, ...]) -> None:
    assert not any(each.fits(torch.rand(shape) + 2) for each in OUTPUT_FORMATS if each.layout is Layout.TENSOR)
