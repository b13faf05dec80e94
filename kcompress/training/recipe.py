"""Base of all recipes; free of torch, as the command line reads their defaults."""

import math

BEFORE = "before"
"""Metadata of a field that came later: its value in the states of trainings that did not have it yet."""


class Recipe:
    """Knobs that every training has.

    A recipe is a frozen dataclass. It lists its own fields: their names and order stand in cards, in the metadata of
    weights and in ``state.pt``. What a recipe does not list keeps the value given here.

    Attributes:
        steps: optimiser steps.
        batch: samples a step, over all processes.
        learning_rate: at its highest.
        warmup: steps in which the learning rate rises linearly.
        weight_decay: of AdamW; at 0 it is Adam.
        averaging: decay of the exponential moving average (EMA) of the weights, which is what ships; 0 for none.
        exact_from: share of the steps after which arithmetic is float32 instead of bfloat16; 0 for float32 throughout.
        validate_every: steps between validations, each of which leaves a checkpoint.
        validation_pictures: held-out pictures to validate with, at most.
        split: share of the pictures to train on, chosen by their sha256; the others are held out.
        seed: of weights, batches and whatever else is random.
        start: weights that the training starts from, as ``name sha256``; empty for random ones.
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: int = 0
    weight_decay: float = 1e-4
    averaging: float = 0.0
    exact_from: float = 0.0
    validate_every: int
    validation_pictures: int
    split: float
    seed: int
    start: str = ""

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0: a linear warm-up, then half a cosine down to nothing."""
        return cosine(step, steps=self.steps, highest=self.learning_rate, warmup=self.warmup)


class JpegRecipe(Recipe):
    """Recipe of a training from JPEG files; ``held_out``, not ``split``, is the share of them to validate with."""

    held_out: float


def cosine(step: int, *, steps: int, highest: float, warmup: int) -> float:
    """Learning rate of a step (from 0): a linear warm-up, then half a cosine down to nothing."""
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
