"""Filters that `blend` mixes, as torch modules: all differentiable, and cheap beside a network."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import basis, thresholds
from kcompress.colour import JFIF_RGB_TO_YCC
from kcompress.networks.mcu import pointwise

HEIGHTS = (6.0, 12.0, 20.0)
"""Heights of the thresholds of ``shrink`` at coarseness 1, grey levels; in series it is the second."""

FILTERS = (
    "blur:s=0.5", "guided:s=2:h=6", "guided:s=2:h=12", "guided:s=4:h=6", "guided:s=4:h=12", "guided:s=8:h=6",
    "chroma:s=2",
    *(f"shrink:t={height:g}c" for height in HEIGHTS),
    *(f"{first}+shrink:t={HEIGHTS[1]:g}c" for first in ("guided:s=2:h=6", "guided:s=4:h=12")),
)  # fmt: skip
"""By the names that the pool of `label` would give them, but for two kinds.

``guided`` has one strength for all channels. The height of ``shrink`` is in proportion to the codec's coarseness c,
since what is worth its bits at JPEG 85 is not at 50.
"""

_BLOCK = 8


class FilterBank(nn.Module):
    """Changes by each filter: picture (N, 3, H, W), RGB 0..1, and coarseness (N, 1) -> one (N, 3, H, W) a filter.

    H and W are multiples of 8. Edges are repeated. The filters reach 16 pixels far.
    """

    to_ycc: Tensor
    to_rgb: Tensor
    dct: Tensor
    limits: Tensor

    def __init__(self) -> None:
        super().__init__()
        to_ycc = torch.tensor(JFIF_RGB_TO_YCC)
        self.register_buffer("to_ycc", to_ycc, persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(to_ycc.double()).float(), persistent=False)
        two_sided = np.einsum("ux,vy->uvxy", basis(_BLOCK), basis(_BLOCK)).reshape(_BLOCK**2, 1, _BLOCK, _BLOCK)
        self.register_buffer("dct", torch.from_numpy(two_sided), persistent=False)
        limits = torch.from_numpy(thresholds(1 / 255, _BLOCK)).reshape(1, -1, 1, 1)
        self.register_buffer("limits", limits, persistent=False)

    def forward(self, image: Tensor, coarseness: Tensor) -> tuple[Tensor, ...]:
        colour = gaussian(image, 2.0) - image
        fine, fine_strong = _guided(image, 2, 6, 12)
        wide, wide_strong = _guided(image, 4, 6, 12)
        return (
            gaussian(image, 0.5) - image,
            fine,
            fine_strong,
            wide,
            wide_strong,
            *_guided(image, 8, 6),
            colour - self.luma(colour),
            *self._shrunk(image, coarseness, *HEIGHTS),
            *(change + self._shrunk(image + change, coarseness, HEIGHTS[1])[0] for change in (fine, wide_strong)),
        )

    def luma(self, image: Tensor) -> Tensor:
        """Luma (N, 1, H, W) of RGB."""
        return pointwise(self.to_ycc[:1], image)

    def _shrunk(self, image: Tensor, coarseness: Tensor, *heights: float) -> list[Tensor]:
        """Changes by soft thresholds in the DCT of 8x8 blocks of Y, Cb and Cr, for each height at coarseness 1."""
        count, channels, height, width = image.shape
        planes = pointwise(self.to_ycc, image).reshape(count * channels, 1, height, width)
        coefficients = F.conv2d(planes, self.dct, stride=_BLOCK)
        unit = (coarseness.reshape(-1, 1, 1, 1) * self.limits).repeat_interleave(channels, 0)
        changes = []
        for each in heights:
            limits = each * unit
            taken = torch.maximum(torch.minimum(coefficients, limits), -limits)
            change = -F.conv_transpose2d(taken, self.dct, stride=_BLOCK)
            changes.append(pointwise(self.to_rgb, change.reshape(count, channels, height, width)))
        return changes


def gaussian(planes: Tensor, deviation: float) -> Tensor:
    """Planes (N, C, H, W) after a Gaussian of a standard deviation in pixels, cut off at three of them."""
    radius = int(np.ceil(3 * deviation))
    weights = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * deviation**2))
    return _smoothed(planes, weights / weights.sum())


def _guided(image: Tensor, radius: int, *heights: float) -> list[Tensor]:
    """Changes by guided filters with the picture as their own guide, strongest below contrasts in grey levels.

    He, Sun and Tang (PAMI 2013, equations 5, 6 and 8), with the mean variance of the three channels for each of them.
    """
    square = np.full(2 * radius + 1, 1 / (2 * radius + 1))
    centred = image - 0.5  # products of smaller numbers are more exact
    mean = _smoothed(centred, square)
    variance = (_smoothed(_mean(centred.square()), square) - _mean(mean.square())).relu()
    kept = [(height / 255) ** 2 / (variance + (height / 255) ** 2) for height in heights]
    return [_smoothed(each * mean, square) - _smoothed(each, square) * centred for each in kept]


def _mean(image: Tensor) -> Tensor:
    return image.mean(1, keepdim=True)


def _smoothed(planes: Tensor, weights: NDArray[np.float64]) -> Tensor:
    """Convolution along rows and columns; as a mean by pooling it would take ten times as long in ONNX Runtime."""
    channels, radius = planes.shape[1], len(weights) // 2
    kernel = torch.from_numpy(weights.astype(np.float32)).to(planes).repeat(channels, 1, 1)
    padded = F.pad(planes, (radius,) * 4, mode="replicate")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=channels)
    return F.conv2d(across, kernel[:, :, :, None], groups=channels)
