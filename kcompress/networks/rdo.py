"""RDO: a network that decides which quantised JPEG coefficients are worth their bits, as a torch module.

It sees the DCT coefficients of every MCU (16x16 pixels, 4:2:0) in units of their quantiser step, and decides for each
AC coefficient that does not vanish whether its level shall fall by one. The picture is then changed so that any
standard encoder with these tables quantises to the levels decided on. It starts as a rule (``condition``), and
learns by context: neighbours, masking, runs of zeros.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kcompress.networks.macroblocks import COEFFICIENTS, SIDE, Context, Transform, packed

MCU = SIDE
"""Pixels a side of what is decided on together; input sizes are multiples of it."""

_SHARPNESS = 20.0
"""Of the decision, per step: 0.05 steps above the threshold the odds are e : 1."""

_REACH = 6.0
"""Of what the context says, in the same units: what it learns in the first steps moves thresholds noticeably."""


class Decisions(NamedTuple):
    """What the network thinks of a batch, all (N, 384, H / 16, W / 16) as ``macroblocks.Transform`` packs them.

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


class Rdo(nn.Module):
    """The network.

    Shapes: image (N, 3, H, W) RGB 0..1, H and W multiples of 16, and condition (N, 257) of ``networks.condition``
    -> (N, 3, H, W), not rounded, not clamped.

    Args:
        width: channels.
        depth: blocks, each of which reaches one MCU further.
    """

    is_dc: Tensor

    def __init__(self, width: int = 128, depth: int = 4) -> None:
        super().__init__()
        self.transform = Transform()
        self.context = Context(3 * COEFFICIENTS, width, depth)
        is_dc = torch.zeros(1, 64, dtype=torch.bool)
        is_dc[:, 0] = True
        self.register_buffer("is_dc", packed(is_dc, is_dc), persistent=False)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        decisions = self.decide(image, condition)
        return image + self.change(decisions, (decisions.scores > 0).float(), condition)

    def decide(self, image: Tensor, condition: Tensor) -> Decisions:
        """Coefficients and scores of a picture."""
        steps, rule = self.told(condition)
        coefficients = self.transform.coefficients(image) / steps
        size = coefficients.abs()
        # How far above the lower edge of its cell a coefficient lies, 0..1.
        height = size - (size.round() - 0.5)
        margin = rule / steps - height
        allowed = (size >= 0.5) & ~self.is_dc
        features = torch.cat([coefficients.sign() * torch.log1p(size), coefficients - coefficients.round(),
                              torch.where(allowed, margin.clamp(-1, 1), -1.0)], dim=1)  # fmt: skip
        scores = _SHARPNESS * margin + _REACH * self.context(features, condition[:, 256:])
        return Decisions(coefficients, torch.where(allowed, scores, torch.full_like(scores, -1e4)))

    def change(self, decisions: Decisions, falls: Tensor, condition: Tensor) -> Tensor:
        """What has to be added to the picture for the levels to fall where ``falls`` is 1: (N, 3, H, W).

        Pixels are rounded to 8 bits and the encoder rounds again, which moves coefficients by some 0.3 and would undo
        a small change altogether. So a level that falls goes well into its new cell, and all other coefficients are
        pulled towards 0 within theirs: those that would have crossed its upper edge by accident stay.
        """
        steps, rule = self.told(condition)
        rule = rule.clamp(min=0)
        before, levels = decisions.coefficients, decisions.levels
        after = levels - levels.sign() * falls
        room = (0.5 - 1.5 / steps).clamp(0.05, 0.3)
        fallen = after + torch.minimum(torch.maximum(before - after, -room), room)
        pulled = before.sign() * (before.abs() - rule / steps).clamp(min=0)
        pulled = torch.where((pulled.round() == levels) & ~self.is_dc, pulled, before)
        return self.transform.pixels((torch.where(falls > 0, fallen, pulled) - before) * steps)

    def told(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Steps and thresholds of a condition (N, 257), each packed: (N, 384, 1, 1)."""
        luma, chroma, rule_luma, rule_chroma, _ = torch.split(condition, [64, 64, 64, 64, 1], dim=1)
        return packed(luma, chroma), packed(rule_luma, rule_chroma)
