"""Recipe of the RDO network, and what quality it can be trained for."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from kcompress.metrics.psnr_hvs_m import masked_error
from kcompress.metrics.ssimulacra2 import ssimulacra2

Score = Callable[[Tensor, Tensor], Tensor]


def _psnr_hvs_m(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, finite where nothing of a difference is seen."""
    return -10 * torch.log10(masked_error(original, distorted) / 255**2 + 1e-7)


SCORES: dict[str, Score] = {"ssimulacra2": ssimulacra2, "psnr-hvs-m": _psnr_hvs_m}
"""Of two batches (N, 3, H, W) 0..1: (N,), higher is better, differentiable."""


@dataclass(frozen=True)
class RdoRecipe:
    """How the network is trained.

    Attributes:
        width: channels.
        depth: blocks.
        steps: optimiser steps.
        batch: patches a step.
        patches: that are cut and measured before the first step.
        side: of a patch, pixels, a multiple of 16.
        lowest: quality.
        highest: quality.
        objective: names of the scores, which count alike.
        learning_rate: highest of AdamW; half a cosine brings it down to nothing.
        warmup: steps in which it rises.
        averaging: of the exponential average of the weights, which is what ships.
        exact_from: share of the steps after which precision is float32: all of them.
        validate_every: steps between validations.
        validation_pictures: held-out pictures to validate with, at most.
        split: share of the pictures to train on, drawn by their sha256; the others are held out.
        seed: of patches, weights and decisions.
    """

    width: int = 128
    depth: int = 4
    steps: int = 3_000
    batch: int = 8
    patches: int = 4_000
    side: int = 160
    lowest: int = 30
    highest: int = 92
    objective: tuple[str, ...] = tuple(SCORES)
    learning_rate: float = 7e-4
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.0
    validate_every: int = 500
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
