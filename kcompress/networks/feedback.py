"""Feedback: corrects the encoder's input by gains on what the codec lost, as a torch module.

The residual, target less reconstruction, is split by scale in a Laplacian pyramid (Burt and Adelson, IEEE Transactions
on Communications 31, 1983), and every scale has a gain. Coarse scales get positive gains. Rate-distortion optimised
encoders drop a little of every transform's coarse coefficients, which prediction makes cheap to restore. Fine scales
get negative gains: what the codec drops of them costs bits to describe badly. Gains depend on the codec's coarseness,
on local activity and on local luminance.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.colour import JFIF_RGB_TO_YCC
from kcompress.networks.mcu import pointwise

LUMA = 4
"""Scales of luma: details of 1, 2, 4 and 8 pixels. Every codec keeps coarser ones well."""

CHROMA = LUMA - 1
"""Scales of chroma, at half the resolution: details of 2, 4 and 8 pixels."""

GAINS = LUMA + CHROMA
"""Number of gains: of luma, then of chroma, fine to coarse."""

LIMIT = 6 / 255
"""Clamp of chroma's residual, 0..1. More is lost where colours meet, as around coloured text.

Half the resolution cannot hold that, and asking for it in every pass overshoots."""

SLOPES = 4
"""Weights of each gain: its value at middle coarseness, activity and luminance, and its slopes over them."""

UNIT = 0.1
"""Gain that a weight of 1 adds."""

_START = (-1.3, 1.8, 2.8, 2.8, 1.8, 2.8, 2.8)
"""Initial gains in units, about the best on a few pictures before WebP and HEVC."""


class Feedback(nn.Module):
    """The network of 4 * 7 weights: each gain, and its slopes over coarseness, activity and luminance.

    target, reconstruction (N, 3, H, W) -> residual -> YCbCr -> luma pyramid (N, 1, H / 2^s, W / 2^s), s = 0..3
                                                             -> chroma pyramid (N, 2, H / 2^s, W / 2^s), s = 1..3
      -> gain of each scale, by coarseness, activity, luminance -> collapsed pyramids -> RGB change (N, 3, H, W)
    """

    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.tensor([_START, *[(0.0,) * GAINS] * (SLOPES - 1)]))
        to_ycc = torch.tensor(JFIF_RGB_TO_YCC)
        self.register_buffer("to_ycc", to_ycc, persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(to_ycc.double()).float(), persistent=False)

    def forward(self, both: Tensor, coarseness: Tensor) -> Tensor:
        """Change (N, 3, H, W), in units of 0..1, to add to the encoder's input, for a coarseness (N, 1), 0..1.

        ``both`` is (N, 6, H, W), RGB 0..1, sides multiples of 16: the target, then the codec's reconstruction.
        """
        target = both[:, :3]
        residual = target - both[:, 3:]
        half = pointwise(self.to_ycc[:1], halved(target))
        activities, luminances = self._activities(half), self._luminances(half)
        weights = (UNIT * self.gains)[:, None, :, None, None]
        base = weights[0] + weights[1] * (2 * coarseness - 1)[:, :, None, None]

        def amplified(gain: int, detail: Tensor, scale: int) -> Tensor:
            active, light = weights[2, :, gain : gain + 1], weights[3, :, gain : gain + 1]
            slopes: Tensor = active * activities[scale] + light * luminances[scale]
            return detail * (base[:, gain : gain + 1] + slopes)

        luma = pyramid(pointwise(self.to_ycc[:1], residual), LUMA)
        chroma = pyramid(halved(pointwise(self.to_ycc[1:], residual).clamp(-LIMIT, LIMIT)), CHROMA)
        light = collapsed([amplified(scale, detail, scale) for scale, detail in enumerate(luma)])
        colour = collapsed([amplified(LUMA + i, detail, i + 1) for i, detail in enumerate(chroma)])
        return light + doubled(pointwise(self.to_rgb[:, 1:], colour))  # luma is in all channels alike

    def _activities(self, luma: Tensor) -> list[Tensor]:
        """Local activity of luma (N, 1, H / 2, W / 2) on the grid of every scale, fine to coarse.

        Log magnitude of details of 2 pixels: about -1 on flat ground, 1 in strong texture.
        """
        (fine,) = pyramid(luma, 1)
        mean = halved(halved(fine.abs()))
        found = [(torch.log2(1 + 255 * mean) - 1.5).clamp(-1.5, 2.5) / 1.5]
        return self._finer(found)

    def _luminances(self, luma: Tensor) -> list[Tensor]:
        """Local mean of luma (N, 1, H / 2, W / 2) on the grid of every scale, fine to coarse: -1 black, 1 white."""
        return self._finer([2 * halved(halved(luma)) - 1])

    @staticmethod
    def _finer(found: list[Tensor]) -> list[Tensor]:
        """Planes on the grids of every scale, given those on the coarsest."""
        for _ in range(LUMA - 1):
            found.insert(0, doubled(found[0]))
        return found


def pyramid(planes: Tensor, scales: int) -> list[Tensor]:
    """Laplacian pyramid of planes (N, C, H, W) without its coarsest level: (N, C, H / 2^s, W / 2^s), fine to coarse."""
    found = []
    for _ in range(scales):
        coarse = halved(planes)
        found.append(planes - doubled(coarse))
        planes = coarse
    return found


def collapsed(details: list[Tensor]) -> Tensor:
    """Sum of all scales on the grid of the finest."""
    planes = details[-1]
    for detail in reversed(details[:-1]):
        planes = doubled(planes) + detail
    return planes


def halved(planes: Tensor) -> Tensor:
    """Means of 2x2 pixels."""
    return F.avg_pool2d(planes, 2)


def doubled(planes: Tensor) -> Tensor:
    """Bilinear interpolation to twice the sides."""
    return F.interpolate(planes, scale_factor=2.0, mode="bilinear", align_corners=False)
