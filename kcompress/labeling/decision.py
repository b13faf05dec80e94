"""Choice of the best group by the score of the Kuchen paper (section 3.2, equations 2 to 6)."""

from collections.abc import Sequence
from dataclasses import replace
from math import fsum, isnan, nan, sqrt

from kcompress.labels import Row
from kcompress.pool import IDENTITY

_LARGEST = 1e4
"""Clamp of scores: PSNR is infinite for equal pictures."""


def z_scores(values: Sequence[float]) -> list[float]:
    """Z-scores: distances from the mean in population standard deviations (equations 3 to 6).

    A zero standard deviation gives zeros. The result does not depend on the order, not even in the last bit.
    """
    finite = [max(-_LARGEST, min(_LARGEST, value)) for value in values]
    if not finite or min(finite) == max(finite):
        return [0.0] * len(finite)
    mean = fsum(finite) / len(finite)
    deviation = sqrt(fsum((value - mean) ** 2 for value in finite) / len(finite))
    # Squares of the smallest differences are too small for a float.
    return [(value - mean) / deviation if deviation else 0.0 for value in finite]


def choose(rows: Sequence[Row], metric: str, *, higher_is_better: bool, rate_weight: float = 1) -> list[Row]:
    """Rows of one place with their z-scores, and the best one chosen.

    The paper prints Score = Z(VQscore) + Z(BPP) (equation 2), whose maximum would reward large files. Its text wants
    "the lowest bit rate without sacrificing subjective perception": the score here is the difference. Among equal
    scores the smaller file wins, then the shorter group, the identity first. Rows that failed or have no score by the
    metric are not considered. ``rate_weight`` is that of Z(bpp) against Z(quality); -1 adds it, as printed.
    """
    sound = [row for row in rows if row.bpp is not None and not isnan(row.scores.get(metric, nan))]
    sign = 1 if higher_is_better else -1
    qualities = z_scores([sign * row.scores[metric] for row in sound])
    rates = z_scores([row.bpp or 0.0 for row in sound])
    scored = {
        row.group: replace(row, z_quality=quality, z_bpp=rate, score=quality - rate_weight * rate, chosen=0)
        for row, quality, rate in zip(sound, qualities, rates, strict=True)
    }
    best = max(scored.values(), key=_preference, default=None)
    if best is not None:
        scored[best.group] = replace(best, chosen=1)
    return [scored.get(row.group, replace(row, z_quality=None, z_bpp=None, score=None, chosen=0)) for row in rows]


def _preference(row: Row) -> tuple[float, int, int, str]:
    # Two groups that trade quality for size score the same, but for the last bits, which must not choose.
    length = 0 if row.group == IDENTITY else 1 + row.group.count("+")
    return round(row.score or 0.0, 9), -(row.bytes or 0), -length, row.group
