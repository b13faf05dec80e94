"""Butteraugli's bands: opsin dynamics and frequency decomposition, in torch.

Source: as `metrics.butteraugli`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.inference.constants import constant
from kcompress.metrics.filters import filtered, gaussian

_NITS = 80.0

# Rows: how the cones take linear R, G, B, and what they see in the dark.
_ABSORBANCE = torch.tensor([
    [0.29956550340058319, 0.63373087833825936, 0.077705617820981968],
    [0.22158691104574774, 0.69391388044116142, 0.0987313588422],
    [0.02, 0.02, 0.20480129041026129],
])  # fmt: skip
_DARK = torch.tensor([1.7557483643287353, 1.7557483643287353, 12.226454707163354])[:, None, None]

# Sigmas of the low-pass filters between the bands: of light, and of low, below medium, below high frequencies.
_SIGMA_OPSIN, _SIGMA_LOW, _SIGMA_MEDIUM, _SIGMA_HIGH = 1.2, 7.15593339443, 3.22489901262, 1.56416327805

_LOW_UNITS = torch.tensor([33.832837186260, 14.458268100570, 49.87984651440])[:, None, None]
_Y_IN_B = -0.362267051518


@dataclass(frozen=True)
class Bands:
    """Frequency bands of X, Y, B, (N, 3, H, W) each; the upper two (N, 2, H, W), without B, which is invisible there.

    The low one is scaled so that squares can be added.
    """

    low: Tensor
    medium: Tensor
    high: Tensor
    ultra: Tensor


def opsin(light: Tensor) -> Tensor:
    """Opsin dynamics (N, 3, H, W): linear RGB -> X (red less green), Y (their sum), B, adapted to the surroundings."""
    light = _NITS * light
    absorbance, dark = constant(_ABSORBANCE, light), constant(_DARK, light)

    def seen(rgb: Tensor) -> Tensor:
        return torch.einsum("ij,njhw->nihw", absorbance, rgb) + dark

    around = torch.maximum(seen(smoothed(light, _SIGMA_OPSIN)), dark)
    sensitivity = (19.245013259874995 * torch.log(around + 9.9710635769299145) - 23.16046239805755) / around
    long, medium, short = torch.maximum(seen(light) * sensitivity.clamp_min(1e-4), dark).unbind(1)
    return torch.stack([long - medium, long + medium, short], dim=1)


def parted(xyb: Tensor) -> Bands:
    """Bands of X, Y, B (N, 3, H, W): X is attenuated where Y has contrast, and invisible amplitudes are removed."""
    low = smoothed(xyb, _SIGMA_LOW)
    rest = xyb - low
    x, y, b = low.unbind(1)
    low = torch.stack([x, y, b + _Y_IN_B * y], dim=1) * constant(_LOW_UNITS, xyb)
    medium = smoothed(rest, _SIGMA_MEDIUM)
    high_x, high_y = (rest - medium)[:, :2].unbind(1)
    # Differences of red and green are less visible where there is contrast.
    high_x = high_x * (0.653020556257 + (1 - 0.653020556257) * 46 / (high_y.square() + 46))
    high = torch.stack([high_x, high_y], dim=1)
    x, y, b = medium.unbind(1)
    medium = torch.stack([_without_noise(x, 0.29), _amplified(y, 0.1), b], dim=1)
    x, y = smoothed(high, _SIGMA_HIGH).unbind(1)
    y = _limited(y, 28.4691806922)
    ultra_x, ultra_y = _without_noise(high_x - x, 0.04), 2.69313763794 * _limited(high_y - y, 5.19175294647)
    high = torch.stack([_without_noise(x, 1.5), _amplified(2.155 * y, 0.132)], dim=1)
    return Bands(low, medium, high, torch.stack([ultra_x, ultra_y], dim=1))


def _without_noise(values: Tensor, width: float) -> Tensor:
    return F.softshrink(values, width)


def _amplified(values: Tensor, width: float) -> Tensor:
    return values + values.clamp(-width, width)


def _limited(values: Tensor, limit: float) -> Tensor:
    inside = values.clamp(-limit, limit)
    return inside + 0.724216145665 * (values - inside)


def smoothed(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of (N, C, H, W), cut off at 2.25 sigma, renormalised at the border."""
    return _along(_along(planes, sigma, 3), sigma, 2)


def _along(planes: Tensor, sigma: float, axis: int) -> Tensor:
    reach = max(1, int(2.25 * sigma))
    taps, length = gaussian(sigma, reach), planes.shape[axis]
    if reach == 2:  # the one size that mirrors at the border
        ends = planes.narrow(axis, 0, 2).flip(axis), planes.narrow(axis, length - 2, 2).flip(axis)
        return filtered(torch.cat([ends[0], planes, ends[1]], dim=axis), axis, taps)
    beyond = [reach, reach] if axis == 3 else [0, 0, reach, reach]
    ones = planes.new_ones([length if each == axis else 1 for each in range(4)])
    return filtered(F.pad(planes, beyond), axis, taps) / filtered(F.pad(ones, beyond), axis, taps)
