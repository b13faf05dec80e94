"""Equal bytes: the quality at which one file is as large as another, and the points of curves that meet."""

import math
from collections.abc import Callable, Mapping, Sequence

from kcompress.codecs import Scale
from kcompress.evaluation.points import Point

_RANGE = 4.0
"""Change of ln(size) from the coarsest to the finest quality, where nothing is known of it: about 1 : 50."""


def nearest_quality(
    scale: Scale, size: int, start: int, known: Mapping[int, int], measure: Callable[[int], int]
) -> int:
    """Quality whose file is nearest to a size in bytes, by few encodes, if sizes rise with quality.

    Args:
        scale: of the qualities.
        size: to be met, bytes.
        start: quality to begin with where none is known.
        known: sizes by quality.
        measure: quality -> size.
    """
    qualities = scale.up_to(scale.finest)
    wanted = math.log(size)
    found = {qualities.index(quality): math.log(each) for quality, each in known.items()}
    reach, width = 1.0, math.inf
    while True:
        above = min((place for place, each in found.items() if each >= wanted), default=len(qualities))
        below = max((place for place, each in found.items() if each < wanted and place < above), default=-1)
        if above - below <= 1:
            break
        if not found:
            place = qualities.index(start)
        elif below >= 0 and above < len(qualities):
            share = (wanted - found[below]) / (found[above] - found[below])
            slow = above - below > width / 2  # the line between both is far from the curve: cut in half
            place = below + round((0.5 if slow else share) * (above - below))
            width = above - below
        else:
            far = reach * abs(wanted - found[below if below >= 0 else above]) * len(qualities) / _RANGE
            place = below + math.ceil(far) if below >= 0 else above - math.ceil(far)
            reach *= 2
        place = min(max(place, below + 1), above - 1)
        found[place] = math.log(measure(qualities[place]))
    ends = [place for place in (below, above) if 0 <= place < len(qualities)]
    return qualities[min(ends, key=lambda place: abs(math.exp(found[place]) - size))]


def nearest_points(plain: Sequence[Point], curve: Sequence[Point]) -> list[Point]:
    """For every plain point of a picture the point of another curve that is nearest in bytes."""
    return [min(curve, key=lambda point: abs(point.bytes - size)) for size in (point.bytes for point in plain)]
