"""Butteraugli's bands: opsin dynamics and frequency decomposition, in torch.

Source: as `metrics.butteraugli`.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

_NITS = 80.0

# Rows: how the cones take linear R, G, B, and what they see in the dark.
_ABSORBANCE = (
    (0.29956550340058319, 0.63373087833825936, 0.077705617820981968),
    (0.22158691104574774, 0.69391388044116142, 0.0987313588422),
    (0.02, 0.02, 0.20480129041026129),
)
_DARK = (1.7557483643287353, 1.7557483643287353, 12.226454707163354)

# Sigmas of the low-pass filters between the bands: of light, and of low, below medium, below high frequencies.
_SIGMA_OPSIN, _SIGMA_LOW, _SIGMA_MEDIUM, _SIGMA_HIGH = 1.2, 7.15593339443, 3.22489901262, 1.56416327805

_LOW_UNITS = (33.832837186260, 14.458268100570, 49.87984651440)
_Y_IN_B = -0.362267051518

_BLOCK = 128
"""Number of samples that are filtered at a time."""


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
    absorbance, dark = torch.tensor(_ABSORBANCE).to(light), by_channel(_DARK, light)

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
    low = torch.stack([x, y, b + _Y_IN_B * y], dim=1) * by_channel(_LOW_UNITS, xyb)
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


def by_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Values as a tensor (C, 1, 1)."""
    return torch.tensor(values).to(like)[:, None, None]


def smoothed(planes: Tensor, sigma: float) -> Tensor:
    """Gaussian filter of (N, C, H, W), cut off at 2.25 sigma, renormalised at the border."""
    return _along_rows(_along_rows(planes, sigma).transpose(2, 3), sigma).transpose(2, 3)


def _along_rows(planes: Tensor, sigma: float) -> Tensor:
    """Filter along rows by matrix products, whose gradients are much faster than those of depthwise convolutions."""
    reach, length = max(1, int(2.25 * sigma)), planes.shape[3]
    rest = -length % _BLOCK
    if reach == 2:  # the one size that mirrors at the border
        ends = planes[..., :2].flip(3), planes[..., -2:].flip(3)
        padded = F.pad(torch.cat([ends[0], planes, ends[1]], dim=3), (0, rest))
        inside = planes.new_ones(1)
    else:
        padded = F.pad(planes, (reach, reach + rest))
        inside = _filtered(F.pad(planes.new_ones(1, length), (reach, reach + rest)), reach, sigma)[:, :length]
    return _filtered(padded, reach, sigma)[..., :length] / inside


def _filtered(padded: Tensor, reach: int, sigma: float) -> Tensor:
    """Filter padded rows, (..., blocks + 2 reach) -> (..., blocks)."""
    return (padded.unfold(-1, _BLOCK + 2 * reach, _BLOCK) @ _taps(reach, sigma).to(padded)).flatten(-2)


@cache
def _taps(reach: int, sigma: float) -> Tensor:
    """Taps as a banded matrix (block + 2 reach, block)."""
    with torch.inference_mode(False):  # what is kept may be needed for gradients later
        distance = torch.arange(_BLOCK + 2 * reach)[:, None] - reach - torch.arange(_BLOCK)
        taps = torch.exp(-distance.double().square() / (2 * sigma**2)) * (distance.abs() <= reach)
        return (taps / taps.sum(0)).float()
