"""Pictures as macroblocks of DCT coefficients, and a network that looks at them, as torch modules.

A macroblock is 16x16 pixels of luma and, at half the resolution, 8x8 of Cb and of Cr: 384 coefficients, whatever the
size of the blocks of the transform. They are the channels; one position is one macroblock, so that the codec's grid is
visible, and context costs little.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import basis

SIDE = 16
"""Pixels; input sizes are multiples of it."""

COEFFICIENTS = 384
"""Of a macroblock."""

_TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


class Transform(nn.Module):
    """RGB to packed coefficients and back: (N, 3, H, W), 0..1, to (N, 384, H / 16, W / 16), grey levels.

    Args:
        block: side of the blocks, 4 or 8.
    """

    kernels: Tensor
    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self, block: int) -> None:
        super().__init__()
        self.block = block
        cosines = torch.from_numpy(np.ascontiguousarray(basis(block)))
        # Channel block * u + v of the convolution is the coefficient of vertical frequency u and horizontal v.
        kernels = torch.einsum("uy,vx->uvyx", cosines, cosines).reshape(block**2, 1, block, block)
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("to_ycc", torch.tensor(_TO_YCC), persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(torch.tensor(_TO_YCC).double()).float(), persistent=False)

    def coefficients(self, image: Tensor) -> Tensor:
        """Of pictures."""
        planes = torch.einsum("ij,njhw->nihw", self.to_ycc, image * 255)
        chroma = F.avg_pool2d(planes[:, 1:], 2)
        parts = [self._packed(planes[:, :1] - 128, SIDE), *(self._packed(chroma[:, i : i + 1], 8) for i in (0, 1))]
        return torch.cat(parts, dim=1)

    def pixels(self, packed: Tensor) -> Tensor:
        """The way back for differences, which need no offset: RGB in units of 0..1."""
        luma = self._plane(packed[:, :256], SIDE)
        chroma = torch.cat([self._plane(packed[:, i : i + 64], 8) for i in (256, 320)], dim=1)
        planes = torch.cat([luma, F.interpolate(chroma, scale_factor=2.0, mode="nearest")], dim=1)
        return torch.einsum("ij,njhw->nihw", self.to_rgb, planes) / 255

    def packed(self, luma: Tensor, chroma: Tensor) -> Tensor:
        """One value a coefficient of a block, each (N, block^2) in row order -> (N, 384, 1, 1)."""
        parts = [part.repeat_interleave((side // self.block) ** 2, dim=1) for part, side in ((luma, SIDE), (chroma, 8))]
        return torch.cat([parts[0], parts[1], parts[1]], dim=1)[:, :, None, None]

    def _packed(self, plane: Tensor, side: int) -> Tensor:
        """A plane (N, 1, h, w), and the pixels a side that a macroblock has in it."""
        coefficients = F.conv2d(plane, self.kernels, stride=self.block)
        return F.pixel_unshuffle(coefficients, side // self.block) if side > self.block else coefficients

    def _plane(self, packed: Tensor, side: int) -> Tensor:
        coefficients = F.pixel_shuffle(packed, side // self.block) if side > self.block else packed
        return F.conv_transpose2d(coefficients, self.kernels, stride=self.block)


class Context(nn.Module):
    """Features of macroblocks (N, inputs, h, w) and the coarseness (N, 1), 0..1 -> one number a coefficient.

    All numbers are 0 before it has learned.

    Args:
        inputs: channels.
        width: of the network.
        depth: blocks, each of which reaches one macroblock further.
    """

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(inputs, width, 1)
        self.quality = nn.Sequential(nn.Linear(1, 32), nn.GELU(), nn.Linear(32, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.leave = nn.Conv2d(width, COEFFICIENTS, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, coarseness: Tensor) -> Tensor:
        x = self.enter(features) + self.quality(coarseness * 2 - 1)[:, :, None, None]
        y: Tensor = self.leave(self.blocks(x))
        return y


class _Block(nn.Module):
    """Context from the neighbours, then a mix of the channels; adds to its input, nothing at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.narrow(F.gelu(self.widen(self.look(x))))
        return y
