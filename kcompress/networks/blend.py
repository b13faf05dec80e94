"""Blend: mixes a bank of filters by weights that it predicts for each pixel, as a torch module.

Its purpose is that of the Kuchen paper, "an optimal solution for each pixel": what is right for sky is wrong for grass.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.networks.feedback import pyramid
from kcompress.networks.filter_bank import FILTERS, FilterBank

CELL = 8
"""Side of the squares for which weights are predicted; between them they are interpolated. A block of JPEG."""

FEATURES = 9
"""Features of a cell."""

CHOICES: tuple[dict[str, float], ...] = (
    {},
    *({name: 1.0} for name in FILTERS),
    *({name: 0.5} for name in FILTERS if "guided" in name),
)
"""Choices of the network: filters with their strengths. The first is to leave the picture as it is."""

_SCALES = 3


class Blend(nn.Module):
    """Predictor on cells of 8x8 pixels, and a bank of filters.

        picture (N, 3, H, W) -> features (N, 9, H/8, W/8) -> 3x3, 3x3 -> + -> 1x1 -> softmax: shares of the choices
        mosaic of the whole  -> features -> 3x3, 3x3 -> mean -> with coarseness, 2 layers -^
        shares -> weights of the filters (N, 12, H/8, W/8) -> bilinear (N, 12, H, W) -> picture + sum of weight * change

    The shares of all choices add up to 1; one of them is the untouched picture. The mosaic lets every tile of a
    picture know what the whole is like: clean or noisy, coded before or not.

    Shapes: picture (N, 3, H, W), RGB 0..1, H and W multiples of 8; mosaic (N, 3, h, w), likewise; coarseness (N, 1),
    0 finest .. 1 coarsest -> (N, 3, H, W), not clamped.
    """

    strengths: Tensor

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.bank = FilterBank()
        self.enter = nn.Conv2d(FEATURES, width, 3, padding=1)
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.whole = nn.Sequential(nn.Linear(width + 1, width), nn.ReLU(), nn.Linear(width, width))
        self.leave = nn.Conv2d(width, len(CHOICES), 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        strengths = np.array([[choice.get(name, 0.0) for choice in CHOICES] for name in FILTERS], np.float32)
        self.register_buffer("strengths", torch.from_numpy(strengths), persistent=False)

    def forward(self, picture: Tensor, mosaic: Tensor, coarseness: Tensor) -> Tensor:
        shares = self.shares(self.features(picture), self.features(mosaic), coarseness)
        cells = F.conv2d(shares, self.strengths[:, :, None, None])
        weights = F.interpolate(cells, scale_factor=float(CELL), mode="bilinear", align_corners=False)
        result = picture
        for number, change in enumerate(self.bank(picture, coarseness)):
            result = result + weights[:, number : number + 1] * change
        return result

    def shares(self, local: Tensor, whole: Tensor, coarseness: Tensor) -> Tensor:
        """Shares of the choices (N, choices, H/8, W/8), which add up to 1, by features of picture and mosaic."""
        around = torch.cat([self._looked(whole).relu().mean((2, 3)), 2 * coarseness - 1], 1)
        found: Tensor = self.leave((self._looked(local) + self.whole(around)[:, :, None, None]).relu())
        return found.softmax(1)

    def _looked(self, features: Tensor) -> Tensor:
        found: Tensor = self.look(self.enter(features).relu())
        return found

    def features(self, picture: Tensor) -> Tensor:
        """Features of the cells (N, FEATURES, H/8, W/8): how light, how active at which scale, how blocky."""
        luma = self.bank.luma(picture)
        details = [detail.abs() for detail in pyramid(luma, _SCALES)]
        colour = pyramid(picture - luma, 1)[0].abs().mean(1, keepdim=True)
        active = [F.avg_pool2d(detail, CELL >> scale) for scale, detail in enumerate(details)]
        quietest = -F.max_pool2d(-F.avg_pool2d(details[0], CELL // 2), 2)
        magnitudes = [*active, quietest, F.max_pool2d(details[0], CELL), F.avg_pool2d(colour, CELL)]
        steps = [_at_edges(luma), _at_edges(luma.transpose(2, 3)).transpose(2, 3)]
        return torch.cat([2 * F.avg_pool2d(luma, CELL) - 1, *(_logarithm(each) - 1 for each in magnitudes), *steps], 1)


def _logarithm(magnitude: Tensor) -> Tensor:
    return torch.log2(1 + 255 * magnitude) / 2


def _at_edges(luma: Tensor) -> Tensor:
    """Steps where cells meet from left to right against those inside of them, logarithmic."""
    steps = (luma - F.pad(luma, (1, 0, 0, 0), mode="replicate")[..., :-1]).abs()
    edges = F.avg_pool2d(steps[..., ::CELL], (CELL, 1))
    inside = (CELL * F.avg_pool2d(steps, CELL) - edges) / (CELL - 1)
    return _logarithm(edges) - _logarithm(inside)
