"""Pictures as MCUs of DCT coefficients, and a context network over them, as torch modules.

JPEG's MCU (minimum coded unit) in 4:2:0 is 16x16 pixels: four 8x8 blocks of luma, one of Cb and one of Cr, 384
coefficients. They are the channels, and one position is one MCU. So the codec's grid is visible, and context is cheap.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import DCT
from kcompress.colour import JFIF_RGB_TO_YCC

SIDE = 16
"""Side of an MCU, pixels; input sizes are multiples of it."""

COEFFICIENTS = 384
"""Coefficients of an MCU, the channels of everything packed: 256 of luma, 64 of Cb, 64 of Cr.

Channel 4 k + b is coefficient k (row order) of luma's block b; then come Cb's and Cr's in row order."""


class Transform(nn.Module):
    """JPEG's transform without quantisation, and its inverse.

        RGB (N, 3, H, W) -> YCbCr -> chroma halved to (N, 2, H / 2, W / 2) -> 8x8 DCT -> (N, 384, H / 16, W / 16)

    RGB is 0..1, coefficients are in grey levels.
    """

    kernels: Tensor
    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self) -> None:
        super().__init__()
        cosines = torch.from_numpy(DCT)
        # Channel 8 u + v of the convolution is the coefficient of vertical frequency u and horizontal v.
        kernels = torch.einsum("uy,vx->uvyx", cosines, cosines).reshape(64, 1, 8, 8)
        self.register_buffer("kernels", kernels, persistent=False)
        to_ycc = torch.tensor(JFIF_RGB_TO_YCC)
        self.register_buffer("to_ycc", to_ycc, persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(to_ycc.double()).float(), persistent=False)

    def coefficients(self, image: Tensor) -> Tensor:
        """Coefficients (N, 384, H / 16, W / 16) of pictures (N, 3, H, W)."""
        luma = pointwise(255 * self.to_ycc[:1], image) - 128
        chroma = F.avg_pool2d(pointwise(255 * self.to_ycc[1:], image), 2)
        parts = [F.conv2d(chroma[:, i : i + 1], self.kernels, stride=8) for i in (0, 1)]
        return torch.cat([F.pixel_unshuffle(F.conv2d(luma, self.kernels, stride=8), 2), *parts], dim=1)

    def pixels(self, packed: Tensor) -> Tensor:
        """Inverse for differences, which need no offset: (N, 384, h, w) -> (N, 3, 16 h, 16 w) in units of 0..1."""
        luma = F.conv_transpose2d(F.pixel_shuffle(packed[:, :256], 2), self.kernels, stride=8)
        parts = [F.conv_transpose2d(packed[:, i : i + 64], self.kernels, stride=8) for i in (256, 320)]
        chroma = torch.cat(parts, dim=1)
        to_rgb = self.to_rgb / 255
        of_chroma = F.interpolate(pointwise(to_rgb[:, 1:], chroma), scale_factor=2.0, mode="nearest")
        return of_chroma + pointwise(to_rgb[:, :1], luma)


def pack_tables(luma: Tensor, chroma: Tensor) -> Tensor:
    """Tables of one value a coefficient, (N, 64) each in row order -> (N, 384, 1, 1)."""
    return torch.cat([luma.repeat_interleave(4, dim=1), chroma, chroma], dim=1)[:, :, None, None]


def split_planes(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Packed values (N, 6 C, h, w), C a block -> luma's four blocks (N, C, 4, h, w), Cb and Cr (N, 2, C, h, w)."""
    count, of_all, *size = packed.shape
    each = of_all // 6
    return packed[:, : 4 * each].reshape(count, each, 4, *size), packed[:, 4 * each :].reshape(count, 2, each, *size)


def join_planes(luma: Tensor, chroma: Tensor) -> Tensor:
    """Inverse of `split_planes`."""
    return torch.cat([luma.flatten(1, 2), chroma.flatten(1, 2)], dim=1)


def pointwise(matrix: Tensor, *parts: Tensor) -> Tensor:
    """1x1 convolution of (N, C, h, w) with a matrix (D, C): (N, D, h, w). Several parts count as concatenated."""
    count, _, height, width = parts[0].shape
    products, first = [], 0
    for part in parts:
        products.append(torch.matmul(matrix[:, first : first + part.shape[1]], part.flatten(2)))
        first += part.shape[1]
    return sum(products[1:], start=products[0]).reshape(count, -1, height, width)


class Context(nn.Module):
    """Context network over MCUs, conditioned on coarseness; its outputs are 0 before training.

        features (N, inputs, h, w) + coarseness (N, 1) -> embed -> (N, width, h, w) -> blocks -> predict -> outputs

    Args:
        inputs: channels of all features together.
        width: channels inside.
        depth: residual blocks; each widens the receptive field by one MCU.
        outputs: channels of each output.
        units: scale of each output.
    """

    def __init__(self, inputs: int, width: int, depth: int, outputs: Sequence[int], units: Sequence[float]) -> None:
        super().__init__()
        self._outputs, self._units = list(outputs), units
        self.enter = nn.Conv2d(inputs, width, 1)
        self.quality = nn.Sequential(nn.Linear(1, 32), nn.GELU(), nn.Linear(32, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.leave = nn.Conv2d(width, sum(outputs), 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def embed(self, features: Sequence[Tensor], coarseness: Tensor) -> Tensor:
        """Input of `blocks`, (N, width, h, w), from features (N, C, h, w) each and coarseness (N, 1) 0..1."""
        # No tensor of all features, or of all outputs, is ever made: that takes longer than the products.
        start: Tensor = self.enter.bias + self.quality(coarseness * 2 - 1)
        return pointwise(self.enter.weight[:, :, 0, 0], *features) + start[:, :, None, None]

    def predict(self, x: Tensor) -> list[Tensor]:
        """Outputs, (N, C, h, w) each, from the output of `blocks`, (N, width, h, w)."""
        matrix, bias = self.leave.weight[:, :, 0, 0], self.leave.bias
        assert bias is not None
        outputs, first = [], 0
        for count, unit in zip(self._outputs, self._units, strict=True):
            rows = slice(first, first + count)
            outputs.append(pointwise(unit * matrix[rows], x) + (unit * bias[rows])[:, None, None])
            first += count
        return outputs


class _Block(nn.Module):
    """Residual block: 3x3 depthwise convolution, then an MLP over channels; adds nothing before training."""

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
