"""RDO: a network that decides which quantised JPEG coefficients are worth their bits, as a torch module.

- In: a picture, and a condition (`networks.condition`): quantisation tables, initial thresholds, coarseness of the
  quality setting, and whether the encoder does trellis quantisation.
- Decided: for every nonzero AC level (a DCT coefficient over its quantiser step, rounded) whether its magnitude is
  decremented by one, incremented by one or kept.
- How: the picture goes through JPEG's transform (4:2:0, 8x8 DCT); one position of the network is one MCU, 16x16 pixels.
  A cell is the interval of coefficients that round to one level; its inner edge is the one nearer to 0.
  Untrained the network is a rule: decrement where the coefficient lies less than a threshold above the inner edge.
  Thresholds grow with the square root of the bits saved.
  Trained, the context of neighbouring MCUs (masking, runs of zeros) shifts every decision, and scales the thresholds
  of each block by the exponential of a polynomial in the two frequencies.
- Out: the picture, changed so that a standard JPEG encoder with these tables quantises it to the levels decided on.
  Rounding to 8 bits makes it miss a few in a hundred.
- Trained for: least ln(rate) at equal metric scores, through a differentiable JPEG. Training samples the decisions by
  their scores; here the sign of a score decides.
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
"""Side of an MCU, pixels; H and W of the input are multiples of it."""

_CONTEXT_SCALE = 0.3
"""Scale of the context network's outputs, in quantiser steps: large enough for training to move decisions at once."""

_TYPICAL_BITS = 3.5
"""Bits saved by a typical decrement. Its threshold is the condition's; others grow with the root of the bits."""

_INCREMENT_START = 1.1
"""Initial threshold of increments, steps above the inner edge of the cell.

A cell is one step wide, so untrained nothing is incremented; but many coefficients lie near, so training can begin."""

_INCREMENT_FLOOR = 0.7
"""Lowest position, steps above the inner edge of the cell, that allows an increment, whatever the context says.

It is for pictures unlike the training data. When it was put in, a page of small text took 2 and 4 % more bits at equal
SSIMULACRA2 (quality 75 and 90); without it 10 and 46 %. In photographs it forbids one increment in ten up to quality
80, one in three at 90."""

_PULL = 0.6
"""Farthest that coefficients whose level stays are pulled towards 0, as a share of the initial threshold.

At a whole one photographs lose 0.1 to 1 % by each of eight metrics, drawn pages up to 2 %; at 0.3 Butteraugli
and IW-SSIM lose."""

_MODULATION_LIMIT = 2.0
"""Clamp of the log of the factor by which the context scales a threshold: the factor is within exp(-2)..exp(2)."""

_SMALLEST_STEP = 2.0
"""Smallest quantiser step, grey levels, whose levels may change: at finer ones 8-bit rounding changes as many."""

_SMALL = 1e-9


