"""RDO: a network that decides which quantised JPEG coefficients are worth their bits, as a torch module.

- In: a picture, and a condition: quantisation tables, initial thresholds, quality, kind of encoder (see `condition`).
- Decided: for every nonzero AC level (a DCT coefficient over its quantiser step, rounded) whether its magnitude is
  decremented by one, incremented by one or kept.
- How: the picture goes through JPEG's transform (4:2:0, 8x8 DCT); one position of the network is one MCU, 16x16 pixels.
  Untrained it is a rule: decrement where the coefficient lies less than a threshold above the inner edge of its
  quantisation cell; thresholds grow with the square root of the bits saved. Trained, context of neighbouring MCUs
  (masking, runs of zeros) moves the scores, and scales each block's thresholds by a polynomial of the frequencies.
- Out: the picture, changed so that a standard JPEG encoder with these tables quantises it to the levels decided on.
- Trained for: least ln(rate) at equal metric scores, through a differentiable JPEG, with sampled decisions.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.inference.row_scan import RowScanNetwork
from kcompress.networks.energies import BANDS, TERMS, Energies, ThresholdMap
from kcompress.networks.jpeg_rate import bits_saved
from kcompress.networks.mcu import COEFFICIENTS, SIDE, Context, Transform, pack_tables

MCU = SIDE
"""Side of an MCU, pixels; input sizes are multiples of it."""

_CONTEXT_SCALE = 0.3
"""Output scale of the context network, in quantiser steps. The first optimiser steps already move the thresholds."""

_TYPICAL_BITS = 3.5
"""Bits saved by a typical decrement. There the thresholds of the condition apply as they are."""

_INCREMENT_START = 1.1
"""Initial threshold of increments, steps above the inner edge of the cell: none lies there, but some lie near."""

_INCREMENT_FLOOR = 0.7
"""Lowest position, steps above the inner edge of the cell, that allows an increment, whatever the context says.

In photographs one increment in ten lies below it up to quality 80, one in three at 90. Without it, the context
increments many levels of pictures unlike the training data, such as text, at up to half of the file's cost."""

_MODULATION_LIMIT = 2.0
"""Clamp of the log scale by which each block modulates its thresholds."""

_SMALLEST_STEP = 2.0
"""Smallest quantiser step, grey levels, whose levels may change: below it rounding to 8 bits changes as much."""

_SMALL = 1e-9


class Decisions(NamedTuple):
    """Decisions on a batch, all (N, 384, H / 16, W / 16), channels as in `mcu.Transform`.

    Attributes:
        coefficients: of the picture, in quantiser steps, not rounded.
        sign: of the level, -1, 0 or 1; 0 where the level may not change.
        decrement_scores: positive where the magnitude is decremented by one; distance to the threshold, in steps.
        increment_scores: likewise for an increment; a decrement takes precedence.
    """

    coefficients: Tensor
    sign: Tensor
    decrement_scores: Tensor
    increment_scores: Tensor

    @property
    def levels(self) -> Tensor:
        """Levels of the unchanged picture."""
        return self.coefficients.round()

    @property
    def allowed(self) -> Tensor:
        """Mask of the levels that may change."""
        return self.sign != 0

    @property
    def new_levels(self) -> Tensor:
        """Levels decided on."""
        decrement, increment = (self.decrement_scores > 0).float(), (self.increment_scores > 0).float()
        return self.levels + self.sign * (increment - increment * decrement - decrement)


