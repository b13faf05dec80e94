"""Refinement of a preprocessor's strength: a search between the untouched picture and the preprocessed one."""

import itertools
from collections.abc import Mapping

NARROWEST = 1 / 32
"""Narrowest gap beside the best strength that is searched: below it no measurable gain is left."""


def following(costs: Mapping[float, float]) -> float | None:
    """The strength to try next: the middle of the wider of the two gaps beside the best, lowest cost so far.

    Costs by strength are there for 0 and 1 at least. None where both gaps are narrow: the search is over.
    """
    known = sorted(costs)
    # Of equals the weakest: what gains nothing had better change nothing.
    at = known.index(min(known, key=lambda strength: (costs[strength], strength)))
    around = known[max(0, at - 1) : at + 2]
    low, high = max(itertools.pairwise(around), key=lambda gap: gap[1] - gap[0])
    return (low + high) / 2 if high - low > NARROWEST else None
