"""Recipe of the search for quantisation tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kcompress.training.recipe import Recipe


def _objective() -> dict[str, float]:
    return {"ssimulacra2": 0.25, "butteraugli": 0.2, "psnr": 0.05, "vif": 0.1, "ms-ssim": 0.1, "iw-ssim": 0.3}


def _aims() -> dict[str, float]:
    return {"ssimulacra2": -26, "butteraugli": -20, "psnr": -13, "vif": -8, "ms-ssim": -21, "iw-ssim": -9}


@dataclass(frozen=True)
class TablesRecipe(Recipe):
    """Recipe of the search.

    Attributes:
        qualities: at which tables are searched for; in between, changes of log steps are linear.
        steps: generations of CMA-ES.
        batch: candidates a generation, at each quality.
        deviation: standard deviation of the first candidates' coefficients, ln of a step.
        side: of the crops, pixels, a multiple of 16; one is taken of each picture, where it is richest in detail.
        pictures: to search with, at most.
        objective: shares of the scores, by name; 1 in all.
        aims: change of bytes at equal score, per cent, that is hoped for, by score.
        shortfall: what falls short of an aim counts so much more.
        pull: cost of a squared point of SSIMULACRA2 between files and libjpeg's at the same quality.
        validate_every: generations between validations on pictures that the search does not see.
        validation_pictures: of them, at most.
        split: share of the pictures that are left to the network's training; the search takes the others.
        seed: of the search.
        start: tables to start from: ``mean`` of libjpeg's, mozjpeg's and jpegli's, or ``name sha256`` of a file.
        behind: network before the encoder, as ``name sha256`` of its weights; ``none`` for none.
    """

    qualities: tuple[int, ...] = (25, 45, 65, 80, 92)
    steps: int = 12
    batch: int = 12
    deviation: float = 0.08
    side: int = 384
    pictures: int = 48
    objective: Mapping[str, float] = field(default_factory=_objective)
    aims: Mapping[str, float] = field(default_factory=_aims)
    shortfall: float = 0.5
    pull: float = 0.004
    validate_every: int = 1
    validation_pictures: int = 16
    split: float = 0.9
    seed: int = 0
    start: str = "learned"
    behind: str = ""
