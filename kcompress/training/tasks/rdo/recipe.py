"""Recipe of the RDO network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from kcompress.training.recipe import BEFORE, Recipe

Spread = Literal["spread", "learned", "standard"]


def _objective() -> dict[str, float]:
    return {"ssimulacra2": 0.25, "butteraugli": 0.2, "psnr": 0.05, "vif": 0.1, "ms-ssim": 0.1, "iw-ssim": 0.3}


@dataclass(frozen=True)
class RdoRecipe(Recipe):
    """Recipe of the RDO network.

    Attributes:
        width, depth: channels and blocks of the network.
        patches: number of patches that are cut and measured before the first step.
        together: patches of a picture that share a setting, at most.
        side: of a patch, pixels, a multiple of 16. SSIMULACRA2 has its six scales from 256 on; with fewer its
            weights fall on other features, and smaller patches teach what is not measured.
        lowest, highest: JPEG qualities.
        tables: quantisation tables that are learned from: ``standard``, libjpeg's; ``learned``, those that came along;
            ``spread``, these, other encoders' and mixtures. Validated with the learned ones unless ``standard``.
        mozjpeg: share of the pictures that are learned from as mozjpeg would code them: by its tables, with the levels
            that are decided on, as the way that coefficients are placed keeps its trellis from others.
        objective: shares of the scores, by name; 1 in all.
    """

    width: int = 112
    depth: int = 4
    steps: int = 2_000
    batch: int = 4
    patches: int = 1_200
    together: int = field(default=6, metadata={BEFORE: 1_000_000})
    side: int = 256
    lowest: int = 12
    highest: int = 97
    tables: Spread = field(default="spread", metadata={BEFORE: "standard"})
    mozjpeg: float = 0.0
    objective: Mapping[str, float] = field(default_factory=_objective)
    learning_rate: float = 7e-4
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.0
    validate_every: int = 500
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
    start: str = ""
