"""Statistics of a picture's residuals: which filter a picture has been through shows in how its finest details spread.

After Fridrich and Kodovsky, Rich Models for Steganalysis of Digital Images, 2012: residuals of small linear predictors,
how often each size of them occurs, and whether neighbours have one sign. Here nothing is learned.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.colour import JFIF_RGB_TO_YCC

TOKEN = 32
"""Side of the squares whose statistics are given, pixels."""

SIZES = (0.35, 0.7, 1.2, 2.0, 3.2, 5.0, 8.0, 13.0, 22.0, 40.0)
"""Absolute residuals, levels of 0..255, below which the share is told."""

ENERGIES = (-2.0, 0.0, 2.0, 4.0, 6.0)
"""Log energies of coarser residuals of a block, by which `RATIOS` are told apart."""

RATIOS = (-3.0, -2.0, -1.0, -0.3, 0.4, 1.1, 1.8, 2.6)
"""Log ratios of energies of a block's residuals and of those half as fine, below which the share is told."""

_BLOCK = 8
_NEIGHBOURS = ((0, 1), (1, 0), (0, 2))
_SCALES = 2
_DIRECTIONS = 3

CHANNELS = len(JFIF_RGB_TO_YCC) * (
    _DIRECTIONS * (_SCALES * len(SIZES) + len(_NEIGHBOURS)) + _SCALES * len(ENERGIES) * len(RATIOS)
)
"""Statistics of a square."""


def shares(pictures: Tensor) -> Tensor:
    """Statistics of residuals in squares: (N, 3, H, W) RGB 0..1, sides multiples of 32 -> (N, H/32 W/32, CHANNELS).

    All are shares, 0..1, and means over places, so that the mean over squares is that of the picture. They are of
    second differences of Y, Cb and Cr along rows, along columns, and along both: how many are below each of `SIZES`, of
    the picture and of means of 2x2 pixels; how often neighbours have one sign; and for blocks of 8x8 pixels, how
    energies fall from means of 1 to 2 and of 2 to 4 pixels, by the energy of the coarser ones: a blurred texture falls
    otherwise than a smooth wall. Nothing is a convolution, which mixed precision would round.
    """
    red, green, blue = (255 * pictures[:, channel, None].float() for channel in range(3))
    image = torch.cat([r * red + g * green + b * blue for r, g, b in JFIF_RGB_TO_YCC], dim=1)
    found, energies = [], []
    for scale in range(_SCALES + 1):
        along_rows = _second_difference(image, (1, 0))
        along_both = _second_difference(along_rows, (0, 1))
        energies.append(torch.log(F.avg_pool2d(along_both.square(), _BLOCK >> scale) + 0.05))
        if scale < _SCALES:
            along_columns = _second_difference(image, (0, 1))
            residuals = torch.stack([along_rows, along_columns, along_both], dim=2).flatten(1, 2)
            found.append(_sizes(residuals, TOKEN >> scale))
            image = F.avg_pool2d(image, 2)
            if scale == 0:
                found.append(_signs(residuals))
    found += [_falls(fine, coarse) for fine, coarse in pairwise(energies)]
    return torch.cat(found, dim=1).flatten(2).transpose(1, 2)


def _second_difference(image: Tensor, ahead: tuple[int, int]) -> Tensor:
    """Twice a pixel less both neighbours, those ``ahead`` pixels to the right and down, and back; edges go on."""
    right, down = ahead
    wide = F.pad(image, (right, right, down, down), mode="replicate")
    height, width = image.shape[-2:]
    return 2 * image - wide[..., :height, :width] - wide[..., 2 * down :, 2 * right :]


def _sizes(residuals: Tensor, token: int) -> Tensor:
    """Share of a square's residuals below each size, of every fourth of them, which are enough."""
    sizes = torch.log(residuals[..., ::2, ::2].abs() + 0.05)
    shares = [F.avg_pool2d(_below(sizes, math.log(size), 0.5), token // 2) for size in SIZES]
    return torch.cat(shares, dim=1)


def _below(values: Tensor, threshold: float, width: float) -> Tensor:
    """1 far below a threshold, 0 far above, and between along a line."""
    return torch.clamp((threshold - values) / width + 0.5, 0, 1)


def _signs(residuals: Tensor) -> Tensor:
    """Share of neighbours of one sign, by square; residuals below two levels count less."""
    signs = torch.clamp(residuals / 2, -1, 1)
    shares = []
    for down, right in _NEIGHBOURS:
        ahead = F.pad(signs, (0, right, 0, down))[..., down:, right:]
        shares.append(F.avg_pool2d((1 + signs * ahead)[..., ::2, ::2] / 2, TOKEN // 2))
    return torch.cat(shares, dim=1)


def _falls(fine: Tensor, coarse: Tensor) -> Tensor:
    """Share of a square's blocks of each coarse energy whose ratio of energies is below each of `RATIOS`."""
    ratio = fine - coarse
    width = ENERGIES[1] - ENERGIES[0]
    near = [torch.clamp(1 - (coarse - energy).abs() / width, 0, 1) for energy in ENERGIES]
    side = TOKEN // _BLOCK
    return torch.cat([
        F.avg_pool2d(weight * _below(ratio, threshold, 0.8), side) for weight in near for threshold in RATIOS
    ], dim=1)  # fmt: skip
