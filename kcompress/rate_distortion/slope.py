"""Slope of a codec, d ln(rate) / d score: the rate it pays for a unit of a metric (higher is better)."""

from collections.abc import Sequence

import numpy as np

from kcompress.codecs import Scale


def qualities(scale: Scale, quality: int, tenths: Sequence[float]) -> tuple[int, ...]:
    """Qualities ``tenths`` of the scale away, finer for positive numbers; clamped to the scale, each once."""
    step = (scale.finest - scale.coarsest) / 10
    low, high = sorted((scale.finest, scale.coarsest))
    return tuple(dict.fromkeys(int(np.clip(round(quality + number * step), low, high)) for number in tenths))


def least_squares_slope(scores: Sequence[float], rates: Sequence[float]) -> float:
    """Least-squares slope of ln(bytes) over the score (higher is better).

    0 where it is negative or the scores are all alike: no score should be paid for then.
    """
    found, paid = np.asarray(scores), np.asarray(rates)
    found, paid = found - found.mean(), paid - paid.mean()
    spread = float((found**2).sum())
    return max(0.0, float((found * paid).sum()) / spread) if spread else 0.0


def two_point_slope(paid: float, gained: float, limits: tuple[float, float]) -> float:
    """``paid / gained``, ln(rate) a unit of score, clamped to ``limits``; the upper limit where nothing was gained."""
    low, high = limits
    return min(max(paid / gained, low), high) if gained > 0 else high
