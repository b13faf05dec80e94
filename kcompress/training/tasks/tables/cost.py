"""Cost of tables: bytes at equal scores against libjpeg's own curve, by judges of both families."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.codecs import CODECS
from kcompress.setting import Setting
from kcompress.training.tasks.tables.coding import Coder, Measures, Trial
from kcompress.training.tasks.tables.recipe import TablesRecipe

ANCHOR = "ssimulacra2"
"""Score by which files at a quality are as good as libjpeg's."""

LADDER = (4, 7, 10, 14, 18, 23, 29, 36, 44, 52, 60, 67, 73, 79, 84, 88, 92, 95, 97, 99)
"""Qualities of libjpeg's curve."""


def plain(quality: int) -> Setting:
    """Setting of libjpeg as it comes."""
    codec = CODECS["jpeg"]
    return codec.setting(quality, effort=codec.plain_effort)


@dataclass(frozen=True)
class Curves:
    """Curves of libjpeg: some crops with its own tables at the qualities of ``LADDER``.

    Attributes:
        scores: names.
        measures: (qualities, crops, 1 + scores).
    """

    scores: tuple[str, ...]
    measures: Measures

    @classmethod
    def of(cls, coder: Coder, scores: Sequence[str]) -> "Curves":
        """Curves of a coder's crops."""
        return cls(tuple(scores), coder.measure([Trial(plain(each), False) for each in LADDER], scores))

    def saved(self, measures: Measures) -> NDArray[np.float64]:
        """Change of ln(bytes) (trials, scores) at equal score, mean over the crops, of measures by the same scores."""
        trials, crops, _ = measures.shape
        found = np.empty((trials, crops, len(self.scores)))
        for crop in range(crops):
            sizes = self.measures[:, crop, 0]
            for place in range(len(self.scores)):
                at = _interpolated(measures[:, crop, 1 + place], self.measures[:, crop, 1 + place], sizes)
                found[:, crop, place] = measures[:, crop, 0] - at
        means: NDArray[np.float64] = found.mean(1)
        return means

    def at(self, quality: float) -> float:
        """Mean of ``ANCHOR`` at a quality."""
        means = self.measures[:, :, 1 + self.scores.index(ANCHOR)].mean(1)
        return float(np.interp(quality, LADDER, means))

    def anchored(self, measures: Measures) -> NDArray[np.float64]:
        """Mean of ``ANCHOR`` (trials,)."""
        found: NDArray[np.float64] = measures[:, :, 1 + self.scores.index(ANCHOR)].mean(1)
        return found


def cost(recipe: TablesRecipe, saved: Mapping[str, float], away: float) -> float:
    """Cost of a candidate, as ln: the lower, the better.

    Args:
        recipe: of the search.
        saved: change of ln(bytes) at equal score, by score.
        away: points of ``ANCHOR`` above libjpeg's at the same quality.
    """
    total = recipe.pull * away**2
    for name, share in recipe.objective.items():
        aim = float(np.log1p(recipe.aims[name] / 100)) if name in recipe.aims else saved[name]
        total += share * (saved[name] + recipe.shortfall * max(0.0, saved[name] - aim))
    return total


def _interpolated(
    score: NDArray[np.float64], scores: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """ln(bytes) of a curve at scores; linear between its points and beyond its ends."""
    order = np.argsort(scores, kind="stable")
    x, y = scores[order], sizes[order]
    x, places = np.unique(x, return_index=True)
    y = np.maximum.accumulate(y[places])
    if len(x) < 2:
        return np.full_like(score, y[0])
    place = np.clip(np.searchsorted(x, score) - 1, 0, len(x) - 2)
    found: NDArray[np.float64] = y[place] + (score - x[place]) * (y[place + 1] - y[place]) / (x[place + 1] - x[place])
    return found
