"""Bjontegaard delta rate, and an honest no where curves do not allow one."""

import warnings
from collections.abc import Sequence

import numpy as np

MIN_POINTS = 4
MIN_OVERLAP = 0.3
"""Share of the plain codec's range of scores that both curves must cover."""


class NoBdRate(ValueError):
    """The curves do not allow a BD-rate; the text says why."""


def bd_rate(
    anchor: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], *, higher: bool = True
) -> float:
    """Mean difference in rate at equal score, per cent; negative means fewer bits.

    Bjontegaard, VCEG-M33 (2001), with piecewise cubic interpolation (PCHIP) of ln(rate) over the score.

    Args:
        anchor: (bits per pixel, score) of the plain codec.
        test: the same with the preprocessor.
        higher: whether a higher score is better.

    Raises:
        NoBdRate: fewer than four points, infinite scores, a curve that does not rise, too little overlap.
    """
    from bjontegaard import bd_rate as bjontegaard_rate  # imports SciPy

    curves = []
    for name, points in (("plain", anchor), ("preprocessed", test)):
        if len(points) < MIN_POINTS:
            raise NoBdRate(f"the {name} curve has {len(points)} points, fewer than {MIN_POINTS}")
        ordered = sorted(points)
        rates = np.array([rate for rate, _ in ordered])
        scores = np.array([score if higher else -score for _, score in ordered])
        if not np.isfinite(scores).all():
            raise NoBdRate(f"the {name} curve has infinite scores")
        if (np.diff(scores) <= 0).any() or (np.diff(rates) <= 0).any():
            raise NoBdRate(f"the {name} curve does not rise everywhere")
        curves.append((rates, scores))
    (rates_a, scores_a), (rates_t, scores_t) = curves
    low, high = max(scores_a[0], scores_t[0]), min(scores_a[-1], scores_t[-1])
    share = max(0.0, high - low) / (scores_a[-1] - scores_a[0])
    if share < MIN_OVERLAP:
        raise NoBdRate(f"the curves share only {100 * share:.0f} % of the plain codec's range")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overlap is judged above
        return float(bjontegaard_rate(rates_a, scores_a, rates_t, scores_t, "pchip", require_matching_points=False))


def pareto_front(curve: Sequence[tuple[float, float]], *, higher: bool = True) -> list[tuple[float, float]]:
    """Points (rate, score) that no cheaper point equals or beats, by ascending rate; scores then improve strictly.

    An accuracy moves in steps of one picture, and where it is as good as it gets, more bits give now a picture more and
    now one less. Who wants it takes the cheapest point that has it.
    """
    kept: list[tuple[float, float]] = []
    for rate, score in sorted(curve):
        if not kept or (score > kept[-1][1] if higher else score < kept[-1][1]):
            kept.append((rate, score))
    return kept
