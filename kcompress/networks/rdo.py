"""RDO: a network that decides which quantised JPEG coefficients are worth their bits, as a torch module.

It sees the DCT coefficients of every MCU (16x16 pixels, 4:2:0) in units of their quantiser step and what bits their
levels cost, and decides for each AC level that is not zero whether it shall fall by one, rise by one or stay. The
picture is then changed so that any standard encoder with these tables quantises to the levels decided on. It starts as
a rule (``condition``) by which none rises, and learns by context: neighbours, masking, runs of zeros. One of its three
outputs a coefficient says whether a higher value would do the picture good, whatever the sign: what errors of others
leave behind is mended by values, not by sizes. A few more outputs a block say how keen it is on bits: they scale all
its thresholds, by a polynomial of the frequencies, so that where errors hide the costly levels go first.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.inference.row_scan import ByRows
from kcompress.networks.energies import BANDS, TERMS, Energies, Surface
from kcompress.networks.jpeg_rate import saved
from kcompress.networks.mcu import COEFFICIENTS, SIDE, Context, Transform, packed

MCU = SIDE
"""Pixels a side of what is decided on together; input sizes are multiples of it."""

_REACH = 0.3
"""Of what the context says, in quantiser steps: what it learns in the first steps moves thresholds noticeably."""

_USUAL_BITS = 3.5
"""That a fall saves, where the rule's thresholds are as the condition says; they go with the root of the bits."""

_RISE = 1.1
"""Height above which levels rise before it has learned: none lies there, but some lie near."""

_LOWEST_RISE = 0.7
"""Height below which none rises, whatever the context says. In photographs one rise in ten lies below up to quality 80,
one in three at 90; of what it has never seen, such as text, its context said so of many, to half of the file's cost."""

_KEENEST = 2.0
"""Of the logarithm by which thresholds are raised or lowered, however many bits are at stake."""

_FINEST = 2.0
"""Of the quantiser's steps, grey levels, at which levels are decided on."""

_SMALL = 1e-9


class Decisions(NamedTuple):
    """What the network thinks of a batch, all (N, 384, H / 16, W / 16) as ``macroblocks.Transform`` packs them.

    Attributes:
        coefficients: of the picture, in quantiser steps, not rounded.
        outwards: the sign of a level, 0 where it is not for the network to decide.
        falls: scores, positive where the level shall fall by one: how far above its threshold, in quantiser steps.
        rises: likewise, where it shall rise by one, if it does not fall.
    """

    coefficients: Tensor
    outwards: Tensor
    falls: Tensor
    rises: Tensor

    @property
    def levels(self) -> Tensor:
        """What the encoder would make of the untouched picture."""
        return self.coefficients.round()

    @property
    def free(self) -> Tensor:
        """Whether it is for the network to decide."""
        return self.outwards != 0

    @property
    def decided(self) -> Tensor:
        """The levels decided on."""
        falls, rises = (self.falls > 0).float(), (self.rises > 0).float()
        return self.levels + self.outwards * (rises - rises * falls - falls)


class Rdo(ByRows):
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
        self.energies, self.surface = Energies(), Surface()
        answers = [COEFFICIENTS, COEFFICIENTS, COEFFICIENTS, 6 * TERMS]
        self.context = Context(4 * COEFFICIENTS + 2 * 6 * BANDS, width, depth, answers, [_REACH, _REACH, _REACH, 1])
        is_dc = torch.zeros(1, 64, dtype=torch.bool)
        is_dc[:, 0] = True
        self.register_buffer("is_dc", packed(is_dc, is_dc), persistent=False)

    def decide(self, image: Tensor, condition: Tensor) -> Decisions:
        """Coefficients and scores of a picture."""
        entered, coefficients, threshold = self.entered(image, condition)
        return self._decided(condition, self.surroundings(entered), coefficients, threshold)

    def entered(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Also coefficients in steps, and the rule's thresholds by the bits at stake, (N, 384, H / 16, W / 16) each."""
        steps, rule = self.told(condition)
        grey = self.transform.coefficients(image)
        coefficients = grey * (1 / steps)
        levels, depth, outwards = self._placed(coefficients, condition)
        bits = saved(levels)
        threshold = rule / steps / _USUAL_BITS**0.5 * F.relu(bits).sqrt()
        margin = outwards.abs() * (threshold - depth) - 1
        # What a coefficient is off by, if the rule decides.
        error = levels - coefficients - outwards * (margin > 0)
        size = coefficients.abs()
        features = [
            coefficients * (torch.log1p(size) / (size + _SMALL)), error, margin.clamp(-1, 1), bits / 8,
            self.energies(grey), self.energies(error * steps),
        ]  # fmt: skip
        return self.context.entered(features, condition[:, 256:257]), coefficients, threshold

    def surroundings(self, entered: Tensor) -> Tensor:
        around: Tensor = self.context.blocks(entered)
        return around

    def left(self, image: Tensor, condition: Tensor, around: Tensor, *kept: Tensor) -> Tensor:
        decisions = self._decided(condition, around, *kept)
        return image + self.change(decisions.coefficients, decisions.decided, condition)

    def _decided(self, condition: Tensor, around: Tensor, coefficients: Tensor, threshold: Tensor) -> Decisions:
        _, depth, outwards = self._placed(coefficients, condition)
        falls, rises, higher, keen = self.context.answers(around)
        threshold = threshold * self.surface(keen).clamp(-_KEENEST, _KEENEST).exp()
        higher = depth + outwards * higher
        rises = torch.minimum(rises + (1 - _RISE) + higher, depth + (1 - _LOWEST_RISE))
        return Decisions(coefficients, outwards, falls + threshold - 1 - higher, rises)

    def _placed(self, coefficients: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Levels; how far above the lower edge of its cell each lies, 0..1, less 1; and which way is outwards."""
        levels = coefficients.round()
        return levels, coefficients.abs() - levels.abs() - 0.5, levels.clamp(-1, 1) * self._allowed(condition)

    def _allowed(self, condition: Tensor) -> Tensor:
        """(N, 384, 1, 1): 1 where levels may change.

        Those of DC may not, nor chroma of full resolution, nor what steps are so fine for that rounding to 8 bits would
        change as much.
        """
        steps, rule = self.told(condition)
        return (~self.is_dc & (rule >= 0) & (steps >= _FINEST)).float()

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
        room, pull = (0.5 - 1.5 / steps).clamp(0.05, 0.3), rule.clamp(min=0) / steps
        moved = levels - coefficients + torch.minimum(torch.maximum(coefficients - levels, -room), room)
        pulled = -torch.minimum(torch.maximum(coefficients, -pull), pull)
        # Products with 0 and 1 instead of choices: half as much work for the runtime that encodes.
        crosses, changes, empty = (
            (coefficients + pulled).round() - before, levels - before, before.abs() + levels.abs()
        )  # fmt: skip
        crosses, changes, empty = (each.abs().clamp(0, 1) for each in (crosses, changes, empty))
        placed = changes * moved + (1 - changes) * (1 - crosses) * pulled
        firm = levels - coefficients * (0.5 + 0.5 * empty)
        placed = placed + searched * (firm - placed)
        return self.transform.pixels(placed * (steps * self._allowed(condition)))

    def told(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Steps and thresholds of a condition (N, 258), each packed: (N, 384, 1, 1)."""
        luma, chroma, rule_luma, rule_chroma, _ = torch.split(condition, [64, 64, 64, 64, 2], dim=1)
        return packed(luma, chroma), packed(rule_luma, rule_chroma)
