"""VQscore: a no-reference score (Kuchen paper, section 4.1), by a network of our own.

100 is a picture without a visible trace of codec, noise or filter, on the scale of SSIMULACRA2. Its training target is
the mean of several metrics with reference on that scale.
ByteDance's weights, which the paper uses, are not public, so the numbers are not the paper's.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from kcompress.errors import WeightsError
from kcompress.images import Pixels
from kcompress.inference.models import shipped_engine
from kcompress.inference.tiling import batch
from kcompress.metrics.vqscore_blocks import BLOCK, origin

if TYPE_CHECKING:
    from torch import nn

Window = TypeVar("Window")

SMALLEST_SIDE = 64
"""Smallest side, pixels: two tokens; it was trained on 224."""

_MULTIPLE = 32
_WINDOW = 320

_TOGETHER = 2048
"""Most tokens that see each other, 2 megapixels: attention takes the square of their number."""


def vqscore(pixels: Pixels) -> float:
    """VQscore of a picture (H, W, 3), sRGB, sides at least 64: 0..100, higher is better.

    It is seen in windows that cover it, all together; of more than 2 megapixels in groups of them, each from all over
    the picture, whose mean it is.

    Raises:
        WeightsError: the weights ``vqscore`` are missing, or what they give is no score.
    """
    engine = shipped_engine("vqscore", "cpu", _module)
    seen = list(windows(pixels))
    parts = groups(seen, seen[0].shape[:2])
    each = [float(engine(batch(*part)).ravel()[0]) for part in parts]
    score = float(np.average(each, weights=[len(part) for part in parts]))
    if not np.isfinite(score):
        raise WeightsError(f"the weights vqscore give {score} in place of a score. Reinstall kcompress.")
    return score


def groups(seen: Sequence[Window], size: tuple[int, ...]) -> list[Sequence[Window]]:
    """Windows of a picture, all of one size (H, W), in as few groups as may be, whose tokens see each other."""
    together = _TOGETHER * _MULTIPLE**2 // math.prod(size)
    count = -(-len(seen) // together)
    return [seen[first::count] for first in range(count)]


def windows(pixels: Pixels) -> Iterator[Pixels]:
    """Windows of one size (multiples of 32, at most 320) that cover a picture evenly, with overlap where needed.

    Corners are 8 pixels apart, as the blocks of most codecs are, and on them where a JPEG was cropped. So less than 8
    pixels at an edge may be left out; less than 32 in a direction with one window.
    """
    top, left = origin(pixels)
    pixels = pixels[top:, left:]
    height, width = pixels.shape[:2]
    rows, columns = spans(height), spans(width)
    for row in rows:
        for column in columns:
            yield pixels[row, column]


def spans(length: int) -> list[slice]:
    """Windows of a direction: as few as cover it, of one size."""
    count = -(-length // _WINDOW)
    side = min(-(-length // (count * _MULTIPLE)), length // _MULTIPLE) * _MULTIPLE
    starts = np.linspace(0, length - side, count).astype(int) // BLOCK * BLOCK
    return [slice(int(start), int(start) + side) for start in starts]


def _module() -> "type[nn.Module]":
    from kcompress.metrics.vqscore_network import VQscoreNetwork  # imports torch

    return VQscoreNetwork
