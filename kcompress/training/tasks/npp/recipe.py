"""Recipe of the neural preprocessor for machine vision; defaults are its paper's (section 4.1) where it gives any."""

from dataclasses import dataclass, field

from kcompress.training.recipe import BEFORE, Recipe

RANGES = {"bpg": (28, 41), "hevc": (25, 38), "jpeg": (45, 20), "webp": (45, 20), "avif": (45, 20)}
"""Finest and coarsest quality by codec: the paper's for BPG; HEVC's QP codes three steps coarser than BPG's, and the
qualities of the others are as far along their scales."""

VALUES = ("codec", "proxy")


@dataclass(frozen=True)
class NppRecipe(Recipe):
    """Recipe of NPP.

    Attributes:
        task: key of ``machine.tasks.TASKS``.
        model: the frozen models, each as ``name sha256``.
        labelled: whether pictures lie in one folder a class; else the model's own answers are the truth.
        codec: name of the codec behind the network.
        finest, coarsest: qualities on its scale.
        fixed: quality of the stage without adaptive layers.
        width: channels of the network.
        side: of the square that is cut from a picture, pixels.
        fixed_steps: optimiser steps at one quality, without adaptive layers (the paper: 120,000).
        adaptive_steps: with adaptive layers, at random qualities (the paper: 100,000).
        fixed_drop: share of the fixed steps after which the learning rate falls to a tenth.
        adaptive_drop: share of the adaptive steps after which it does.
        finest_weight, coarsest_weight: lambda of equation 1, weight of the task's loss, at these qualities; in between,
            its logarithm follows the quality, as the paper's 0.5, 1, 2, 4 and 8 nearly do.
        closeness: beta of equation 1, weight of the mean squared error between the picture, 0..1, and the filtered one.
        proxy: the proxy that gives the gradients, as ``name sha256``.
        values: forward values, of the ``codec``, or of the ``proxy`` as in the ablation of figure 7 (a).
        effort: of the encoder in training, on the codec's scale; validation takes the codec's own.
        drawn: models that judge a step, drawn anew for each; 0 for all of them.
        mosaic: pictures of a step have one quality and are encoded as one.
        zoom: squares are cut up to so many times larger than their side, and shrunk to it.
        augment: pictures are sharpened at random, and models see random squares of them.
        sampled: a simulator's values are those of samples, anywhere on the grid of blocks and up to one QP off.
    """

    task: str
    model: str
    labelled: bool
    codec: str
    finest: int
    coarsest: int
    fixed: int
    width: int = 8
    side: int = 160
    fixed_steps: int = 12_000
    adaptive_steps: int = 10_000
    fixed_drop: float = 2 / 3
    adaptive_drop: float = 0.6
    batch: int = 8
    learning_rate: float = 1e-4
    finest_weight: float = 0.5
    coarsest_weight: float = 8.0
    closeness: float = 0.5
    proxy: str = ""
    values: str = VALUES[0]
    effort: int | None = None
    warmup: int = 50
    averaging: float = 0.99
    exact_from: float = 0.8
    validate_every: int = 500
    validation_pictures: int = 64
    split: float = 0.95
    seed: int = 0
    drawn: int = 0
    mosaic: bool = False
    zoom: float = 1.0
    start: str = field(default="", metadata={BEFORE: ""})
    augment: bool = field(default=False, metadata={BEFORE: False})
    sampled: bool = field(default=False, metadata={BEFORE: False})

    @property
    def steps(self) -> int:  # type: ignore[override]
        """Optimiser steps of both stages."""
        return self.fixed_steps + self.adaptive_steps

    @property
    def qualities(self) -> tuple[int, ...]:
        """Five, evenly from the finest to the coarsest; one where no stage is adaptive."""
        if not self.adaptive_steps:
            return (self.fixed,)
        return tuple(round(self.finest + part * (self.coarsest - self.finest) / 4) for part in range(5))

    def rate(self, step: int) -> float:
        first = step < self.fixed_steps
        number, steps, drop = (
            (step, self.fixed_steps, self.fixed_drop) if first
            else (step - self.fixed_steps, self.adaptive_steps, self.adaptive_drop)
        )  # fmt: skip
        rising = min(1.0, (number + 1) / self.warmup) if self.warmup else 1.0
        return self.learning_rate * rising * (1 if number < drop * steps else 0.1)

    def trade(self, quality: int) -> float:
        """Lambda of equation 1 at a quality: bits per pixel that a unit of the task's loss is worth."""
        from kcompress.codecs import CODECS  # loads NumPy, which help does without

        coarseness = CODECS[self.codec].quality.coarseness
        low, high = coarseness(self.finest), coarseness(self.coarsest)
        along = (coarseness(quality) - low) / (high - low) if high > low else 0.5
        return float(self.finest_weight ** (1 - along) * self.coarsest_weight**along)
