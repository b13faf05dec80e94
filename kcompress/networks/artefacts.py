"""Artefacts: a compact convolutional preprocessor that is trained through a model of the codec, as a torch module.

The third system ("AI-Based Preprocessing Technologies for JPEG Image Coding") changes pictures before the encoder so
that the decoded picture has the least distortion at a bit rate. Its source describes no network; this one is ours.
"""

import torch
from torch import Tensor, nn

from kcompress.blockdct import thresholds
from kcompress.networks.mcu import COEFFICIENTS, Context, Transform, pack_tables

_CHROMA = 0.5
"""Ratio of chroma's initial thresholds to luma's: of halved chroma, a frequency is half as high."""

_SMALLEST = 0.1
"""Smallest height of the initial thresholds, grey levels, for features are in units of them."""

_LIMIT = 2.0
"""Clamp of the log of the factor by which context scales a threshold."""


class Artefacts(nn.Module):
    """Strided convolutions, residual blocks on 1/16 of the resolution, and a residual that is added to the picture.

        picture (N, 3, H, W) -> 8x8 convolutions of stride 8, the DCT -> coefficients c (N, 384, h, w), h = H / 16
          -> in units of thresholds t(coarseness) -> context of neighbouring MCUs, given the coarseness -> f, g
          -> change = -clamp(c, -t exp(f), t exp(f)) + t g -> transposed convolutions -> picture + change

    Untrained, f and g are 0, and it is a soft threshold (`networks.shrink`).

    Shapes: picture (N, 3, H, W), RGB 0..1, H and W multiples of 16, and coarseness (N, 1), 0 finest .. 1 coarsest
    -> (N, 3, H, W), not clamped.

    Args:
        width: channels of the context.
        depth: residual blocks; each widens the receptive field by one MCU.
        height, power: the initial thresholds are ``height * coarseness ** power`` high, grey levels.
    """

    unit: Tensor
    is_dc: Tensor

    def __init__(self, width: int = 64, depth: int = 3, height: float = 8.0, power: float = 1.0) -> None:
        super().__init__()
        self.transform = Transform()
        self.context = Context(2 * COEFFICIENTS, width, depth, [COEFFICIENTS, COEFFICIENTS], [1, 1])
        self._height, self._power = height, power
        luma = torch.from_numpy(thresholds(1.0)).reshape(1, 64)
        self.register_buffer("unit", pack_tables(luma, _CHROMA * luma), persistent=False)
        self.register_buffer("is_dc", (self.unit == 0).float(), persistent=False)

    def forward(self, picture: Tensor, coarseness: Tensor) -> Tensor:
        """Changed picture."""
        coefficients = self.transform.coefficients(picture)
        height = (self._height * coarseness**self._power).clamp(min=_SMALLEST)
        unit = self.unit * height[:, :, None, None]
        units = coefficients / (unit + self.is_dc)
        size = units.abs()
        around = self.context.blocks(self.context.embed([units.clamp(-1, 1), size.log1p()], coarseness))
        scale, shift = self.context.predict(around)
        limit = unit * scale.clamp(-_LIMIT, _LIMIT).exp()
        kept_out = torch.minimum(torch.maximum(coefficients, -limit), limit)
        changed: Tensor = picture + self.transform.pixels(unit * shift - kept_out)
        return changed
