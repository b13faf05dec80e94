"""Output formats of detectors, each with its test and its differentiable decoder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.machine.boxes import RawDetections
from kcompress.machine.model import Layout

Size = tuple[int, int]
"""Height and width of the pictures that a detector was shown, pixels."""


@dataclass(frozen=True)
class OutputFormat:
    """Output format of detectors.

    Attributes:
        name: with its shape.
        fits: whether an output has it.
        decode: output, size of the pictures -> detections at its places.
        layout: of the model's outputs.
        final: what is given are detections after suppression; places of two pictures do not correspond.
    """

    name: str
    fits: Callable[[Tensor], bool]
    decode: Callable[[Tensor, Size], RawDetections]
    layout: Layout = Layout.TENSOR
    final: bool = False


def _is_fastestdet(output: Tensor) -> bool:
    """Whether an output is (N, 5 + classes, h, w) with objectness and classes as probabilities."""
    if output.ndim != 4 or output.shape[1] < 6:
        return False
    sums = output[:, 5:].sum(1)
    return _probabilities(output[:, 5:]) and bool(((sums - 1).abs() < 1e-3).all()) and _probabilities(output[:, 0])


def decode_fastestdet(output: Tensor, size: Size) -> RawDetections:
    """Decode FastestDet: centres within one cell of their place (tanh), sizes as shares of the picture (sigmoid).

    Args:
        output: (N, 5 + classes, h, w): objectness, x, y, width, height, probabilities of the classes.
        size: has no influence.
    """
    rows, columns = output.shape[2:]
    objectness, classes = output[:, 0], output[:, 5:]
    x = (torch.arange(columns, device=output.device) + output[:, 1].tanh()) / columns
    y = (torch.arange(rows, device=output.device)[:, None] + output[:, 2].tanh()) / rows
    boxes = _corners(torch.stack([x, y, output[:, 3].sigmoid(), output[:, 4].sigmoid()], dim=-1))
    scores = objectness**0.6 * classes.amax(1) ** 0.4  # the exponents of its authors
    return RawDetections(
        objectness.flatten(1), boxes.flatten(1, 2), classes.flatten(2).transpose(1, 2), scores.flatten(1)
    )


def _is_yolo5(output: Tensor) -> bool:
    """Whether an output is (N, M, 5 + classes), with more places than columns."""
    return output.ndim == 3 and 6 <= output.shape[2] < output.shape[1] and _probabilities(output[..., 4:])


def decode_yolo5(output: Tensor, size: Size) -> RawDetections:
    """Decode YOLOv5: x and y of the centre, width and height in pixels, objectness, a probability for each class."""
    boxes, objectness, classes = output[..., :4], output[..., 4], output[..., 5:]
    return RawDetections(objectness, _shares(_corners(boxes), size), _normed(classes), objectness * classes.amax(2))


def _is_yolo8(output: Tensor) -> bool:
    """Whether an output is (N, 4 + classes, M), with more places than rows."""
    return output.ndim == 3 and 5 <= output.shape[1] < output.shape[2] and _probabilities(output[:, 4:])


def decode_yolo8(output: Tensor, size: Size) -> RawDetections:
    """Decode YOLOv8: as YOLOv5's without objectness, for which the likeliest class stands, and transposed."""
    boxes, classes = output[:, :4].transpose(1, 2), output[:, 4:].transpose(1, 2)
    scores = classes.amax(2)
    return RawDetections(scores, _shares(_corners(boxes), size), _normed(classes), scores)


def decode_anchors(output: Tensor, size: Size) -> RawDetections:
    """Decode (N, M, 4 + 1 + classes): corners as shares of the picture, probabilities of the background and classes."""
    boxes, classes = output[..., :4], output[..., 5:]
    return RawDetections(1 - output[..., 4], boxes, _normed(classes), classes.amax(2))


def decode_final(output: Tensor, size: Size) -> RawDetections:
    """Decode (N, K, 6): corners in pixels, score, class; rows that fill up have score 0."""
    classes = F.one_hot(output[..., 5].long()).to(output.dtype)
    return RawDetections(output[..., 4], _shares(output[..., :4], size), classes, output[..., 4])


OUTPUT_FORMATS: Sequence[OutputFormat] = (
    OutputFormat("(N, 5 + classes, h, w) as FastestDet gives it", _is_fastestdet, decode_fastestdet),
    OutputFormat("(N, places, 5 + classes) as YOLOv5's", _is_yolo5, decode_yolo5),
    OutputFormat("(N, 4 + classes, places) as YOLOv8's", _is_yolo8, decode_yolo8),
    OutputFormat("scores and boxes", lambda output: True, decode_anchors, Layout.ANCHORS),
    OutputFormat("boxes, classes and scores as torchvision's", lambda output: True, decode_final, Layout.BOXES, True),
)
"""Known formats; the first that fits an output decodes it."""


def _probabilities(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _corners(boxes: Tensor) -> Tensor:
    """Centre, width and height (..., 4) -> left, top, right, bottom."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def _shares(boxes: Tensor, size: Size) -> Tensor:
    height, width = size
    return boxes / boxes.new_tensor([width, height, width, height])


def _normed(classes: Tensor) -> Tensor:
    """Probabilities that exclude nothing -> those of the likeliest class, whose sum is 1."""
    return classes / classes.sum(-1, keepdim=True).clamp_min(1e-6)
