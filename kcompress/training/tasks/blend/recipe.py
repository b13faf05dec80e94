"""Recipe of the network that mixes filters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from kcompress.training.recipe import Recipe

RANGES = {"jpeg": (30, 92), "webp": (30, 92), "hevc": (18, 40)}
"""Lowest and highest quality that is learned, on the scale of each codec."""


Through = Literal["labels", "exact"]
"""Codec of the loss: the encoder, which has judged each choice by itself; or JPEG's twin, which sees the mix."""

THROUGH = get_args(Through)


@dataclass(frozen=True)
class BlendRecipe(Recipe):
    """Recipe of the predictor.

    Attributes:
        codec: name of the encoder before which it stands.
        lowest, highest: qualities on the codec's scale, as numbers.
        through: the codec of the loss.
        width: channels of the predictor.
        patches: number of patches that are encoded, each at a quality of its own; for labels behind every choice.
        side: of a patch, pixels.
        noisy: share of the patches that get noise and a fine JPEG first; scores with reference compare with what they
            were before.
        objective: shares of the scores, by metric; 1 in all.
        poor, pristine: scores of an original, by a metric without reference: up to the one it counts in full, from the
            other on not at all, and the others take its share.
        limit: of the gain or loss that is believed on one patch, in nepers.
        temperature: gain in nepers by which one choice gets e times the share of another.
    """

    codec: str
    lowest: int
    highest: int
    through: Through = "labels"
    width: int = 32
    steps: int = 1_500
    batch: int = 32
    patches: int = 700
    side: int = 256
    noisy: float = 0.5
    objective: Mapping[str, float] = field(default_factory=lambda: {"vqscore": 0.6, "ssimulacra2": 0.4})
    poor: float = 75.0
    pristine: float = 92.0
    limit: float = 1.0
    temperature: float = 0.01
    learning_rate: float = 2e-3
    warmup: int = 50
    averaging: float = 0.99
    validate_every: int = 500
    validation_pictures: int = 8
    split: float = 0.6
    seed: int = 0
    start: str = ""