class Rdo(RowScanNetwork):
    """The network; h = H / 16, w = W / 16.

        image (N, 3, H, W) -> DCT -> coefficients in steps (N, 384, h, w)
          head     coefficients, rule's margins, bits saved, band energies -> features (N, width, h, w)
          context  features -> depth residual blocks, 3x3 MCUs each -> features (N, width, h, w)
          tail     features -> scores of decrements and increments (N, 384, h, w), threshold scales -> new levels
                   new levels -> inverse DCT of the changes -> image + change (N, 3, H, W)

    Shapes: image (N, 3, H, W) RGB 0..1, H and W multiples of 16, and condition (N, 258) of `networks.condition`
    -> (N, 3, H, W), not rounded, not clamped.

    Args:
        width: channels.
        depth: residual blocks; each widens the receptive field by one MCU.
    """

    is_dc: Tensor

    def __init__(self, width: int = 112, depth: int = 4) -> None:
        super().__init__()
        self.transform = Transform()
        self.energies, self.surface = Energies(), ThresholdMap()
        outputs = [COEFFICIENTS, COEFFICIENTS, COEFFICIENTS, 6 * TERMS]
        scales = [_CONTEXT_SCALE, _CONTEXT_SCALE, _CONTEXT_SCALE, 1]
        self.context = Context(4 * COEFFICIENTS + 2 * 6 * BANDS, width, depth, outputs, scales)
        is_dc = torch.zeros(1, 64, dtype=torch.bool)
        is_dc[:, 0] = True
        self.register_buffer("is_dc", pack_tables(is_dc, is_dc), persistent=False)

    def decide(self, image: Tensor, condition: Tensor) -> Decisions:
        """Decisions on pictures (N, 3, H, W), without changing them."""
        features, coefficients, threshold = self.run_head(image, condition)
        return self._decide(condition, self.run_context(features), coefficients, threshold)

    def run_head(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, width, h, w); coefficients in steps and the rule's thresholds, (N, 384, h, w) each."""
        steps, rule = self.unpack_condition(condition)
        grey = self.transform.coefficients(image)
        coefficients = grey * (1 / steps)
        levels, offset, sign = self._locate(coefficients, condition)
        bits = bits_saved(levels)
        threshold = rule / steps / _TYPICAL_BITS**0.5 * F.relu(bits).sqrt()
        margin = sign.abs() * (threshold - offset) - 1
        # Quantisation error if the rule decides.
        error = levels - coefficients - sign * (margin > 0)
        size = coefficients.abs()
        features = [
            coefficients * (torch.log1p(size) / (size + _SMALL)), error, margin.clamp(-1, 1), bits / 8,
            self.energies(grey), self.energies(error * steps),
        ]  # fmt: skip
        return self.context.embed(features, condition[:, 256:257]), coefficients, threshold

    def run_context(self, features: Tensor) -> Tensor:
        around: Tensor = self.context.blocks(features)
        return around

    def run_tail(self, image: Tensor, condition: Tensor, around: Tensor, *kept: Tensor) -> Tensor:
        decisions = self._decide(condition, around, *kept)
        return image + self.pixel_change(decisions.coefficients, decisions.new_levels, condition)

    def _decide(self, condition: Tensor, around: Tensor, coefficients: Tensor, threshold: Tensor) -> Decisions:
        _, offset, sign = self._locate(coefficients, condition)
        decrement, increment, upward, modulation = self.context.predict(around)
        threshold = threshold * self.surface(modulation).clamp(-_MODULATION_LIMIT, _MODULATION_LIMIT).exp()
        # `upward` asks for a higher value, whatever the sign: it mends what errors of other coefficients leave.
        outward = offset + sign * upward
        increment = torch.minimum(increment + (1 - _INCREMENT_START) + outward, offset + (1 - _INCREMENT_FLOOR))
        return Decisions(coefficients, sign, decrement + threshold - 1 - outward, increment)

    def _locate(self, coefficients: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Levels; offsets from the outer edge of the quantisation cell, -1..0 steps; signs as in `Decisions`."""
        levels = coefficients.round()
        return levels, coefficients.abs() - levels.abs() - 0.5, levels.clamp(-1, 1) * self._allowed(condition)

    def _allowed(self, condition: Tensor) -> Tensor:
        """Mask (N, 384, 1, 1) of levels that may change: neither DC, nor chroma of 4:4:4, nor very fine steps."""
        steps, rule = self.unpack_condition(condition)
        return (~self.is_dc & (rule >= 0) & (steps >= _SMALLEST_STEP)).float()

    def pixel_change(self, coefficients: Tensor, levels: Tensor, condition: Tensor) -> Tensor:
        """Change of the picture, (N, 3, H, W), with which the encoder arrives at these levels.

        Pixels are rounded to 8 bits before the encoder, which moves coefficients by some 0.3 steps. So a level that
        changes is placed well inside its new cell. All other coefficients are pulled towards 0 within their cells, so
        that the rounding moves fewer of them across the outer edge.

        Before trellis quantisation all coefficients are placed on their levels, and those that shall be zero are
        halved: the search then finds no reason to move them.

        Args:
            coefficients: of the picture, in steps.
            levels: new ones, (N, 384, H / 16, W / 16).
            condition: as in `forward`.
        """
        steps, rule = self.unpack_condition(condition)
        trellis = condition[:, -1].view(-1, 1, 1, 1)
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
        placed = placed + trellis * (firm - placed)
        return self.transform.pixels(placed * (steps * self._allowed(condition)))

    def unpack_condition(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Condition (N, 258) -> quantiser steps and initial thresholds, (N, 384, 1, 1) each, grey levels."""
        luma, chroma, rule_luma, rule_chroma, _ = torch.split(condition, [64, 64, 64, 64, 2], dim=1)
        return pack_tables(luma, chroma), pack_tables(rule_luma, rule_chroma)
