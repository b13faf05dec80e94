"""What JPEG's levels cost, by a model of few numbers, and what is saved by each that falls.

The model is described and measured at `training.proxies.jpeg.bits_per_pixel`; here are its numbers.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST_RUN = 7
"""Zeros before a level beyond which more of them cost nothing more."""


class Bits(NamedTuple):
    """Of the model; runs count as log2(1 + zeros), magnitudes and differences as log2."""

    a_block: float
    a_block_with_ac: float
    dc_difference: float
    ac_nonzero: float
    ac_run: float
    ac_magnitude: float


SEQUENTIAL = Bits(2.45, 1.44, 1.98, 2.53, 2.26, 1.89)
PROGRESSIVE = Bits(2.24, 2.60, 2.64, 2.14, 2.40, 1.76)


def _zigzag(index: int) -> tuple[int, int]:
    """Sorts coefficients in row order as T.81, figure A.6: by diagonals, down and up in turn."""
    row, column = divmod(index, 8)
    return row + column, row if (row + column) % 2 else column


ZIGZAG = torch.tensor(sorted(range(64), key=_zigzag))
"""Places in row order, by their rank in the order of coding."""

_CODED = torch.cat([*(4 * ZIGZAG + block for block in range(4)), 256 + ZIGZAG, 320 + ZIGZAG])
"""Of `networks.macroblocks`, block by block in the order of coding."""

_PACKED = torch.argsort(_CODED)
_PLACES = 64


def saved(levels: Tensor, model: Bits = PROGRESSIVE) -> Tensor:
    """Bits that are saved if this level alone falls by one, 0 where it is zero, and of DC levels.

    Args:
        levels: whole numbers, (N, 384, h, w) as ``networks.macroblocks`` packs them.
        model: of the coding.

    Returns:
        (N, 384, h, w); below 0 where the run that results costs more than the level did.
    """
    coded, packed = _CODED.to(levels.device), _PACKED.to(levels.device)
    blocks = levels.abs()[:, coded].reshape(len(levels), 6, 64, *levels.shape[2:])
    return _of_blocks(blocks, model).flatten(1, 2)[:, packed]


def _of_blocks(size: Tensor, model: Bits) -> Tensor:
    """Sizes of levels (N, 6, 64, h, w) in the order of coding -> bits, likewise."""
    place = torch.arange(64, device=size.device, dtype=size.dtype).view(64, 1, 1)
    there = size.clamp(0, 1) * (place > 0)
    from_start, from_end = there * place, there * (_PLACES - place)
    # The first one is counted from the end.
    last, first = (side.amax(2, keepdim=True) for side in (from_start, from_end))
    # Only runs of up to LONGEST_RUN zeros need their length.
    zeros = (place - 1 - _highest(from_start, below=True)).clamp(0, LONGEST_RUN)
    after = (_PLACES - place - 1 - _highest(from_end, below=False)).clamp(0, LONGEST_RUN)
    # How much longer the run behind becomes, which there is none of behind the last one.
    longer = (1 + after) / (1 + (zeros + after + 1).clamp(0, LONGEST_RUN)) - 1
    runs = torch.log2((1 + zeros) * (1 + longer * (last - place).clamp(0, 1)))
    vanishes = model.ac_nonzero + model.a_block_with_ac * (last + first == _PLACES) + model.ac_run * runs
    shrinking = 2 + F.relu(size - 2)
    shrinks = model.ac_magnitude * torch.log2(shrinking / (shrinking - 1))
    return there * (vanishes + (size - 1).clamp(0, 1) * (shrinks - vanishes))


def _highest(values: Tensor, *, below: bool) -> Tensor:
    """The largest of the values (N, 6, 64, h, w) at the places just below, or above: one more than the longest run."""
    planes = values.flatten(3)
    sides = (0, 0, LONGEST_RUN, 0) if below else (0, 0, 0, LONGEST_RUN)
    found = F.max_pool2d(F.pad(planes, sides), (LONGEST_RUN + 1, 1), stride=1)
    moved = F.pad(found[:, :, :-1], (0, 0, 1, 0)) if below else F.pad(found[:, :, 1:], (0, 0, 0, 1))
    return moved.view_as(values)
