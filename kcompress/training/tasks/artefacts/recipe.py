"""Recipe of the artefacts network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from kcompress.training.recipe import Recipe

Through = Literal["simulator", "real", "exact"]
"""Codec of the loss: a proxy's values and gradients; the encoder's values and the proxy's gradients; JPEG's twin."""

THROUGH = get_args(Through)

RANGES = {"jpeg": (20, 97), "webp": (20, 97), "hevc": (14, 46), "bpg": (14, 46), "avif": (15, 95)}
"""Lowest and highest quality that is learned, on the scale of each codec."""

START = {"jpeg": (8.0, 1.0), "webp": (7.0, 1.0), "hevc": (14.0, 4.0), "bpg": (4.0, 4.0), "avif": (10.0, 3.2)}
"""Height and power of the initial thresholds by codec, about those of `networks.shrink`."""


@dataclass(frozen=True)
class ArtefactsRecipe(Recipe):
    """Recipe of the artefacts network.

    Attributes:
        codec: name of the codec behind the network.
        lowest, highest: qualities on its scale, as numbers.
        height, power: of the initial thresholds; ``START`` has the usual ones.
        through: the codec that the loss sees.
        proxy: as ``name sha256``, or ``exact``.
        width, depth: channels and blocks of the network.
        patches: number of patches that are cut and encoded before the first step.
        together: patches of a picture that share a quality, at most.
        side: of a patch, pixels, a multiple of 16; below 256 SSIMULACRA2 has fewer scales.
        objective: shares of the scores, by name; 1 in all.
        effort: of the encoder in training, on the codec's scale; validation takes the codec's own.
    """

    codec: str
    lowest: int
    highest: int
    height: float
    power: float
    through: Through = "simulator"
    proxy: str = ""
    width: int = 64
    depth: int = 3
    steps: int = 600
    batch: int = 4
    patches: int = 600
    together: int = 6
    side: int = 256
    objective: Mapping[str, float] = field(
        default_factory=lambda: {
            "ssimulacra2": 0.25, "butteraugli": 0.2, "psnr": 0.05, "vif": 0.1, "ms-ssim": 0.1, "iw-ssim": 0.3,
        }
    )  # fmt: skip
    effort: int | None = None
    learning_rate: float = 1e-3
    warmup: int = 50
    averaging: float = 0.99
    exact_from: float = 0.0
    validate_every: int = 150
    validation_pictures: int = 6
    split: float = 0.95
    seed: int = 0
    start: str = ""
