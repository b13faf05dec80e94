"""Rate model of JPEG levels, and the bits that decrementing each of them saves.

`proxies.jpeg.bits_per_pixel` describes and measures the model; its numbers are here.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST_RUN = 7
"""Longest run of zeros that is counted; the model gives longer runs the same bits."""


class RateModel(NamedTuple):
    """Bits for each unit of a term.

    Terms are counts of blocks and nonzero levels, log2(1 + zeros) of each run, log2 of magnitudes and DC differences.
    """

    a_block: float
    a_block_with_ac: float
    dc_difference: float
    ac_nonzero: float
    ac_run: float
    ac_magnitude: float


SEQUENTIAL = RateModel(2.45, 1.44, 1.98, 2.53, 2.26, 1.89)
PROGRESSIVE = RateModel(2.24, 2.60, 2.64, 2.14, 2.40, 1.76)


def _zigzag(index: int) -> tuple[int, int]:
    """Sort key of a coefficient in row order: by diagonals, down and up in turn (T.81, figure A.6)."""
    row, column = divmod(index, 8)
    return row + column, row if (row + column) % 2 else column


ZIGZAG = torch.tensor(sorted(range(64), key=_zigzag))
"""Position in row order of each coefficient in zigzag order, (64,)."""

_CODED = torch.cat([*(4 * ZIGZAG + block for block in range(4)), 256 + ZIGZAG, 320 + ZIGZAG])
"""Packed channel of each coefficient (`mcu.COEFFICIENTS`), block by block in zigzag order, (384,)."""

_PACKED = torch.argsort(_CODED)
_POSITIONS = 64


def bits_saved(levels: Tensor, model: RateModel = PROGRESSIVE) -> Tensor:
    """Bits saved by decrementing the magnitude of each level alone; 0 for zeros and for DC.

    Args:
        levels: whole numbers, (N, 384, h, w) as `networks.mcu` packs them.
        model: sequential or progressive coding.

    Returns:
        (N, 384, h, w); negative where the longer run costs more than the level did.
    """
    coded, packed = _CODED.to(levels.device), _PACKED.to(levels.device)
    blocks = levels.abs()[:, coded].reshape(len(levels), 6, 64, *levels.shape[2:])
    return _saved_in_blocks(blocks, model).flatten(1, 2)[:, packed]


def _saved_in_blocks(size: Tensor, model: RateModel) -> Tensor:
    """Bits saved in blocks of magnitudes (N, 6, 64, h, w), zigzag order: same shape."""
    place = torch.arange(64, device=size.device, dtype=size.dtype).view(64, 1, 1)
    there = size.clamp(0, 1) * (place > 0)
    from_start, from_end = there * place, there * (_POSITIONS - place)
    # `last` is the place of the last nonzero AC level, `first` is 64 minus that of the first. They add up to 64 where
    # the block has one such level alone.
    last, first = (side.amax(2, keepdim=True) for side in (from_start, from_end))
    # `zeros` is the run before a level, `after` the one behind it; beyond LONGEST_RUN their length does not matter.
    zeros = (place - 1 - _highest(from_start, below=True)).clamp(0, LONGEST_RUN)
    after = (_POSITIONS - place - 1 - _highest(from_end, below=False)).clamp(0, LONGEST_RUN)
    # Ratio, less 1, of the run behind to the joined one where the level vanishes; the last level has none behind.
    longer = (1 + after) / (1 + (zeros + after + 1).clamp(0, LONGEST_RUN)) - 1
    runs = torch.log2((1 + zeros) * (1 + longer * (last - place).clamp(0, 1)))
    vanishes = model.ac_nonzero + model.a_block_with_ac * (last + first == _POSITIONS) + model.ac_run * runs
    shrinking = 2 + F.relu(size - 2)
    shrinks = model.ac_magnitude * torch.log2(shrinking / (shrinking - 1))
    return there * (vanishes + (size - 1).clamp(0, 1) * (shrinks - vanishes))


def _highest(values: Tensor, *, below: bool) -> Tensor:
    """Maximum over the LONGEST_RUN + 1 positions just below, or above, each of (N, 6, 64, h, w): same shape."""
    planes = values.flatten(3)
    sides = (0, 0, LONGEST_RUN, 0) if below else (0, 0, 0, LONGEST_RUN)
    found = F.max_pool2d(F.pad(planes, sides), (LONGEST_RUN + 1, 1), stride=1)
    moved = F.pad(found[:, :, :-1], (0, 0, 1, 0)) if below else F.pad(found[:, :, 1:], (0, 0, 0, 1))
    return moved.view_as(values)
