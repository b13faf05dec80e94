"""RDO: a network that decides which quantised JPEG coefficients are worth their bits, as a torch module.

It sees the DCT coefficients of every MCU (16x16 pixels, 4:2:0) in units of their quantiser step, and decides for each
AC coefficient that does not vanish whether its level shall fall by one. The picture is then changed so that any
standard encoder with these tables quantises to the levels decided on. It starts as the rule of ``networks.shrink``, and
learns by context: neighbours, masking, runs of zeros.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import DCT

MCU = 16
"""Pixels a side of what is decided on together; input sizes are multiples of it."""

_COEFFICIENTS = 6 * 64
"""Of an MCU: four blocks of luma, one each of Cb and Cr."""

_SHARPNESS = 20.0
"""Of the decision, per step: 0.05 steps above the threshold the odds are e : 1."""

_TO_YCC = [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]


class Decisions(NamedTuple):
    """What the network thinks of a batch, all (N, 384, H / 16, W / 16) as packed by ``pack``.

    Attributes:
        coefficients: of the picture, in quantiser steps, not rounded.
        scores: positive where the level shall fall by one; very negative where it must not.
    """

    coefficients: Tensor
    scores: Tensor

    @property
    def levels(self) -> Tensor:
        """What the encoder would make of the untouched picture."""
        return self.coefficients.round()


class _Block(nn.Module):
    """Context from the neighbouring MCUs, then a mix of the channels; adds to its input, nothing at the start."""

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


class Rdo(nn.Module):
    """The network.

    Shapes: image (N, 3, H, W) RGB 0..1, H and W multiples of 16, and condition (N, 257) of ``networks.condition``
    -> (N, 3, H, W), not rounded, not clamped.

    Args:
        width: channels.
        depth: blocks, each of which reaches one MCU further.
    """

    kernels: Tensor
    to_ycc: Tensor
    to_rgb: Tensor
    is_dc: Tensor

    def __init__(self, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3 * _COEFFICIENTS, width, 1)
        self.quality = nn.Sequential(nn.Linear(1, 32), nn.GELU(), nn.Linear(32, width))
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(depth)))
        self.leave = nn.Conv2d(width, _COEFFICIENTS, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        basis = torch.from_numpy(DCT)
        # Channel 8 u + v of the convolution is the coefficient of vertical frequency u and horizontal v.
        kernels = torch.einsum("uy,vx->uvyx", basis, basis).reshape(64, 1, 8, 8)
        self.register_buffer("kernels", kernels, persistent=False)
        self.register_buffer("to_ycc", torch.tensor(_TO_YCC), persistent=False)
        self.register_buffer("to_rgb", torch.linalg.inv(torch.tensor(_TO_YCC).double()).float(), persistent=False)
        is_dc = torch.zeros(64, dtype=torch.bool)
        is_dc[0] = True
        self.register_buffer("is_dc", pack_steps(is_dc.repeat(1, 2)), persistent=False)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        decisions = self.decide(image, condition)
        return image + self.change(decisions, (decisions.scores > 0).float(), condition)

    def decide(self, image: Tensor, condition: Tensor) -> Decisions:
        """Coefficients and scores of a picture."""
        steps, rule = pack_steps(condition[:, :128]), pack_steps(condition[:, 128:256])
        coefficients = self.coefficients(image) / steps
        size = coefficients.abs()
        # How far above the lower edge of its cell a coefficient lies, 0..1.
        height = size - (size.round() - 0.5)
        margin = rule / steps - height
        allowed = (size >= 0.5) & ~self.is_dc
        features = torch.cat([coefficients.sign() * torch.log1p(size), coefficients - coefficients.round(),
                              torch.where(allowed, margin.clamp(-1, 1), -1.0)], dim=1)  # fmt: skip
        x = self.enter(features) + self.quality(condition[:, 256:] * 2 - 1)[:, :, None, None]
        scores = _SHARPNESS * margin + 2 * self.leave(self.blocks(x))
        return Decisions(coefficients, torch.where(allowed, scores, torch.full_like(scores, -1e4)))

    def change(self, decisions: Decisions, falls: Tensor, condition: Tensor) -> Tensor:
        """What has to be added to the picture for the levels to fall where ``falls`` is 1: (N, 3, H, W).

        Pixels are rounded to 8 bits and the encoder rounds again, which moves coefficients by some 0.3 and would undo
        a small change altogether. So a level that falls goes well into its new cell, and all other coefficients are
        pulled towards 0 within theirs: those that would have crossed its upper edge by accident stay.
        """
        steps, rule = pack_steps(condition[:, :128]), pack_steps(condition[:, 128:256]).clamp(min=0)
        before, levels = decisions.coefficients, decisions.levels
        after = levels - levels.sign() * falls
        room = (0.5 - 1.5 / steps).clamp(0.05, 0.3)
        fallen = after + torch.minimum(torch.maximum(before - after, -room), room)
        pulled = before.sign() * (before.abs() - rule / steps).clamp(min=0)
        pulled = torch.where((pulled.round() == levels) & ~self.is_dc, pulled, before)
        return self.pixels((torch.where(falls > 0, fallen, pulled) - before) * steps)

    def coefficients(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) RGB 0..1 -> packed DCT coefficients in grey levels, (N, 384, H / 16, W / 16)."""
        planes = torch.einsum("ij,njhw->nihw", self.to_ycc, image * 255)
        luma = F.conv2d(planes[:, :1] - 128, self.kernels, stride=8)
        chroma = F.avg_pool2d(planes[:, 1:], 2)
        parts = [F.conv2d(chroma[:, i : i + 1], self.kernels, stride=8) for i in (0, 1)]
        return torch.cat([F.pixel_unshuffle(luma, 2), *parts], dim=1)

    def pixels(self, packed: Tensor) -> Tensor:
        """The way back for differences: packed coefficients in grey levels -> (N, 3, H, W) RGB in units of 0..1."""
        luma = F.conv_transpose2d(F.pixel_shuffle(packed[:, :256], 2), self.kernels, stride=8)
        chroma = [F.conv_transpose2d(packed[:, i : i + 64], self.kernels, stride=8) for i in (256, 320)]
        planes = torch.cat([luma, F.interpolate(torch.cat(chroma, dim=1), scale_factor=2.0, mode="nearest")], dim=1)
        return torch.einsum("ij,njhw->nihw", self.to_rgb, planes) / 255


def pack_steps(values: Tensor) -> Tensor:
    """One value a coefficient of luma and of chroma, (N, 128), as packed: (N, 384, 1, 1)."""
    luma, chroma = values[:, :64], values[:, 64:]
    return torch.cat([luma.repeat_interleave(4, dim=1), chroma, chroma], dim=1)[:, :, None, None]
