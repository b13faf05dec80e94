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

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.images import Pixels
from kcompress.inference.constants import constant
from kcompress.metrics import sides
from kcompress.metrics.butteraugli_bands import Bands, opsin, parted, smoothed
from kcompress.metrics.butteraugli_lines import ASYMMETRY, DENSE, SPARSE

SMALLEST_SIDE = 8
"""Smallest side, pixels: lines are 9 long. Where half a side is below 8, the half size is left out."""

_POWERS = (3, 6, 12)

_STRIP, _HALO = 512, 96
"""Rows of a strip, and rows around it: even, and more than the filters' reach at half the size."""

_KEPT_PIXELS = 1 << 20
"""Largest picture whose original is kept prepared, pixels: some 65 bytes each."""

# Squared differences of bands, X, Y, B: asymmetric in the high one, and in the medium and the low one.
_HIGH_WEIGHTS = 0.8 * torch.tensor([400.0, 1.50815703118])[:, None, None]
_MEDIUM_WEIGHTS = torch.tensor([2150.0, 10.6195433239, 16.2176043152])[:, None, None]
_LOW_WEIGHTS = torch.tensor([29.2353797994, 0.844626970982, 0.703646627719])[:, None, None]
_LOW_WEIGHTS /= 1.05**2  # these weights are of later versions: measured against the program of 0.7 by shifts of grey

_SIGMA_MASK = 2.7
_LOWEST = torch.tensor([0.45, 0.3, 0.25])  # shares of the three lowest values of a neighbourhood
_SCALE = 1 / (17.8 * 0.79079917404)  # what is just good enough becomes 1
_HALF_WEIGHT = 0.5  # of the picture at half the size
_SMALL = 1e-12  # under roots, whose slope is infinite at 0


class Reference:
    """Original, prepared for comparison with any number of distorted versions."""

    def __init__(self, original: Tensor) -> None:
        """Prepare (N, 3, H, W) sRGB 0..1, no side below 8.

        Raises:
            UnsupportedError: a side is below 8.
        """
        self._size = sides.of_original("Butteraugli", original, SMALLEST_SIDE)
        with torch.no_grad():
            light = _linear(original)
            self._whole = _Scale.of(light)
            self._half = _Scale.of(_halved(light)) if min(self._size) >= 2 * SMALLEST_SIDE - 1 else None

    def score(self, distorted: Tensor) -> Tensor:
        """Butteraugli (N,) of distorted pictures as the original. Differentiable.

        Mean of the map's 3-, 6- and 12-norm, lower is better: 0 for identical pictures (1e-6, for the gradient's
        sake), about 1 at the threshold of visibility, no upper bound.

        Raises:
            InputError: the sizes differ.
        """
        pixels = self.map(distorted).flatten(1)
        peak = pixels.detach().amax(1)  # whose powers would be too small for numbers, or too large
        return peak * _norm(torch.stack([(pixels / peak[:, None]).pow(power).mean(1) for power in _POWERS]))

    def map(self, distorted: Tensor) -> Tensor:
        """Map of visible differences, (N, H, W); otherwise as `score`."""
        sides.check_equal("Butteraugli", self._size, distorted)
        height, width = self._size
        light = _linear(distorted)
        found = self._whole.map(light)
        if self._half is None:
            return found
        half = self._half.map(_halved(light)).repeat_interleave(2, 1).repeat_interleave(2, 2)
        # Less of what is seen at full size counts, as the smaller picture has less of the noise.
        return (1 - 0.3 * _HALF_WEIGHT) * found + _HALF_WEIGHT * half[:, :height, :width]


