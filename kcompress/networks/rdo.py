"""RDO: a network that decides which quantised JPEG coefficients are worth their bits, as a torch module.

It sees the DCT coefficients of every MCU (16x16 pixels, 4:2:0) in units of their quantiser step and what bits their
levels cost, and decides for each AC level that is not zero whether it shall fall by one, rise by one or stay. The
picture is then changed so that any standard encoder with these tables quantises to the levels decided on. It starts as
a rule (``condition``) by which none rises, and learns by context: neighbours, masking, runs of zeros. One of its three
outputs a coefficient says whether a higher value would do the picture good, whatever the sign: what errors of others
leave behind is mended by values, not by sizes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kcompress.networks.bits import saved
from kcompress.networks.macroblocks import COEFFICIENTS, SIDE, Context, Transform, packed

MCU = SIDE
"""Pixels a side of what is decided on together; input sizes are multiples of it."""

_SHARPNESS = 20.0
"""Of a decision, per step: 0.05 steps above the threshold the odds are e : 1."""

_REACH = 6.0
"""Of what the context says, in the same units: what it learns in the first steps moves thresholds noticeably."""

_USUAL_BITS = 3.5
"""That a fall saves, where the rule's thresholds are as the condition says; they go with the root of the bits."""

_RISE = 1.1
"""Height above which levels rise before it has learned: none lies there, but some lie near."""

_IMPOSSIBLE = -1e4


class Decisions(NamedTuple):
    """What the network thinks of a batch, all (N, 384, H / 16, W / 16) as ``macroblocks.Transform`` packs them.

    Attributes:
        coefficients: of the picture, in quantiser steps, not rounded.
        falls: scores, positive where the level shall fall by one; very negative where it must stay.
        rises: scores, positive where it shall rise by one, if it does not fall.
    """

    coefficients: Tensor
    falls: Tensor
    rises: Tensor

    @property
    def levels(self) -> Tensor:
        """What the encoder would make of the untouched picture."""
        return self.coefficients.round()

    @property
    def free(self) -> Tensor:
        """Whether it is for the network to decide."""
        return self.falls > _IMPOSSIBLE / 2

    @property
    def decided(self) -> Tensor:
        """The levels decided on."""
        falls, rises = (self.falls > 0).float(), (self.rises > 0).float()
        return self.levels + self.levels.sign() * (rises * (1 - falls) - falls)


class Rdo(nn.Module):
    """The network.

    Shapes: image (N, 3, H, W) RGB 0..1, H and W multiples of 16, and condition (N, 258) of ``networks.condition``
    -> (N, 3, H, W), not rounded, not clamped.

    Args:
        width: channels.
        depth: blocks, each of which reaches one MCU further.
    """

    is_dc: Tensor

    def __init__(self, width: int = 112, depth: int = 4) -> None:
        super().__init__()
        self.transform = Transform()
        self.context = Context(4 * COEFFICIENTS, width, depth, 3 * COEFFICIENTS)
        is_dc = torch.zeros(1, 64, dtype=torch.bool)
        is_dc[:, 0] = True
        self.register_buffer("is_dc", packed(is_dc, is_dc), persistent=False)

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        decisions = self.decide(image, condition)
        return image + self.change(decisions.coefficients, decisions.decided, condition)

    def decide(self, image: Tensor, condition: Tensor) -> Decisions:
        """Coefficients and scores of a picture."""
        steps, rule = self.told(condition)
        coefficients = self.transform.coefficients(image) / steps
        size, levels = coefficients.abs(), coefficients.round()
        # How far above the lower edge of its cell a coefficient lies, 0..1.
        height = size - (size.round() - 0.5)
        bits = saved(levels)
        margin = rule / steps * (bits.clamp(min=0) / _USUAL_BITS).sqrt() - height
        free = (size >= 0.5) & ~self.is_dc & (rule >= 0)
        sign = coefficients.sign()
        # What a coefficient is off by, if the rule decides.
        error = levels - sign * (free & (margin > 0)) - coefficients
        features = torch.cat([sign * torch.log1p(size), error, torch.where(free, margin.clamp(-1, 1), -1.0), bits / 8],
                             dim=1)  # fmt: skip
        falls, rises, higher = (_REACH * self.context(features, condition[:, 256:257])).chunk(3, dim=1)
        falls = falls - sign * higher + _SHARPNESS * margin
        rises = rises + sign * higher + _SHARPNESS * (height - _RISE)
        never = torch.full_like(falls, _IMPOSSIBLE)
        return Decisions(coefficients, torch.where(free, falls, never), torch.where(free, rises, never))

    def change(self, coefficients: Tensor, levels: Tensor, condition: Tensor) -> Tensor:
        """What has to be added to a picture for the encoder to make these levels of it: (N, 3, H, W).

        Pixels are rounded to 8 bits and the encoder rounds again, which moves coefficients by some 0.3 and would undo
        a small change altogether. So a level that changes goes well into its new cell, and all other coefficients are
        pulled towards 0 within theirs: those that would have crossed its upper edge by accident stay.

        An encoder that searches for levels finds no reason to leave one on which the coefficient lies: there they all
        do, and what shall be zero is halved.

        Args:
            coefficients: of the picture, in steps.
            levels: (N, 384, H / 16, W / 16).
            condition: as the network is told.
        """
        steps, rule = self.told(condition)
        searched = condition[:, -1].view(-1, 1, 1, 1)
        before = coefficients.round()
        room = (0.5 - 1.5 / steps).clamp(0.05, 0.3)
        moved = levels + torch.minimum(torch.maximum(coefficients - levels, -room), room)
        pulled = coefficients.sign() * (coefficients.abs() - rule.clamp(min=0) / steps).clamp(min=0)
        placed = torch.where(levels == before, torch.where(pulled.round() == before, pulled, coefficients), moved)
        firm = torch.where((levels == 0) & (before == 0), coefficients / 2, levels)
        fixed = self.is_dc | (rule < 0)
        placed = torch.where(fixed, coefficients, torch.where(searched > 0, firm, placed))
        return self.transform.pixels((placed - coefficients) * steps)

    def told(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Steps and thresholds of a condition (N, 258), each packed: (N, 384, 1, 1)."""
        luma, chroma, rule_luma, rule_chroma, _ = torch.split(condition, [64, 64, 64, 64, 2], dim=1)
        return packed(luma, chroma), packed(rule_luma, rule_chroma)
