"""Judges with reference of several kinds on one scale 0..100, and their mean: the target of VQscore.

Each judge is put on the scale of the first, SSIMULACRA2, by equal ranks among the training's pictures (equipercentile
equating: Kolen and Brennan, Test Equating, Scaling, and Linking): as many of them are as good or worse by either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.metrics import METRICS

FIRST = "ssimulacra2"
"""The judge whose scale the others are put on."""

KNEE = 20.0
"""SSIMULACRA2 below which targets are pressed together, towards 0."""

_KNOTS = 41


def target(ssimulacra2: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIMULACRA2 (100 down to minus hundreds) on a scale 0..100: the same above 20, exponential below, smooth."""
    low = np.minimum(ssimulacra2, KNEE)
    return np.where(ssimulacra2 >= KNEE, ssimulacra2, KNEE * np.exp(low / KNEE - 1))


@dataclass(frozen=True)
class Scale:
    """Scores of a judge that rise, and the points that each is worth; straight lines between them, flat beyond."""

    scores: tuple[float, ...]
    points: tuple[float, ...]

    def __call__(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points of scores, NaN for NaN."""
        return np.interp(scores, self.scores, self.points)


class Judges:
    """Judges by name, and the scales of all but the first, `FIRST`."""

    def __init__(self, names: Sequence[str], scales: Mapping[str, Scale]) -> None:
        self.names, self.scales = tuple(names), dict(scales)

    @classmethod
    def fitted(cls, names: Sequence[str], scores: NDArray[np.float64]) -> "Judges":
        """Judges whose scales follow from scores (pictures, judges), all of them finite."""
        ranks = np.linspace(0, 1, _KNOTS)
        scales = {}
        for column, name in enumerate(names):
            if name != FIRST:
                points = np.quantile(target(scores[:, names.index(FIRST)]), ranks)
                knots = np.quantile(METRICS[name].sign * scores[:, column], ranks)
                last = np.append(np.diff(knots) > 0, True)  # equal scores are worth the most that any of them is
                scales[name] = Scale(
                    tuple(np.round(knots[last], 6).tolist()), tuple(np.round(points[last], 2).tolist())
                )
        return cls(names, scales)

    @classmethod
    def from_card(cls, card: Mapping[str, Mapping[str, Sequence[float]]]) -> "Judges":
        """Judges of a card: what `card` gave."""
        scales = {
            name: Scale(tuple(METRICS[name].sign * value for value in scale["score"]), tuple(scale["points"]))
            for name, scale in card.items()
        }
        return cls((FIRST, *scales), scales)

    def card(self) -> dict[str, dict[str, list[float]]]:
        """Scores of each judge but the first from bad to good, and what they are worth."""
        return {
            name: {"score": [METRICS[name].sign * score for score in scale.scores], "points": list(scale.points)}
            for name, scale in self.scales.items()
        }

    def each(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points by judge for scores (..., judges), in the order of the names."""
        columns = [
            target(scores[..., column])
            if name == FIRST
            else self.scales[name](METRICS[name].sign * scores[..., column])
            for column, name in enumerate(self.names)
        ]
        return np.stack(columns, axis=-1)

    def mean(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean of the points for scores (..., judges)."""
        return np.asarray(self.each(scores).mean(axis=-1))
