"""Recipe of the feedback network."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kcompress.training.recipe import BEFORE, Recipe

RANGES = {"webp": (25, 92), "hevc": (18, 42), "bpg": (18, 42), "avif": (25, 90)}
"""Lowest and highest quality that is learned, on the scale of each codec. JPEG shows of a block what it was
handed of that block, so there is nothing to learn."""


@dataclass(frozen=True)
class FeedbackRecipe(Recipe):
    """Recipe of the gains.

    Attributes:
        codec: name of the encoder that is watched.
        lowest, highest: qualities on the codec's scale, as numbers.
        passes: encodes and decodes before the one that counts.
        sharp_chroma: whether the loop begins with sharp chroma. WebP gains by it; HEVC pays more bits than it is worth.
        patches: number of patches, each with a quality of its own; smaller pictures give none.
        side: of a patch, pixels. A patch is weighed as if it were the file; large ones are about as varied as files.
        perturbation: of every weight, up or down, in a trial; a weight of 1 is a gain of 0.1.
        limit: of the cost that is believed of one patch, in nepers.
        objective: shares of the scores, by metric; 1 in all.
        penalty: share of the worst score's cost that is added where it is above 0.
        strength: share of the whole change that is made, in training and as the weights ship.
    """

    codec: str
    lowest: int
    highest: int
    passes: int = 2
    sharp_chroma: bool = False
    steps: int = 160
    batch: int = 16
    patches: int = 240
    side: int = 320
    perturbation: float = 0.25
    limit: float = 0.3
    objective: Mapping[str, float] = field(
        default_factory=lambda: {
            "ssimulacra2": 0.25, "butteraugli": 0.2, "psnr": 0.1, "vif": 0.1, "ms-ssim": 0.1, "iw-ssim": 0.25,
        }
    )  # fmt: skip
    penalty: float = 0.5
    learning_rate: float = 0.05
    warmup: int = 20
    averaging: float = 0.98
    exact_from: float = 0.0
    validate_every: int = 40
    validation_pictures: int = 6
    split: float = 0.95
    seed: int = 0
    start: str = ""
    strength: float = field(default=0.8, metadata={BEFORE: 1.0})
