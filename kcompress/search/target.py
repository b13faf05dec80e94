"""Targets: the quality at which a file has the size or the score that is asked for, by as few encodes as possible."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from kcompress.codecs import CODECS
from kcompress.encoding import Encoded
from kcompress.errors import MissingProgramError, UsageError
from kcompress.images import bits_per_pixel
from kcompress.metrics import METRICS
from kcompress.search.typical import TypicalCurve

Result = TypeVar("Result")

SIZE, BPP = "size", "bpp"
TRIES = 6
"""Most encodes of a search."""

TOLERANCE = 0.3
"""Points by which a score on a scale to 100 may be below its target."""

_KNOWN = "ssimulacra2"
"""Metric whose typical curve is known."""

_SPARE = 0.02
"""Share of a size that may be left unused without another try."""

_STEP = 0.15
"""Share of the scale to go where only one try is there, and nothing is known of the slope."""


@dataclass(frozen=True)
class Target:
    """Size or score that a file is to have.

    Attributes:
        of: ``size`` in bytes, ``bpp`` in bits per pixel, or the name of a metric.
        value: largest size, or lowest quality by the metric.
    """

    of: str
    value: float

    def __str__(self) -> str:
        return f"{self.of}={self.value:g}" if self.of != SIZE else f"{self.of}={self.value:.0f}"

    @property
    def metric(self) -> str | None:
        """Metric whose score is the target; None for a size."""
        return None if self.of in (SIZE, BPP) else self.of

    @property
    def tolerance(self) -> float:
        """Score by which a file may be below the target."""
        return TOLERANCE if self.metric and METRICS[self.metric].range[1] == 100 else 0.0

    def measured(self, encoded: Encoded, scores: Callable[[bytes], dict[str, float]] | None) -> float:
        """Size of a file, or its score by a function of its bytes."""
        if self.metric is not None and scores is not None:
            return scores(encoded.data)[self.metric]
        return encoded.bpp if self.of == BPP else float(len(encoded.data))

    def excess(self, measured: float) -> float:
        """Distance from the target; above 0 where the file is finer than it need be, or larger than it may."""
        if self.metric is None:
            return math.log(measured / self.value)
        return METRICS[self.metric].sign * (measured - self.value)

    def holds(self, measured: float) -> bool:
        """Whether a size is not above the target, or a score not below it."""
        excess = self.excess(measured)
        return excess <= 0 if self.metric is None else excess >= -self.tolerance

    def shown(self, measured: float) -> str:
        """A size or score for people."""
        return f"{measured:.0f} bytes" if self.of == SIZE else f"{measured:.4g}"

    def is_near(self, measured: float) -> bool:
        """Whether another try would gain next to nothing."""
        excess = self.excess(measured)
        return -_SPARE <= excess <= 0 if self.metric is None else abs(excess) <= self.tolerance


def score_target(text: str) -> Target:
    """Target of ``[METRIC=]SCORE``, such as ``80``, which means ``ssimulacra2=80``.

    Raises:
        UsageError: no metric of this name, or no score that it can have.
        MissingProgramError: the metric is not installed.
    """
    name, separator, number = text.rpartition("=")
    name = name.strip().lower() if separator else _KNOWN
    if name not in METRICS:
        raise UsageError(f"--target {text}: {name or 'nothing'} is no metric. Allowed: {', '.join(METRICS)}.")
    metric = METRICS[name]
    if not metric.available():
        raise MissingProgramError(f"--target {text}: {name} is not installed. {metric.install}")
    if re.fullmatch(r"\s*\d*\.?\d+\s*", number) is None:
        raise UsageError(f"--target {text}: {number.strip() or 'nothing'} is no score. Give such as {name}=80.")
    value, (low, high) = float(number), metric.range
    if not max(low, 0) <= value <= high:
        raise UsageError(f"--target {text}: scores of {name} go up to {high:g}, {metric.direction} is better.")
    return Target(name, value)


@dataclass(frozen=True)
class Reached(Generic[Result]):
    """Result of a search: the best file, what it measures, and the number of encodes."""

    result: Result
    quality: int
    measured: float
    holds: bool
    tries: int


def first(target: Target, codec: str, qualities: range, width: int, height: int) -> int:
    """Quality at which a typical picture of this size has the target; the codec's default where no curve tells."""
    curve = TypicalCurve(codec, qualities, of_rate=target.metric is None)
    if target.metric is None:
        rate = target.value if target.of == BPP else bits_per_pixel(target.value, width, height)
        return qualities[curve.place(math.log(rate))]
    if target.metric == _KNOWN:
        return qualities[curve.place(target.value)]
    default = CODECS[codec].quality.default
    return default if default in qualities else qualities[-1]


