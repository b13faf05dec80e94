"""MS-SSIM over R, G and B: structural similarity at five scales. Scores equal those of the package pytorch-msssim.

Source: Wang, Simoncelli and Bovik, "Multi-scale structural similarity for image quality assessment", Asilomar 2003:
its weights, a Gaussian window of 11x11 and sigma 1.5, K1 = 0.01, K2 = 0.03, mean of the three channels.
"""

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.images import Pixels
from kcompress.metrics import sides
from kcompress.metrics.filters import gaussian, windowed

SMALLEST_SIDE = 161  # four halvings must leave the window room

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, finest first; they add up to 1."""

_WINDOW = gaussian(1.5, 5)
_C1, _C2 = 0.01**2, 0.03**2
_SMALL = 1e-8  # under roots, whose slope is infinite at 0


class Reference:
    """Original, prepared for comparison with any number of distorted versions."""

    def __init__(self, original: Tensor) -> None:
        """Prepare (N, 3, H, W) sRGB, floating 0..1, no side below 161.

        Raises:
            UnsupportedError: a side is below 161.
        """
        self._size = sides.of_original("MS-SSIM", original, SMALLEST_SIDE)
        self._scales = [_Scale(planes) for planes in _pyramid(original)]

    def score(self, distorted: Tensor) -> Tensor:
        """MS-SSIM (N,): 1 for identical pictures, about 0 where no structure is left. Differentiable.

        Raises:
            InputError: the sizes differ.
        """
        sides.check_equal("MS-SSIM", self._size, distorted)
        pairs = zip(self._scales, _pyramid(distorted), strict=True)
        *structures, (last, luminance) = [scale.similarity(planes) for scale, planes in pairs]
        means = [structure.mean((2, 3)) for structure, _ in structures] + [(last * luminance).mean((2, 3))]
        powers = [mean.clamp_min(_SMALL) ** exponent for mean, exponent in zip(means, _EXPONENTS, strict=True)]
        return functools.reduce(torch.mul, powers).mean(1)


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 161, on the CPU; range as `Reference.score`."""
    with torch.inference_mode():
        reference = Reference(_batch(original))

    def score(distorted: Pixels) -> float:
        if np.array_equal(original, distorted):
            return 1.0
        with torch.inference_mode():
            return float(reference.score(_batch(distorted)))

    return score


class _Scale:
    """Local moments of the original at one scale."""

    def __init__(self, x: Tensor) -> None:
        self._x, self._mean = x, windowed(x, _WINDOW)
        self._variance = windowed(x * x, _WINDOW) - self._mean**2

    def similarity(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """SSIM's contrast and structure term, and its luminance term, (N, 3, H - 10, W - 10) each."""
        mean_x, mean_y = self._mean, windowed(y, _WINDOW)
        variances = self._variance + windowed(y * y, _WINDOW) - mean_y**2
        covariance = windowed(self._x * y, _WINDOW) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        return (2 * covariance + _C2) / (variances + _C2), luminance


def _pyramid(planes: Tensor) -> list[Tensor]:
    """The five scales, each of means of 2x2; odd sides are filled up with zeros, as in the package."""
    scales = [planes]
    for _ in _EXPONENTS[1:]:
        scales.append(F.avg_pool2d(scales[-1], 2, padding=[side % 2 for side in scales[-1].shape[2:]]))
    return scales


def _batch(pixels: Pixels) -> Tensor:
    """(1, 3, H, W) float32, 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))[None] / 255
