"""Recipe of the RDO network, and what quality it can be trained for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from kcompress.metrics.butteraugli import butteraugli
from kcompress.metrics.psnr_hvs_m import masked_error
from kcompress.metrics.ssimulacra2 import ssimulacra2
from kcompress.metrics.vif import vif

Score = Callable[[Tensor, Tensor], Tensor]


def _psnr_hvs_m(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, finite where nothing of a difference is seen."""
    return -10 * torch.log10(masked_error(original, distorted) / 255**2 + 1e-7)


def _psnr(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, finite where nothing was lost."""
    return -10 * torch.log10((original - distorted).square().flatten(1).mean(1) + 1e-7)


def _vif(original: Tensor, distorted: Tensor) -> Tensor:
    return 100 * vif(original, distorted)


def _butteraugli(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, higher for better."""
    return -butteraugli(original, distorted)


SCORES: dict[str, Score] = {
    "ssimulacra2": ssimulacra2, "butteraugli": _butteraugli, "psnr-hvs-m": _psnr_hvs_m, "psnr": _psnr, "vif": _vif,
}  # fmt: skip
"""Of two batches (N, 3, H, W) 0..1: (N,), higher is better, differentiable; VIF in per cent."""


def slope(paid: float, gained: float, limits: tuple[float, float]) -> float:
    """What a codec pays for a unit of score: ln(rate) for what it gained, within limits; the upper one for nothing."""
    low, high = limits
    return min(max(paid / gained, low), high) if gained > 0 else high


@dataclass(frozen=True)
class RdoRecipe:
    """How the network is trained.

    Attributes:
        width: channels.
        depth: blocks.
        steps: optimiser steps.
        batch: patches a step.
        patches: that are cut and measured before the first step.
        side: of a patch, pixels, a multiple of 16; SSIMULACRA2 has its six scales from 256 on, and with fewer its
            weights fall on other features, so that what smaller patches teach is not what is measured.
        lowest: quality.
        highest: quality.
        mozjpeg: share of the pictures that are learned from as mozjpeg would code them: by its tables, with the levels
            that are decided on, as the way that coefficients are placed keeps its trellis from others.
        objective: what the scores count, by name; 1 in all.
        learning_rate: highest of AdamW; half a cosine brings it down to nothing.
        warmup: steps in which it rises.
        averaging: of the exponential average of the weights, which is what ships.
        exact_from: share of the steps after which precision is float32: all of them.
        validate_every: steps between validations.
        validation_pictures: held-out pictures to validate with, at most.
        split: share of the pictures to train on, drawn by their sha256; the others are held out.
        seed: of patches, weights and decisions.
        start: weights that the training starts from, as ``name sha256``; empty for the rule.
    """

    width: int = 112
    depth: int = 4
    steps: int = 2_000
    batch: int = 4
    patches: int = 1_200
    side: int = 256
    lowest: int = 30
    highest: int = 92
    mozjpeg: float = 0.0
    objective: Mapping[str, float] = field(default_factory=lambda: {"ssimulacra2": 0.5, "butteraugli": 0.3, "vif": 0.2})
    learning_rate: float = 7e-4
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.0
    validate_every: int = 500
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
    start: str = ""