def butteraugli(original: Tensor, distorted: Tensor) -> Tensor:
    """Butteraugli (N,) of two batches of pictures; shapes and range as in `Reference.score`."""
    return Reference(original).score(distorted)


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 8, on the CPU; range as `Reference.score`.

    It works in strips, so that large pictures take no more memory than small ones.
    """
    height = len(original)
    edges = [*range(0, max(1, height - _STRIP // 2), _STRIP), height]  # none of the strips is narrow
    strips = [slice(max(0, top - _HALO), end + _HALO) for top, end in itertools.pairwise(edges)]

    def reference(rows: slice) -> Reference:
        with torch.inference_mode():
            return Reference(_batch(original[rows]))

    # The originals of large pictures are prepared anew for each score: kept, they would take too much memory.
    kept = [reference(rows) for rows in strips] if original[..., 0].size <= _KEPT_PIXELS else None

    def score(distorted: Pixels) -> float:
        if np.array_equal(original, distorted):
            return 0.0
        sums = torch.zeros(len(_POWERS), dtype=torch.float64)
        for known, rows, (top, end) in zip(
            kept or map(reference, strips), strips, itertools.pairwise(edges), strict=True
        ):
            with torch.inference_mode():
                found = known.map(_batch(distorted[rows]))
            own = found[0, top - rows.start : end - rows.start].double()
            sums += torch.stack([own.pow(power).sum() for power in _POWERS])
        return float(_norm(sums / original[..., 0].size))

    return score


def _norm(means: Tensor) -> Tensor:
    """Mean of norms: means of powers (3, ...) -> (...)."""
    return torch.stack([mean.pow(1 / power) for power, mean in zip(_POWERS, means, strict=True)]).mean(0)


@dataclass(frozen=True)
class _Scale:
    """The original at one size: bands, masking activity, and what that leaves of fine and coarse differences."""

    bands: Bands
    activity: Tensor
    fine: Tensor
    coarse: Tensor

    @classmethod
    def of(cls, light: Tensor) -> "_Scale":
        """The scale that linear light (N, 3, H, W) has."""
        bands = parted(opsin(light))
        activity = _activity(bands)
        mask = _eroded(activity)
        fine = _masked(mask, 2.5485944793, 0.451936922203, 0.829591754942)
        return cls(bands, activity, fine, _masked(mask, 0.505054525019, 3.87449418804, 0.20025578522))

    def map(self, light: Tensor) -> Tensor:
        """Difference map (N, H, W) of distorted linear light (N, 3, H, W)."""
        first, second = self.bands, parted(opsin(light))
        fine = _asymmetric(first.high, second.high, constant(_HIGH_WEIGHTS, light))
        fine = fine + _squares(first.medium, second.medium, constant(_MEDIUM_WEIGHTS, light))
        fine = fine + DENSE.energy(first.ultra, second.ultra)
        sparse = (torch.cat([bands.high, bands.medium[:, :2]], 1) for bands in (first, second))
        fine = fine + SPARSE.energy(*sparse)
        fine = fine + 10 * (self.activity - _activity(second)).square()
        coarse = _squares(first.low, second.low, constant(_LOW_WEIGHTS, light))
        return (fine * self.fine + coarse * self.coarse + _SMALL).sqrt()[:, 0]


def _squares(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """Weighted squared differences of (N, C, H, W): (N, 1, H, W)."""
    return (weights * (one - other).square()).sum(1, keepdim=True)


def _asymmetric(one: Tensor, other: Tensor, weights: Tensor) -> Tensor:
    """Squared differences, with extra weight on lost (below 0.4 times the original) or added detail: (N, 1, H, W)."""
    bounds = 0.4 * one, one
    beyond = torch.minimum(torch.maximum(other, torch.minimum(*bounds)), torch.maximum(*bounds)) - other
    return _squares(one, other, ASYMMETRY * weights) + _squares(beyond, torch.zeros_like(one), weights / ASYMMETRY)


def _linear(rgb: Tensor) -> Tensor:
    """Linear light, 0..1, of sRGB 0..1."""
    rgb = rgb.clamp(0, 1)
    return torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp_min(0.04045) + 0.055) / 1.055).pow(2.4))


def _halved(light: Tensor) -> Tensor:
    """Means of 2x2; a last odd row or column counts twice."""
    height, width = light.shape[2:]
    # Not padded, as that has no deterministic gradient on CUDA.
    light = torch.cat([light, light[:, :, -1:]], 2) if height % 2 else light
    return F.avg_pool2d(torch.cat([light, light[..., -1:]], 3) if width % 2 else light, 2)


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
    return torch.einsum("nkhw,k->nhw", lowest, constant(_LOWEST, lowest))[:, None]


def _masked(mask: Tensor, multiplier: float, scaler: float, offset: float) -> Tensor:
    return (_SCALE * (1 + multiplier / (scaler * mask + offset))).square()


def _batch(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
