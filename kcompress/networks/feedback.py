"""Feedback: from what the codec lost of a picture to what its input should have had more or less of, as a torch module.

The loss is parted by scale in a Laplacian pyramid (Burt and Adelson, IEEE Transactions on Communications 31, 1983), and
every scale has a gain. Coarse scales are given back: encoders that weigh bits against errors drop a little of every
transform's coarse coefficients, which is cheap to restore, since the codec predicts from what it has shown. Fine
scales are given up: what the codec drops of them anyway costs bits to describe badly. Gains depend on how coarse the
codec is, and on how much goes on around a pixel.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.networks.mcu import mixed

LUMA = 4
"""Scales: details of 1, 2, 4 and 8 pixels. What is coarser is kept well by every codec, and left alone."""

CHROMA = LUMA - 1
"""Its finest lie below what codecs keep of it at half the resolution."""

GAINS = LUMA + CHROMA
"""Of luma, then of chroma, from fine to coarse."""

LIMIT = 6 / 255
"""Of chroma's error that is answered to. More is lost where colours meet, as around coloured text: half the resolution
cannot hold it, and whoever asks for it again and again overshoots."""

UNIT = 0.1
"""What a weight of 1 adds to a gain."""

_TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
_START = (-0.9, 1.3, 2.0, 2.0, 1.3, 2.0, 2.0)
"""In units: about what did well on a few pictures before WebP and HEVC."""


class Feedback(nn.Module):
    """Of 3 * 7 weights: of each gain, its value, what coarseness adds to it, and what activity adds to it."""

    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gains = nn.Parameter(torch.tensor([_START, (0.0,) * GAINS, (0.0,) * GAINS]))
        self.register_buffer("to_ycc", torch.tensor(_TO_YCC), persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(torch.tensor(_TO_YCC).double()).float(), persistent=False)

    def forward(self, both: Tensor, coarseness: Tensor) -> Tensor:
        """What to add to the encoder's input.

        Args:
            both: (N, 6, H, W), RGB 0..1, sides multiples of 16: the picture as it should be shown, and as the codec
                shows it.
            coarseness: (N, 1), 0..1.

        Returns:
            (N, 3, H, W), in units of 0..1.
        """
        wanted = both[:, :3]
        lost = wanted - both[:, 3:]
        activities = self._activities(mixed(self.to_ycc[:1], halved(wanted)))
        weights = (UNIT * self.gains)[:, None, :, None, None]
        of_setting = weights[0] + weights[1] * (2 * coarseness - 1)[:, :, None, None]

        def scaled(gain: int, detail: Tensor, scale: int) -> Tensor:
            """By a gain, of details on the grid of a scale."""
            return detail * (of_setting[:, gain : gain + 1] + weights[2, :, gain : gain + 1] * activities[scale])

        luma = pyramid(mixed(self.to_ycc[:1], lost), LUMA)
        chroma = pyramid(halved(mixed(self.to_ycc[1:], lost).clamp(-LIMIT, LIMIT)), CHROMA)
        light = collapsed([scaled(scale, detail, scale) for scale, detail in enumerate(luma)])
        colour = collapsed([scaled(LUMA + i, detail, i + 1) for i, detail in enumerate(chroma)])
        return light + doubled(mixed(self.to_rgb[:, 1:], colour))  # luma is in all channels alike

    def _activities(self, luma: Tensor) -> list[Tensor]:
        """How much goes on nearby, of luma (N, 1, H / 2, W / 2), on the grid of every scale of details.

        About -1 on flat ground and 1 in strong texture: a logarithm of details of 2 pixels.
        """
        (fine,) = pyramid(luma, 1)
        mean = halved(halved(fine.abs()))
        found = [(torch.log2(1 + 255 * mean) - 1.5).clamp(-1.5, 2.5) / 1.5]
        for _ in range(LUMA - 1):
            found.insert(0, doubled(found[0]))
        return found


def pyramid(planes: Tensor, scales: int) -> list[Tensor]:
    """Details of planes (N, C, H, W), from fine to coarse, each on a grid half as dense, without what is coarser."""
    found = []
    for _ in range(scales):
        coarse = halved(planes)
        found.append(planes - doubled(coarse))
        planes = coarse
    return found


def collapsed(details: list[Tensor]) -> Tensor:
    """The way back, on the grid of the finest."""
    planes = details[-1]
    for detail in reversed(details[:-1]):
        planes = doubled(planes) + detail
    return planes


def halved(planes: Tensor) -> Tensor:
    """Means of 2x2."""
    return F.avg_pool2d(planes, 2)


def doubled(planes: Tensor) -> Tensor:
    """Linear interpolation."""
    return F.interpolate(planes, scale_factor=2.0, mode="bilinear", align_corners=False)
