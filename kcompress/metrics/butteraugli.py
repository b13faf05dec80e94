"""Butteraugli, 3-norm, in torch: batched and differentiable, so that it can be an objective too.

Source: Alakuijala et al., github.com/google/butteraugli, as ``butteraugli_main`` of libjxl 0.7 computes it: opsin
dynamics at 80 nits for white, four bands of frequencies, differences along lines ("Malta"), masking by the original's
own detail, and the same again at half the size. Written from that description; scores equal the program's in the first
four digits. The constants are fitted, and mean nothing by themselves. The 3-norm over the map of differences is what
libjxl uses to compare encoders.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Pixels
from kcompress.metrics.butteraugli_bands import Bands, by_channel, opsin, parted, smoothed

SMALLEST_SIDE = 8
"""Smallest side, pixels: lines are 9 long. Where half a side is below 8, the half size is left out."""

_POWERS = (3, 6, 12)

_STRIP, _HALO = 512, 96
"""Rows of a strip, and rows around it: even, and more than the filters' reach at half the size."""

# Squared differences of bands, X, Y, B: asymmetric in the high one, and in the medium and the low one.
_HIGH_WEIGHTS = (400.0, 1.50815703118)
_MEDIUM_WEIGHTS = (2150.0, 10.6195433239, 16.2176043152)
_LOW_WEIGHTS = (29.2353797994, 0.844626970982, 0.703646627719)
_LOW_IN_0_7 = 1 / 1.05**2
"""Factor of these weights, which are of later versions: measured against the program of 0.7 by shifts of grey."""

_ASYMMETRY = 0.8
"""Asymmetry of high frequencies: below 1, lost or added detail counts more than changed detail."""

_SIGMA_MASK = 2.7
_SCALE = 1 / (17.8 * 0.79079917404)  # what is just good enough becomes 1
_HALF_WEIGHT = 0.5  # of the picture at half the size
_SMALL = 1e-12  # under roots, whose slope is infinite at 0


@dataclass(frozen=True)
class _Lines:
    """Parameters of differences along lines ("Malta"); dense lines have all their pixels, others every other one.

    The weight is that of the sum, the norm that of the contrast that masks differences.
    """

    dense: bool
    weight: float
    norm: float
    asymmetry: float = 1.0


# X and Y of the ultra high, the high and the medium band.
_ULTRA_LINES = (_Lines(True, 173.5, 5.0, _ASYMMETRY), _Lines(True, 1.10039032555, 71.7800275169, _ASYMMETRY))
_HIGH_LINES = (
    _Lines(False, 6923.99476109, 8051.15833247, math.sqrt(_ASYMMETRY)),
    _Lines(False, 18.7237414387, 4498534.45232, math.sqrt(_ASYMMETRY)),
)
_MEDIUM_LINES = (_Lines(False, 8246.75321353, 1009002.70582), _Lines(False, 37.0819870399, 130262059.556))

# One half of each line, as (rows, columns) from its middle; the other half mirrors it.
_DENSE_HALVES = (
    ((0, 1), (0, 2), (0, 3), (0, 4)), ((1, 0), (2, 0), (3, 0), (4, 0)), ((1, 1), (2, 2), (3, 3)),
    ((1, -1), (2, -2), (3, -3)), ((1, 0), (2, -1), (3, -1), (4, -1)), ((1, 0), (2, 1), (3, 1), (4, 1)),
    ((0, 1), (1, 2), (1, 3), (1, 4)), ((0, 1), (-1, 2), (-1, 3), (-1, 4)), ((1, 1), (2, 1), (3, 2)),
    ((1, -1), (2, -1), (3, -2)), ((1, 1), (1, 2), (2, 3)), ((1, -1), (1, -2), (2, -3)),
    ((0, 1), (-1, 2), (-1, 3), (-1, 4)), ((0, 1), (1, 2), (1, 3), (1, 4)), ((1, 0), (2, 1), (3, 1), (4, 1)),
    ((1, 0), (2, -1), (3, -1), (4, -1)),
)  # fmt: skip
_SPARSE_HALVES = (
    ((0, 2), (0, 4)), ((2, 0), (4, 0)), ((2, 2), (3, 3)), ((2, -2), (3, -3)), ((2, -1), (4, -1)), ((2, 1), (4, 1)),
    ((1, 2), (1, 4)), ((-1, 2), (-1, 4)), ((2, 1), (3, 2)), ((2, -1), (3, -2)), ((1, 2), (2, 3)), ((1, -2), (2, -3)),
    ((-1, 2), (-2, 4)), ((1, 2), (2, 4)), ((2, 1), (4, 2)), ((2, -1), (4, -2)),
)  # fmt: skip