def reach(
    target: Target, attempt: Callable[[int], tuple[Result, float]], codec: str, qualities: range, start: int,
    most: int = TRIES, *, to_end: bool = True,
) -> Reached[Result]:  # fmt: skip
    """Find the best file that holds a target: the finest that is not too large, the coarsest that scores enough.

    Where none holds it, the nearest is returned. Tries follow from the target and the results alone, so the same
    picture gives the same file.

    Args:
        target: to reach.
        attempt: quality -> result and what it measures.
        codec: name of the codec, for its typical curve.
        qualities: allowed, coarse to fine.
        start: quality to begin with, one of them.
        most: encodes at most.
        to_end: whether the last encode is at the end of the scale, where no other one held the target.
    """
    curve = TypicalCurve(codec, qualities, of_rate=target.metric is None)
    place: int | None = qualities.index(start)
    tried: dict[int, float] = {}
    best: Reached[Result] | None = None
    while place is not None and len(tried) < most:
        result, measured = attempt(qualities[place])
        tried[place] = target.excess(measured)
        found = Reached(result, qualities[place], measured, target.holds(measured), len(tried))
        best = found if best is None else better(target, best, found)
        if target.is_near(measured):
            break
        place = following(tried, curve.values.tolist(), slope=1.0 if target.metric in (None, _KNOWN) else None)
        if place is not None and to_end and not best.holds and len(tried) == most - 1:
            place = 0 if target.metric is None else len(qualities) - 1
    assert best is not None  # as the first place is no None
    return replace(best, tries=len(tried))


def following(tried: dict[int, float], typical: Sequence[float], slope: float | None) -> int | None:
    """Place to try next; None where there is none left between those that are too coarse and too fine.

    Args:
        tried: place -> excess, in the order of the tries; excess grows with the place, give or take noise.
        typical: values of a curve of about the same shape; they rise.
        slope: excess over typical value before it is measured; None where it is unknown.
    """
    fine = min((place for place, excess in tried.items() if excess >= 0), default=len(typical))
    coarse = max((place for place, excess in tried.items() if excess < 0 and place < fine), default=-1)
    if fine - coarse <= 1:
        return None
    if coarse < 0 or fine == len(typical):
        aim = _extrapolated(tried, typical, fine if coarse < 0 else coarse, slope)
    else:
        below, above = tried[coarse], tried[fine]
        *_, before, last = tried.values()
        if (before < 0) == (last < 0):  # the other end has stood for two tries: it counts half (Illinois)
            below, above = (below, above / 2) if last < 0 else (below / 2, above)
        aim = typical[coarse] + (typical[fine] - typical[coarse]) * -below / (above - below)
    return min(range(coarse + 1, fine), key=lambda place: abs(typical[place] - aim))


def _extrapolated(tried: dict[int, float], typical: Sequence[float], place: int, slope: float | None) -> float:
    """Typical value at which the excess should be 0, a little beyond, from tries on one side of it."""
    others = [other for other in tried if typical[other] != typical[place]]
    if others:
        other = min(others, key=lambda other: abs(other - place))
        found = (tried[other] - tried[place]) / (typical[other] - typical[place])
        slope = found if slope is None else min(max(found, slope / 3), slope * 3)
    if slope is None or slope <= 0:
        step = max(1, round(_STEP * len(typical))) * (-1 if tried[place] >= 0 else 1)
        return typical[min(max(place + step, 0), len(typical) - 1)]
    return typical[place] - 1.1 * tried[place] / slope


def better(target: Target, one: Reached[Result], other: Reached[Result]) -> Reached[Result]:
    """The one of two that holds the target; of two that do, and of two that do not, the nearest to it."""
    return max(one, other, key=lambda each: (each.holds, -abs(target.excess(each.measured))))
