"""VIF: how much of what luma's detail tells is still told, without credit for what was enhanced.

Source: Sheikh and Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15 (2006), in the pixel
domain (section IV, remark on implementations) and at the four scales that VMAF takes it at; gains above 1 count as 1,
as in VMAF's NEG models. What lies flat in the original counts by how flat it stays, as in libvmaf's vif.c.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Pixels

SMALLEST_SIDE = 48
"""Three halvings must leave the windows room."""

_WINDOWS = (17, 9, 5, 3)
"""Sides by scale; their Gaussians are a fifth of it wide."""

_NOISE = 2.0
"""Variance of the eye's own noise, squared levels."""

_FLAT = 4 / 255**2
"""Of a variance, where the original lies below the noise."""

_SMALL = 1e-10


def vif(original: Tensor, distorted: Tensor) -> Tensor:
    """Compare distorted pictures with the original.

    Args:
        original: (N, 3, H, W) sRGB or (N, 1, H, W) luma, floating 0..1, no side below 48.
        distorted: the same.

    Returns:
        (N,), mean of the four scales: 1 for identical pictures, about 0 where nothing is left. Differentiable.

    Raises:
        InputError: the sizes differ.
        UnsupportedError: a side is below 48.
    """
    return torch.stack(scales(original, distorted)).mean(0)


def scales(original: Tensor, distorted: Tensor) -> list[Tensor]:
    """The score of every scale, finest first, each (N,); otherwise as `vif`."""
    if original.shape[2:] != distorted.shape[2:]:
        raise InputError("VIF compares pictures of one size. Give an original and versions of it.")
    if min(original.shape[2:]) < SMALLEST_SIDE:
        raise UnsupportedError(f"VIF needs {SMALLEST_SIDE} pixels a side. Give larger pictures.")
    one, other = _luma(original), _luma(distorted)
    found = []
    for scale, side in enumerate(_WINDOWS):
        window = _gaussian(side).to(one)
        if scale:
            one, other = (_blurred(plane, window)[..., ::2, ::2] for plane in (one, other))
        found.append(_ratio(one, other, window))
    return found


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """A function that scores distorted pixels (H, W, 3) against the original's, on the CPU; no side below 48."""
    batch = _batch(original)

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            return float(vif(batch, _batch(distorted)))

    return score


def _ratio(one: Tensor, other: Tensor, window: Tensor) -> Tensor:
    """Information of luma planes (N, 1, H, W): what is still told to what was."""
    planes = torch.cat([one, other, one * one, other * other, one * other], dim=1)
    mean, mean_other, square, square_other, product = _blurred(planes, window).unbind(1)
    variance = (square - mean * mean).clamp_min(0)
    variance_other = (square_other - mean_other * mean_other).clamp_min(0)
    covariance = product - mean * mean_other
    gain = covariance.clamp_min(0) / (variance + _SMALL)
    rest = (variance_other - gain * covariance).clamp_min(_SMALL)
    told = torch.log2(1 + gain.clamp_max(1).square() * variance / (rest + _NOISE))
    whole = torch.log2(1 + variance / _NOISE)
    flat = variance < _NOISE
    told = torch.where(flat, 1 - variance_other * _FLAT, told)
    whole = torch.where(flat, torch.ones_like(whole), whole)
    return told.flatten(1).sum(1) / whole.flatten(1).sum(1)


def _blurred(planes: Tensor, window: Tensor) -> Tensor:
    """(N, C, H, W) -> the same size, mirrored at the border."""
    channels, side = planes.shape[1], len(window)
    taps = window.expand(channels, 1, 1, side)
    rows = F.conv2d(F.pad(planes, (side // 2,) * 4, mode="reflect"), taps, groups=channels)
    return F.conv2d(rows, taps.transpose(2, 3), groups=channels)


def _gaussian(side: int) -> Tensor:
    place = torch.arange(side) - side // 2
    weights = torch.exp(-(place.double() ** 2) / (2 * (side / 5) ** 2))
    return weights / weights.sum()


def _luma(batch: Tensor) -> Tensor:
    """(N, 1, H, W) levels around 0, which keeps variances more exact."""
    if batch.shape[1] == 3:
        red, green, blue = batch.unbind(1)
        batch = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    return 255 * batch - 128


def _batch(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float64))[None] / 255