class Decisions(NamedTuple):
    """Decisions on a batch, all (N, 384, H / 16, W / 16), channels in the order of `mcu.COEFFICIENTS`.

    Attributes:
        coefficients: of the picture, in quantiser steps, not rounded.
        sign: of the level, -1 or 1; 0 where the level may not change, so that its scores do not count.
        decrement_scores: distance below the threshold, in steps; the magnitude is decremented where it is positive.
        increment_scores: distance above the threshold of increments; where both are positive, it is decremented.
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
    """The network; h = H / 16, w = W / 16. Head and tail see each MCU alone, the context its neighbours too.

        image (N, 3, H, W) -> DCT -> coefficients in steps (N, 384, h, w)
          head     coefficients, error and margin of the rule, bits saved, band energies -> features (N, width, h, w)
          context  features -> residual blocks, each over 3x3 MCUs -> features (N, width, h, w)
          tail     features -> scores of decrements and increments (N, 384, h, w), threshold scales -> new levels
                   new levels -> inverse DCT of the changes -> image + change (N, 3, H, W)

    Shapes: image (N, 3, H, W) RGB 0..1, H and W multiples of 16, and condition (N, 258) of `networks.condition`
    -> (N, 3, H, W) RGB, neither rounded nor clamped.

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
        """Decisions on pictures (N, 3, H, W), for callers that place the levels themselves."""
        features, coefficients, threshold = self.run_head(image, condition)
        return self._decide(condition, self.run_context(features), coefficients, threshold)

    def coefficients(self, image: Tensor, condition: Tensor) -> Tensor:
        """Coefficients (N, 384, h, w) of pictures (N, 3, H, W), in steps, not rounded."""
        steps, _ = self.unpack_condition(condition)
        return self.transform.coefficients(image) * (1 / steps)

    def run_head(self, image: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features (N, width, h, w); for the tail, in steps, coefficients and the rule's thresholds, (N, 384, h, w)."""
        steps, rule = self.unpack_condition(condition)
        grey = self.transform.coefficients(image)
        coefficients = grey * (1 / steps)
        levels, offset, sign = self._locate(coefficients, condition)
        bits = bits_saved(levels)
        threshold = rule / steps / _TYPICAL_BITS**0.5 * F.relu(bits).sqrt()
        margin = sign.abs() * (threshold - offset) - 1
        # Quantisation error, in steps, if the rule decides.
        error = levels - coefficients - sign * (margin > 0)
        size = coefficients.abs()
        # The first feature is sign(c) ln(1 + |c|). The energies are the picture's and the error's, in grey levels.
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
        # Positions count from the inner edge: 1 + offset. `upward` moves the signed coefficient, not its magnitude, so
        # that it can offset errors of other coefficients.
        outward = offset + sign * upward
        increment = torch.minimum(increment + (1 - _INCREMENT_START) + outward, offset + (1 - _INCREMENT_FLOOR))
        return Decisions(coefficients, sign, decrement + threshold - 1 - outward, increment)

    def _locate(self, coefficients: Tensor, condition: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Levels; offsets from the cell's outer edge, -1 (inner edge) to 0 steps; signs as in `Decisions`."""
        levels = coefficients.round()
        return levels, coefficients.abs() - levels.abs() - 0.5, levels.clamp(-1, 1) * self.allowed(condition)

    def allowed(self, condition: Tensor, *, dc: bool = False) -> Tensor:
        """Mask (N, 384, 1, 1) of levels that may change: neither chroma of 4:4:4 nor very fine steps, DC if asked for.

        Negative initial thresholds tell 4:4:4, where the transform would see chroma of half the resolution.
        """
        steps, rule = self.unpack_condition(condition)
        fit = (rule >= 0) & (steps >= _SMALLEST_STEP)
        return (fit if dc else fit & ~self.is_dc).float()

    def pixel_change(self, coefficients: Tensor, levels: Tensor, condition: Tensor, *, dc: bool = False) -> Tensor:
        """Change of the picture, (N, 3, H, W), with which the encoder arrives at these levels.

        Pixels are rounded to 8 bits before the encoder, which moves coefficients by some 0.3 grey levels. So where a
        level changes, the coefficient is placed well inside the new cell. Every other coefficient is pulled towards 0,
        by `_PULL` initial thresholds at most, unless it would leave its cell. Then fewer cross the outer edge by
        rounding.

        A trellis searches levels instead of rounding. Before it all coefficients are placed on their levels, and those
        whose level was and stays 0 are halved: the search then finds no reason to move them.

        Args:
            coefficients: of the picture, in steps.
            levels: new ones, (N, 384, H / 16, W / 16).
            condition: (N, 258), of `networks.condition`.
            dc: whether levels of DC may have changed.
        """
        steps, rule = self.unpack_condition(condition)
        trellis = condition[:, -1].view(-1, 1, 1, 1)
        before = coefficients.round()
        room, pull = (0.5 - 1.5 / steps).clamp(0.05, 0.3), _PULL * rule.clamp(min=0) / steps
        moved = levels - coefficients + torch.minimum(torch.maximum(coefficients - levels, -room), room)
        pulled = -torch.minimum(torch.maximum(coefficients, -pull), pull)
        # Masks are numbers, and choices are products with them: half as much work in ONNX Runtime.
        crosses, changes, nonzero = (
            (coefficients + pulled).round() - before, levels - before, before.abs() + levels.abs()
        )  # fmt: skip
        crosses, changes, nonzero = (each.abs().clamp(0, 1) for each in (crosses, changes, nonzero))
        placed = changes * moved + (1 - changes) * (1 - crosses) * pulled
        firm = levels - coefficients * (0.5 + 0.5 * nonzero)
        placed = placed + trellis * (firm - placed)
        return self.transform.pixels(placed * (steps * self.allowed(condition, dc=dc)))

    def unpack_condition(self, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Condition (N, 258) -> quantiser steps and initial thresholds, (N, 384, 1, 1) each, grey levels."""
        luma, chroma, rule_luma, rule_chroma, _ = torch.split(condition, [64, 64, 64, 64, 2], dim=1)
        return pack_tables(luma, chroma), pack_tables(rule_luma, rule_chroma)
