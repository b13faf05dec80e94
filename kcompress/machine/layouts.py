"""Layouts of several outputs of a detector as one tensor with a row a picture (`kcompress.machine.model.Layout`)."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from kcompress.machine.model import Layout, Shape


def layout_of(outputs: Sequence[tuple[Shape, str]]) -> tuple[Layout, tuple[int, ...]] | None:
    """Layout of a graph's outputs, given as shape and type; None where it is unknown.

    The numbers are those of the outputs: boxes and scores, and for ``BOXES`` classes, as `joined` takes them.
    """
    if len(outputs) == 1:
        return Layout.TENSOR, (0,)
    whole = [place for place, (_, kind) in enumerate(outputs) if kind == "int64"]
    boxes = [place for place, (shape, kind) in enumerate(outputs) if kind == "float32" and [*shape][-1:] == [4]]
    scores = [place for place, (_, kind) in enumerate(outputs) if kind == "float32" and place not in boxes]
    if len(boxes) != 1 or len(scores) != 1:
        return None
    ranks = [len(outputs[place][0]) for place in (*boxes, *scores)]
    if len(outputs) == 2 and ranks == [3, 3]:
        return Layout.ANCHORS, (*boxes, *scores)
    if len(outputs) == 3 and len(whole) == 1 and ranks == [2, 1]:
        return Layout.BOXES, (*boxes, *scores, *whole)
    return None


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Boxes (N, M, 4) and scores (N, M, C) as one tensor; or boxes (K, 4), scores and classes (K,) of one picture."""
    if len(parts) == 2:
        return torch.cat([*parts], dim=-1)
    boxes, scores, classes = parts
    return torch.cat([boxes, scores[:, None], classes[:, None].to(boxes.dtype)], dim=1)[None]


class JoinedDetector(nn.Module):
    """Detector of torchvision, which gives a dictionary a picture, with the layout ``BOXES``."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pictures: Tensor) -> Tensor:
        found: list[Mapping[str, Tensor]] = self.detector(list(pictures))
        rows = [joined([each["boxes"], each["scores"], each["labels"]])[0] for each in found]
        return pad_sequence(rows, batch_first=True)
