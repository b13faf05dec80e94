"""VIF (visual information fidelity) of luma, without credit for enhancement.

Source: Sheikh and Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15 (2006), in the pixel
domain (section IV, remark on implementations), at the four scales of VMAF. Gains g above 1 count as 1, as in VMAF's
NEG models. Flat places of the original count by how flat they stay, as in libvmaf's vif.c.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Pixels

SMALLEST_SIDE = 48
"""Smallest side, pixels: three halvings must leave room for the windows."""

_WINDOWS = (17, 9, 5, 3)
"""Side of the window at each scale; its Gaussian has a fifth of it as standard deviation."""

_SIGMA_N_SQ = 2.0
"""Variance sigma_n^2 of the visual noise, squared levels."""

_FLAT = 4 / 255**2
"""Loss for each squared level of the distorted variance, where the original's is below the noise."""

_SMALL = 1e-10


def vif(original: Tensor, distorted: Tensor) -> Tensor:
    """VIF (N,), mean of the four scales: about 0 (all lost) .. 1 (identical); higher is better. Differentiable.

    Pictures are (N, 3, H, W) sRGB or (N, 1, H, W) luma, floating 0..1, no side below 48. It is not symmetric in them.

    Raises:
        InputError: the sizes differ.
        UnsupportedError: a side is below 48.
    """
    return torch.stack(scales(original, distorted)).mean(0)


def scales(original: Tensor, distorted: Tensor) -> list[Tensor]:
    """Score of every scale, finest first, (N,) each; otherwise as `vif`."""
    if original.shape[2:] != distorted.shape[2:]:
        raise InputError("VIF compares pictures of one size. Give an original and versions of it.")
    if min(original.shape[2:]) < SMALLEST_SIDE:
        raise UnsupportedError(f"VIF needs {SMALLEST_SIDE} pixels a side. Give larger pictures.")
    reference, degraded = _luma(original), _luma(distorted)
    found = []
    for scale, side in enumerate(_WINDOWS):
        window = _gaussian(side).to(reference)
        if scale:
            reference, degraded = (_blurred(plane, window)[..., ::2, ::2] for plane in (reference, degraded))
        found.append(_ratio(reference, degraded, window))
    return found


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 48, on the CPU; range as `vif`."""
    batch = _batch(original)

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            return float(vif(batch, _batch(distorted)))

    return score


def _ratio(reference: Tensor, distorted: Tensor, window: Tensor) -> Tensor:
    """VIF (N,) of one scale of luma planes x and y, (N, 1, H, W): information in the distorted over the reference.

    Model: y = g x + v, v of variance sigma_v^2. VIF = sum log2(1 + g^2 sigma_x^2 / (sigma_v^2 + sigma_n^2)) over
    sum log2(1 + sigma_x^2 / sigma_n^2).
    """
    x, y = reference, distorted
    mu_x, mu_y, xx, yy, xy = _blurred(torch.cat([x, y, x * x, y * y, x * y], dim=1), window).unbind(1)
    sigma_x_sq = (xx - mu_x * mu_x).clamp_min(0)
    sigma_y_sq = (yy - mu_y * mu_y).clamp_min(0)
    sigma_xy = xy - mu_x * mu_y
    g = sigma_xy.clamp_min(0) / (sigma_x_sq + _SMALL)
    sigma_v_sq = (sigma_y_sq - g * sigma_xy).clamp_min(_SMALL)
    numerator = torch.log2(1 + g.clamp_max(1).square() * sigma_x_sq / (sigma_v_sq + _SIGMA_N_SQ))
    denominator = torch.log2(1 + sigma_x_sq / _SIGMA_N_SQ)
    flat = sigma_x_sq < _SIGMA_N_SQ
    numerator = torch.where(flat, 1 - sigma_y_sq * _FLAT, numerator)
    denominator = torch.where(flat, torch.ones_like(denominator), denominator)
    return numerator.flatten(1).sum(1) / denominator.flatten(1).sum(1)


def _blurred(planes: Tensor, window: Tensor) -> Tensor:
    """Gaussian filter of (N, C, H, W), mirrored at the border: same shape."""
    channels, side = planes.shape[1], len(window)
    taps = window.expand(channels, 1, 1, side)
    rows = F.conv2d(F.pad(planes, (side // 2,) * 4, mode="reflect"), taps, groups=channels)
    return F.conv2d(rows, taps.transpose(2, 3), groups=channels)


def _gaussian(side: int) -> Tensor:
    place = torch.arange(side) - side // 2
    weights = torch.exp(-(place.double() ** 2) / (2 * (side / 5) ** 2))
    return weights / weights.sum()


def _luma(batch: Tensor) -> Tensor:
    """Luma (N, 1, H, W) in levels around 0, which keeps variances more exact."""
    if batch.shape[1] == 3:
        red, green, blue = batch.unbind(1)
        batch = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    return 255 * batch - 128


def _batch(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float64))[None] / 255
