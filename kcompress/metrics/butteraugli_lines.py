"""Butteraugli's differences along lines ("Malta"): an edge that is lost counts more than as many scattered errors.

Source: as `metrics.butteraugli`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.inference.constants import constant

Half = tuple[tuple[int, int], ...]
"""One half of a line, as (rows, columns) from its middle; the other half mirrors it."""

_REACH = 4

# Dense lines have all their pixels, sparse ones every other one.
_DENSE: tuple[Half, ...] = (
    ((0, 1), (0, 2), (0, 3), (0, 4)), ((1, 0), (2, 0), (3, 0), (4, 0)), ((1, 1), (2, 2), (3, 3)),
    ((1, -1), (2, -2), (3, -3)), ((1, 0), (2, -1), (3, -1), (4, -1)), ((1, 0), (2, 1), (3, 1), (4, 1)),
    ((0, 1), (1, 2), (1, 3), (1, 4)), ((0, 1), (-1, 2), (-1, 3), (-1, 4)), ((1, 1), (2, 1), (3, 2)),
    ((1, -1), (2, -1), (3, -2)), ((1, 1), (1, 2), (2, 3)), ((1, -1), (1, -2), (2, -3)),
    ((0, 1), (-1, 2), (-1, 3), (-1, 4)), ((0, 1), (1, 2), (1, 3), (1, 4)), ((1, 0), (2, 1), (3, 1), (4, 1)),
    ((1, 0), (2, -1), (3, -1), (4, -1)),
)  # fmt: skip
_SPARSE: tuple[Half, ...] = (
    ((0, 2), (0, 4)), ((2, 0), (4, 0)), ((2, 2), (3, 3)), ((2, -2), (3, -3)), ((2, -1), (4, -1)), ((2, 1), (4, 1)),
    ((1, 2), (1, 4)), ((-1, 2), (-1, 4)), ((2, 1), (3, 2)), ((2, -1), (3, -2)), ((1, 2), (2, 3)), ((1, -2), (2, -3)),
    ((-1, 2), (-2, 4)), ((1, 2), (2, 4)), ((2, 1), (4, 2)), ((2, -1), (4, -2)),
)  # fmt: skip


@dataclass(frozen=True)
class Lines:
    """Lines of 16 directions, and how differences of some channels add up along them; constants are (C, 1, 1).

    Attributes:
        halves: of the lines.
        near: factor of a difference.
        far: factor of what goes beyond 0.55 and 1.05 times the original.
        masking: what a difference is divided by for each unit of both values together, beside 1.
    """

    halves: tuple[Half, ...]
    near: Tensor
    far: Tensor
    masking: Tensor

    def energy(self, one: Tensor, other: Tensor) -> Tensor:
        """Squared sums along lines of the differences of two batches (N, C, H, W), of all channels: (N, 1, H, W)."""
        bounds = 0.55 * one, 1.05 * one
        beyond = torch.minimum(torch.maximum(other, torch.minimum(*bounds)), torch.maximum(*bounds)) - other
        difference = constant(self.near, one) * (one - other) + constant(self.far, one) * beyond
        contrast = 1 + constant(self.masking, one) * (one.abs() + other.abs())
        energy: Tensor = _Energy.apply(difference / contrast, self.halves)  # type: ignore[no-untyped-call]
        return energy.sum(1, keepdim=True)


def _lines(halves: tuple[Half, ...], unit: float, *channels: tuple[float, float, float]) -> Lines:
    """Lines from weight, norm of the contrast that masks, and asymmetry of each channel."""
    weight, norm, asymmetry = torch.tensor(channels, dtype=torch.float64).T[..., None, None].unbind()
    unit /= 2 * 3.75 + 1
    near, far = unit * (0.5 * weight * asymmetry).sqrt(), unit * (0.33 * weight / asymmetry).sqrt()
    return Lines(halves, near, far, 0.5 / norm)


ASYMMETRY = 0.8
"""Asymmetry of high frequencies: below 1, lost or added detail counts more than changed detail."""

DENSE = _lines(_DENSE, 0.39905817637, (173.5, 5.0, ASYMMETRY), (1.10039032555, 71.7800275169, ASYMMETRY))
"""Lines of the ultra high band: X, Y."""

SPARSE = _lines(
    _SPARSE, 0.611612573796,
    (6923.99476109, 8051.15833247, ASYMMETRY**0.5), (18.7237414387, 4498534.45232, ASYMMETRY**0.5),
    (8246.75321353, 1009002.70582, 1.0), (37.0819870399, 130262059.556, 1.0),
)  # fmt: skip
"""Lines of the high and the medium band: X, Y; X, Y."""


class _Energy(torch.autograd.Function):
    """Sum of the squares of the sums along each line, (N, C, H, W) -> the same shape."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, halves: Sequence[Half]) -> Tensor:
        ctx.lines = Counter(halves)
        ctx.save_for_backward(planes)
        return torch.cat([_energy(part, ctx.lines) for part in _parts(planes)]).view_as(planes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        parts = zip(_parts(ctx.saved_tensors[0]), _parts(gradient), strict=True)
        return torch.cat([_slope(*each, ctx.lines) for each in parts]).view_as(gradient), None


def _parts(planes: Tensor) -> Sequence[Tensor]:
    """(n, H, W) each of (N, C, H, W): on the CPU one plane, which stays in the cache."""
    planes = planes.flatten(0, 1)
    return [planes] if planes.is_cuda else planes.chunk(len(planes))


def _energy(planes: Tensor, lines: Mapping[Half, int]) -> Tensor:
    energy = torch.zeros_like(planes)
    for count, total in _sums(planes, lines):
        energy.addcmul_(total, total, value=count)
    return energy


def _slope(planes: Tensor, gradient: Tensor, lines: Mapping[Half, int]) -> Tensor:
    """Gradient of the planes, (n, H, W), from that of their energy."""
    result = F.pad(torch.zeros_like(gradient), (_REACH,) * 4)
    middle, gradient = _shifted(result, 0, 0), 2 * gradient
    by_place: dict[tuple[int, int], Tensor] = {}
    for half, (count, total) in zip(lines, _sums(planes, lines), strict=True):
        slope = total.mul_(gradient).mul_(count)
        middle += slope
        for place in half:
            if place in by_place:
                by_place[place] += slope
            else:
                by_place[place] = slope.clone()
    for (row, column), slope in by_place.items():
        _shifted(result, row, column).add_(slope)
        _shifted(result, -row, -column).add_(slope)
    return middle


def _sums(planes: Tensor, lines: Mapping[Half, int]) -> Iterator[tuple[int, Tensor]]:
    """Count of a line and the sums along it, (n, H, W), in memory that the next line takes over.

    Pixels on both sides of the middle are added once for all lines that have them.
    """
    padded = F.pad(planes, (_REACH,) * 4)
    places = dict.fromkeys(place for half in lines for place in half)
    pairs = {(row, column): _shifted(padded, row, column) + _shifted(padded, -row, -column) for row, column in places}
    total = torch.empty_like(planes)
    for half, count in lines.items():
        torch.add(planes, pairs[half[0]], out=total)
        for place in half[1:]:
            total += pairs[place]
        yield count, total


def _shifted(padded: Tensor, row: int, column: int) -> Tensor:
    height, width = padded.shape[-2] - 2 * _REACH, padded.shape[-1] - 2 * _REACH
    return padded[..., _REACH + row : _REACH + row + height, _REACH + column : _REACH + column + width]
