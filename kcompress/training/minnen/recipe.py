"""Recipe of a proxy codec."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MinnenRecipe:
    """How a learned codec is trained to mimic a real one.

    Attributes:
        codec: whose encoder is mimicked.
        lowest: quality on the codec's scale, as a number; ``training.simulator.recipe.RANGES`` has the usual ones.
        highest: quality.
        width: channels of the transforms at a quarter of the sides, and of the hyper-latents.
        latent: channels of the latents.
        slope: weight of the distortion, MSE in squared grey levels, beside bits per pixel, times the square of HEVC's
            quantiser step; see `training.minnen.training.distortion_weight`.
        mimic_from: share of the steps after which the distortion is taken to what the real decoder shows (equation 2
            of NPP), instead of to the picture.
        rate_match: weight of |ln bpp - ln bpp of the real codec| from then on; 1 and more bind the rate to the codec's
            own, as the rest never weighs ln bpp by more than 1.
        steps: optimiser steps.
        batch: patches a step, each in all its versions.
        versions: of a patch, encoded at one quality: itself first, the others preprocessed.
        patches: that are cut and encoded before the first step.
        side: of a patch, pixels.
        learning_rate: highest of AdamW; half a cosine brings it down to nothing.
        warmup: steps in which it rises.
        averaging: of the exponential average of the weights, which is what ships.
        exact_from: share of the steps after which precision is float32 instead of bfloat16.
        validate_every: steps between validations.
        validation_pictures: held-out pictures to validate with, at most.
        split: share of the pictures to train on, drawn by their sha256; the others are held out.
        seed: of patches, versions, weights and noise.
    """

    codec: str
    lowest: int
    highest: int
    width: int = 48
    latent: int = 192
    slope: float = 10.0
    mimic_from: float = 0.25
    rate_match: float = 1.0
    steps: int = 3_000
    batch: int = 4
    versions: int = 3
    patches: int = 1_800
    side: int = 192
    learning_rate: float = 2e-3
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.0
    validate_every: int = 250
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
