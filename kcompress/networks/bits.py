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

_RANK = torch.argsort(ZIGZAG)
_FAR = 100.0


def saved(levels: Tensor, model: Bits = PROGRESSIVE) -> Tensor:
    """Bits that are saved if this level alone falls by one, 0 where it is zero, and of DC levels.

    Args:
        levels: whole numbers, (N, 384, h, w) as ``networks.macroblocks`` packs them.
        model: of the coding.

    Returns:
        (N, 384, h, w); below 0 where the run that results costs more than the level did.
    """
    count, _, rows, columns = levels.shape
    luma = levels[:, :256].reshape(count, 64, 4, rows, columns)
    chroma = levels[:, 256:].reshape(count, 2, 64, rows, columns).transpose(1, 2)
    size = torch.cat([luma, chroma], dim=2).abs()[:, ZIGZAG.to(levels.device)]
    result = _of_blocks(size, model)[:, _RANK.to(levels.device)]
    of_luma, of_chroma = result[:, :, :4], result[:, :, 4:].transpose(1, 2)
    return torch.cat([part.reshape(count, -1, rows, columns) for part in (of_luma, of_chroma)], dim=1)


def _of_blocks(size: Tensor, model: Bits) -> Tensor:
    """Sizes of levels (N, 64, ...) in the order of coding -> bits, likewise."""
    place = torch.arange(64, device=size.device, dtype=size.dtype).view(1, 64, 1, 1, 1)
    there = (size > 0) & (place > 0)
    before = _latest(torch.where(there, place, 0.0))
    after = -_latest(torch.where(there, -place, -_FAR).flip(1), -_FAR).flip(1)
    zeros, zeros_after = place - 1 - before, after - 1 - place

    def run(length: Tensor) -> Tensor:
        return model.ac_run * torch.log2(1 + length.clamp(0, LONGEST_RUN))

    last = after >= _FAR
    vanishes = model.ac_nonzero + run(zeros)
    vanishes = vanishes + torch.where(last, 0.0, run(zeros_after) - run(zeros + zeros_after + 1))
    vanishes = vanishes + torch.where(last & (before == 0), model.a_block_with_ac, 0.0)
    shrinks = model.ac_magnitude * torch.log2(size.clamp(min=2) / (size.clamp(min=2) - 1))
    return torch.where(there, torch.where(size < 1.5, vanishes, shrinks), 0.0)


def _latest(values: Tensor, nothing: float = 0.0) -> Tensor:
    """The largest of all values at lower places (N, 64, ...)."""
    found = F.pad(values[:, :-1].flatten(2), (0, 0, 1, 0), value=nothing).view_as(values)
    for step in (1, 2, 4, 8, 16, 32):
        moved = F.pad(found[:, :-step].flatten(2), (0, 0, step, 0), value=nothing).view_as(values)
        found = torch.maximum(found, moved)
    return found
