"""RDO before codecs whose levels cannot be known from the picture alone, as a torch module.

WebP, HEVC and BPG predict a block from its neighbours and quantise what is left. So instead of levels the network
decides thresholds: how far each coefficient of the picture's own 4x4 block DCT is pulled towards 0. It starts as the
rule of ``networks.shrink``, and learns by context where detail is worth its bits.
"""

import torch
from torch import Tensor, nn

from kcompress.networks.macroblocks import COEFFICIENTS, Context, Transform

BLOCK = 4
"""Side of the transform's blocks: WebP's, and the smallest of HEVC."""

_WEAKEST, _STRONGEST = -5.0, 3.0
"""Powers of two between which a threshold may be changed: from as good as nothing to eight times the rule's."""


class SoftRdo(nn.Module):
    """The network.

    Shapes: image (N, 3, H, W) RGB 0..1, H and W multiples of 16, and condition (N, 33) of ``networks.condition``
    -> (N, 3, H, W), not rounded, not clamped.

    Args:
        width: channels.
        depth: blocks, each of which reaches one macroblock further.
    """

    def __init__(self, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.transform = Transform(BLOCK)
        self.context = Context(3 * COEFFICIENTS, width, depth)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        rule_luma, rule_chroma, coarseness = torch.split(condition, [BLOCK**2, BLOCK**2, 1], dim=1)
        rule = self.transform.packed(rule_luma, rule_chroma)
        coefficients = self.transform.coefficients(image)
        unit = rule_luma.amax(1).clamp(min=0.01)[:, None, None, None]
        size = coefficients.abs() / unit
        features = [coefficients.sign() * torch.log1p(size), (size - rule / unit).clamp(-1, 1), size.clamp(max=4) / 4]
        change = self.context(torch.cat(features, dim=1), coarseness)
        limits = rule * torch.exp2(change.clamp(_WEAKEST, _STRONGEST))
        # What is taken away: as much as the limit, or all that there is.
        taken = torch.minimum(torch.maximum(coefficients, -limits), limits)
        return image - self.transform.pixels(taken)