def butteraugli(original: Tensor, distorted: Tensor) -> Tensor:
    """Butteraugli (N,) of pictures (N, 3, H, W), sRGB 0..1, no side below 8. Differentiable in the distorted ones.

    Mean of the map's 3-, 6- and 12-norm, lower is better: 0 for identical pictures (1e-6, for the gradient's sake),
    about 1 at the threshold of visibility, no upper bound.

    Raises:
        InputError: the sizes differ.
        UnsupportedError: a side is below 8.
    """
    pixels = difference_map(original, distorted).flatten(1)
    peak = pixels.detach().amax(1)  # whose powers would be too small for numbers, or too large
    return peak * _norm(torch.stack([(pixels / peak[:, None]).pow(power).mean(1) for power in _POWERS]))


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 8, on the CPU; range as `butteraugli`.

    It works in strips, so that large pictures take no more memory than small ones.
    """
    height = len(original)
    edges = [*range(0, max(1, height - _STRIP // 2), _STRIP), height]  # none of the strips is narrow

    def score(distorted: Pixels) -> float:
        if np.array_equal(original, distorted):
            return 0.0
        sums = torch.zeros(len(_POWERS), dtype=torch.float64)
        for top, end in itertools.pairwise(edges):
            rows = slice(max(0, top - _HALO), end + _HALO)
            with torch.inference_mode():
                found = difference_map(_batch(original[rows]), _batch(distorted[rows]))
            own = found[0, top - rows.start : end - rows.start].double()
            sums += torch.stack([own.pow(power).sum() for power in _POWERS])
        return float(_norm(sums / original[..., 0].size))

    return score


def _norm(means: Tensor) -> Tensor:
    """Mean of norms: means of powers (3, ...) -> (...)."""
    return torch.stack([mean.pow(1 / power) for power, mean in zip(_POWERS, means, strict=True)]).mean(0)


def difference_map(original: Tensor, distorted: Tensor) -> Tensor:
    """Map of visible differences, (N, H, W); otherwise as `butteraugli`."""
    if original.shape != distorted.shape:
        raise InputError("Butteraugli compares pictures of one size. Give an original and versions of it.")
    height, width = original.shape[2:]
    if min(height, width) < SMALLEST_SIDE:
        raise UnsupportedError(f"Butteraugli needs {SMALLEST_SIDE} pixels a side. Give larger pictures.")
    one, other = _linear(original.detach()), _linear(distorted)
    found = _map(one, other)
    if min(height, width) < 2 * SMALLEST_SIDE - 1:
        return found
    half = _map(_halved(one), _halved(other)).repeat_interleave(2, 1).repeat_interleave(2, 2)
    # Less of what is seen at full size counts, as the smaller picture has less of the noise.
    return (1 - 0.3 * _HALF_WEIGHT) * found + _HALF_WEIGHT * half[:, :height, :width]


def _map(one: Tensor, other: Tensor) -> Tensor:
    """Difference map (N, H, W) of linear light (N, 3, H, W) at one size."""
    with torch.no_grad():
        first = parted(opsin(one))
    second = parted(opsin(other))
    fine = 0.8 * _asymmetric(first.high, second.high, by_channel(_HIGH_WEIGHTS, one))
    fine = fine + _squares(first.medium, second.medium, by_channel(_MEDIUM_WEIGHTS, one))
    for lines, before, after in (
        (_ULTRA_LINES, first.ultra, second.ultra),
        (_HIGH_LINES, first.high, second.high),
        (_MEDIUM_LINES, first.medium, second.medium),
    ):
        for channel, how in enumerate(lines):
            fine = fine + _along_lines(before[:, channel : channel + 1], after[:, channel : channel + 1], how)
    activity, activity_other = _activity(first), _activity(second)
    fine = fine + 10 * (activity - activity_other).square()
    coarse = _LOW_IN_0_7 * _squares(first.low, second.low, by_channel(_LOW_WEIGHTS, one))
    mask = _eroded(activity)
    fine_mask = _masked(mask, 2.5485944793, 0.451936922203, 0.829591754942)
    coarse_mask = _masked(mask, 0.505054525019, 3.87449418804, 0.20025578522)
    return (fine * fine_mask + coarse * coarse_mask + _SMALL).sqrt()[:, 0]


def _squares(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """Weighted squared differences of (N, C, H, W): (N, 1, H, W)."""
    return (weights * (one - other).square()).sum(1, keepdim=True)


def _asymmetric(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """Squared differences, with extra weight on lost (below 0.4 times the original) or added detail: (N, 1, H, W)."""
    size, along = one.abs(), torch.where(one < 0, -other, other)
    beyond = F.relu(0.4 * size - along) + F.relu(along - size)
    return _ASYMMETRY * _squares(one, other, weights) + (weights * beyond.square()).sum(1, keepdim=True) / _ASYMMETRY


def _along_lines(one: Tensor, other: Tensor, how: _Lines) -> Tensor:
    """Squared sums of differences along lines of 16 directions: (N, 1, H, W)."""
    scale = (0.39905817637 if how.dense else 0.611612573796) / (2 * 3.75 + 1) * how.norm
    contrast = how.norm + 0.5 * (one.abs() + other.abs())
    size, sign = one.abs(), torch.where(one < 0, -1.0, 1.0)
    along = sign * other
    beyond = sign * (F.relu(0.55 * size - along) - F.relu(along - 1.05 * size))
    difference = math.sqrt(0.5 * how.weight * how.asymmetry) * (one - other)
    difference = difference + math.sqrt(0.33 * how.weight / how.asymmetry) * beyond
    sums: Tensor = _Sums.apply(scale * difference / contrast, how.dense)  # type: ignore[no-untyped-call]
    return sums.square().sum(1, keepdim=True)


class _Sums(torch.autograd.Function):
    """Sums along a line in each direction, (N, 1, H, W) -> (N, 16, H, W): a convolution with a faster gradient."""

    @staticmethod
    def forward(ctx: Any, planes: Tensor, dense: bool) -> Tensor:
        ctx.dense = dense
        return F.conv2d(planes, _lines(dense).to(planes), padding=4)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        height, width = gradient.shape[2:]
        padded, total = F.pad(gradient, (4, 4, 4, 4)), torch.zeros_like(gradient[:, 0])
        for number, row, column in _lines(ctx.dense)[:, 0].nonzero().tolist():
            total += padded[:, number, row : row + height, column : column + width]
        return total[:, None], None


@cache
def _lines(dense: bool) -> Tensor:
    """Lines as kernels (16, 1, 9, 9)."""
    halves = _DENSE_HALVES if dense else _SPARSE_HALVES
    with torch.inference_mode(False):  # what is kept may be needed for gradients later
        lines = torch.zeros(len(halves), 1, 9, 9)
    lines[:, :, 4, 4] = 1
    for line, half in zip(lines[:, 0], halves, strict=True):
        for row, column in half:
            line[4 + row, 4 + column] = line[4 - row, 4 - column] = 1
    return lines


def _linear(rgb: Tensor) -> Tensor:
    """Linear light, 0..1, of sRGB 0..1."""
    rgb = rgb.clamp(0, 1)
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055).pow(2.4))


def _halved(light: Tensor) -> Tensor:
    """Means of 2x2; a last odd row or column counts twice."""
    height, width = light.shape[2:]
    return F.avg_pool2d(F.pad(light, (0, width % 2, 0, height % 2), mode="replicate"), 2)


def _activity(bands: Bands) -> Tensor:
    """Masking activity (N, 1, H, W): detail that hides differences."""
    x = 2.5 * (bands.ultra[:, :1] + bands.high[:, :1])
    y = 0.4 * (bands.ultra[:, 1:] + bands.high[:, 1:])
    size = (x.square() + y.square() + _SMALL).sqrt()
    bias = 6.19424080439 * 12.61050594197
    return smoothed((6.19424080439 * size + bias).sqrt() - math.sqrt(bias), _SIGMA_MASK)


def _eroded(activity: Tensor) -> Tensor:
    """Soft minimum of the neighbourhood, (N, 1, H, W): beside flat ground nothing masks."""
    height, width = activity.shape[2:]
    padded = F.pad(activity, (3, 3, 3, 3), value=math.inf)
    around = [padded[..., row : row + height, column : column + width] for row in (0, 3, 6) for column in (0, 3, 6)]
    lowest = torch.cat([*around, 2 * activity, 2 * activity], dim=1).topk(3, dim=1, largest=False, sorted=True)[0]
    return torch.einsum("nkhw,k->nhw", lowest, torch.tensor([0.45, 0.3, 0.25]).to(lowest))[:, None]


def _masked(mask: Tensor, multiplier: float, scaler: float, offset: float) -> Tensor:
    return (_SCALE * (1 + multiplier / (scaler * mask + offset))).square()


def _batch(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
