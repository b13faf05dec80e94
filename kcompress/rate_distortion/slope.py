"""Slope of a codec: d ln(rate) / d score, what it pays for a unit of a metric (higher is better)."""

from collections.abc import Sequence

import numpy as np

from kcompress.codecs import Scale


def qualities(scale: Scale, quality: int, tenths: Sequence[float]) -> tuple[int, ...]:
    """Qualities so many tenths of the scale away, finer for positive numbers; within the scale, each once."""
    step = (scale.finest - scale.coarsest) / 10
    low, high = sorted((scale.finest, scale.coarsest))
    return tuple(dict.fromkeys(int(np.clip(round(quality + number * step), low, high)) for number in tenths))


def least_squares_slope(scores: Sequence[float], rates: Sequence[float]) -> float:
    """By least squares, how a codec's ln(bytes) rises with its score (higher is better).

    0 where it falls or the scores are all alike: no score should be paid for then.
    """
    found, paid = np.asarray(scores), np.asarray(rates)
    found, paid = found - found.mean(), paid - paid.mean()
    spread = float((found**2).sum())
    return max(0.0, float((found * paid).sum()) / spread) if spread else 0.0


def two_point_slope(paid: float, gained: float, limits: tuple[float, float]) -> float:
    """What a codec pays for a unit of score: ln(rate) for what it gained, within limits; the upper one for nothing."""
    low, high = limits
    return min(max(paid / gained, low), high) if gained > 0 else high
