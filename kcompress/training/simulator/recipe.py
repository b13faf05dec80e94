"""Recipe of a codec simulator."""

from dataclasses import dataclass

RANGES = {"jpeg": (20, 97), "webp": (20, 97), "hevc": (14, 46), "bpg": (28, 51)}
"""Qualities that pictures are encoded at in practice, on the scale of each codec; a simulator learns these."""


@dataclass(frozen=True)
class SimulatorRecipe:
    """How the two networks are trained, which is at once.

    Attributes:
        codec: whose encoder is simulated.
        lowest: quality on the codec's scale, as a number.
        highest: quality.
        width: channels of the network of distortions; that of bits has three quarters of them.
        depth: its blocks; that of bits has two fewer, at least one.
        steps: optimiser steps.
        batch: patches a step, each in all its versions.
        versions: of a patch, encoded at one quality: itself first, the others preprocessed.
        patches: that are cut and encoded before the first step.
        side: of a patch, pixels.
        difference: weight of the error of ln(bpp) *between* versions, beside that of ln(bpp) itself.
        learning_rate: highest of AdamW; half a cosine brings it down to nothing.
        warmup: steps in which it rises.
        averaging: of the exponential average of the weights, which is what ships.
        exact_from: share of the steps after which precision is float32 instead of bfloat16.
        validate_every: steps between validations.
        validation_pictures: held-out pictures to validate with, at most.
        split: share of the pictures to train on, drawn by their sha256; the others are held out.
        seed: of patches, versions and weights.
        start: weights that the training starts from, as ``name sha256``; empty for none.
    """

    codec: str
    lowest: int
    highest: int
    width: int = 48
    depth: int = 4
    steps: int = 1_200
    batch: int = 4
    versions: int = 3
    patches: int = 1_800
    side: int = 192
    difference: float = 2.0
    learning_rate: float = 2e-3
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.8
    validate_every: int = 250
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
    start: str = ""
