"""Pictures as macroblocks of DCT coefficients, and a network that looks at them, as torch modules.

A macroblock is 16x16 pixels of luma and, at half the resolution, 8x8 of Cb and of Cr: 384 coefficients of six 8x8
blocks, JPEG's MCU in 4:2:0. They are the channels; one position is one macroblock, so that the codec's grid is visible,
and context costs little.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import DCT

SIDE = 16
"""Pixels; input sizes are multiples of it."""

COEFFICIENTS = 384
"""Of a macroblock."""

_TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


class Transform(nn.Module):
    """RGB to packed coefficients and back: (N, 3, H, W), 0..1, to (N, 384, H / 16, W / 16), grey levels."""

    kernels: Tensor
    to_ycc: Tensor
    to_rgb: Tensor

    def __init__(self) -> None:
        super().__init__()
        cosines = torch.from_numpy(DCT)
        # Channel 8 u + v of the convolution is the coefficient of vertical frequency u and horizontal v.
        kernels = torch.einsum("uy,vx->uvyx", cosines, cosines).reshape(64, 1, 8, 8)
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("to_ycc", torch.tensor(_TO_YCC), persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(torch.tensor(_TO_YCC).double()).float(), persistent=False)

    def coefficients(self, image: Tensor) -> Tensor:
        """Of pictures."""
        luma = mixed(255 * self.to_ycc[:1], image) - 128
        chroma = F.avg_pool2d(mixed(255 * self.to_ycc[1:], image), 2)
        parts = [F.conv2d(chroma[:, i : i + 1], self.kernels, stride=8) for i in (0, 1)]
        return torch.cat([F.pixel_unshuffle(F.conv2d(luma, self.kernels, stride=8), 2), *parts], dim=1)

    def pixels(self, packed: Tensor) -> Tensor:
        """The way back for differences, which need no offset: RGB in units of 0..1."""
        luma = F.conv_transpose2d(F.pixel_shuffle(packed[:, :256], 2), self.kernels, stride=8)
        parts = [F.conv_transpose2d(packed[:, i : i + 64], self.kernels, stride=8) for i in (256, 320)]
        chroma = torch.cat(parts, dim=1)
        to_rgb = self.to_rgb / 255
        of_chroma = F.interpolate(mixed(to_rgb[:, 1:], chroma), scale_factor=2.0, mode="nearest")
        return of_chroma + mixed(to_rgb[:, :1], luma)


def packed(luma: Tensor, chroma: Tensor) -> Tensor:
    """One value a coefficient of a block, each (N, 64) in row order -> (N, 384, 1, 1)."""
    return torch.cat([luma.repeat_interleave(4, dim=1), chroma, chroma], dim=1)[:, :, None, None]


def parted(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Values (N, 6 C, h, w), C a block, by planes: luma's four blocks (N, C, 4, h, w), Cb and Cr (N, 2, C, h, w)."""
    count, of_all, *size = packed.shape
    each = of_all // 6
    return packed[:, : 4 * each].reshape(count, each, 4, *size), packed[:, 4 * each :].reshape(count, 2, each, *size)


def joined(luma: Tensor, chroma: Tensor) -> Tensor:
    """The way back."""
    return torch.cat([luma.flatten(1, 2), chroma.flatten(1, 2)], dim=1)


def mixed(matrix: Tensor, *parts: Tensor) -> Tensor:
    """Channels (N, C, h, w) by a matrix (D, C): (N, D, h, w). Those of several parts count as put side by side."""
    count, _, height, width = parts[0].shape
    products, first = [], 0
    for part in parts:
        products.append(torch.matmul(matrix[:, first : first + part.shape[1]], part.flatten(2)))
        first += part.shape[1]
    return sum(products[1:], start=products[0]).reshape(count, -1, height, width)


class Context(nn.Module):
    """What surrounds macroblocks, from their features and the coarseness; all it says is 0 before it has learned.

    Args:
        inputs: channels, of all features.
        width: of the network.
        depth: blocks, each of which reaches one macroblock further.
        outputs: channels of each answer.
        units: of each answer.
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

    def entered(self, features: Sequence[Tensor], coarseness: Tensor) -> Tensor:
        """Features (N, inputs in all, h, w), coarseness (N, 1) 0..1 -> what goes through `blocks`, (N, width, h, w)."""
        # Neither the features nor the answers are ever put side by side: that takes longer than the products.
        start: Tensor = self.enter.bias + self.quality(coarseness * 2 - 1)
        return mixed(self.enter.weight[:, :, 0, 0], *features) + start[:, :, None, None]

    def answers(self, x: Tensor) -> list[Tensor]:
        """What has gone through `blocks`, (N, width, h, w) -> answers (N, outputs, h, w)."""
        matrix, bias = self.leave.weight[:, :, 0, 0], self.leave.bias
        assert bias is not None
        answers, first = [], 0
        for count, unit in zip(self._outputs, self._units, strict=True):
            rows = slice(first, first + count)
            answers.append(mixed(unit * matrix[rows], x) + (unit * bias[rows])[:, None, None])
            first += count
        return answers


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
