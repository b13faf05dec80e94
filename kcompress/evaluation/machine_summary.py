"""Machines' rate-accuracy curves, and BD-rates at equal accuracy (NPP paper, tables 1 and 2)."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.evaluation.machines import Machine
from kcompress.evaluation.points import Point
from kcompress.machine.average_precision import AveragePrecision, Matches
from kcompress.networks import NONE
from kcompress.rate_distortion.bd_rate import NoBdRate, bd_rate, pareto_front
from kcompress.rate_distortion.bootstrap import percentiles, resamples

_RESAMPLES = 500
"""Each of them is a BD-rate by itself."""

_ENOUGH = 0.8
"""Share of the resamples that must allow a BD-rate for an interval to be told."""

_Weights = NDArray[np.int64]
"""Number of times that each picture counts."""

_Values = dict[str, float]
"""Values of a set of pictures at one quality: ``bpp``, ``score``, and where there are such ``ap50`` and ``loss``."""

_Curve = Sequence[Callable[[_Weights], _Values]]
"""A function a quality."""


def summarise(points: Sequence[Point], machines: Sequence[Machine]) -> list[dict[str, Any]]:
    """One entry a codec, preprocessor and machine, as plain data for summary.json.

    Curves are those of the whole set: at each quality the mean bits per pixel, the mean loss, and the score of all
    pictures that could be scored everywhere: their mean, or COCO's average precision (``ap50`` is that at IoU 0.5).
    ``bd_rate_percent``, of the points on the `pareto_front`, has one at equal score, loss and ``ap50``, each with its
    95 % percentile bootstrap interval over pictures, or the reason why there is none.
    """
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        groups[point.codec, point.preprocessor].append(point)
    entries = []
    for (codec, preprocessor), own in groups.items():
        plain = groups.get((codec, NONE))
        if preprocessor == NONE or plain is None:
            continue
        for machine in machines:
            entries.append({
                "codec": codec, "preprocessor": preprocessor, "machine": machine.name, "task": machine.task,
                "labelled": bool(machine.labels), **_compared(plain, own, machine),
            })  # fmt: skip
    return entries


def _compared(plain: Sequence[Point], own: Sequence[Point], machine: Machine) -> dict[str, Any]:
    qualities = list(dict.fromkeys(point.quality for point in plain))
    tables = [_table(points, qualities, machine) for points in (plain, own)]
    pictures = sorted(set(tables[0]) & set(tables[1]))
    if not pictures:
        none = {"mean": None, "reason": "no picture could be scored at every quality"}
        return {"pictures": 0, "curves": [], "bd_rate_percent": {"score": none}}
    before, after = (
        [_values([table[name][place] for name in pictures], machine) for place in range(len(qualities))]
        for table in tables
    )
    once = np.ones(len(pictures), dtype=np.int64)
    pairs = [(b(once), a(once)) for b, a in zip(before, after, strict=True)]
    curves = [
        {"quality": quality, **{name: [b[name], a[name]] for name in b}}
        for quality, (b, a) in zip(qualities, pairs, strict=True)
    ]
    names = [name for name in pairs[0][0] if name != "bpp"]
    draws = [np.bincount(chosen, minlength=len(pictures)) for chosen in resamples(len(pictures), _RESAMPLES)]
    rates = [_rates(before, after, weights, names) for weights in (once, *draws)]
    told = {name: _with_interval([each[name] for each in rates]) for name in names}
    return {"pictures": len(pictures), "curves": curves, "bd_rate_percent": told}


def _table(points: Sequence[Point], qualities: Sequence[int], machine: Machine) -> dict[str, list[Point]]:
    """Picture -> its points at each quality; those that lack one are left out."""
    found: dict[str, dict[int, Point]] = defaultdict(dict)
    for point in points:
        if machine.name in point.scores or any(column in point.texts for column in machine.texts):
            found[point.picture][point.quality] = point
    return {name: [each[q] for q in qualities] for name, each in found.items() if len(each) == len(qualities)}


def _values(points: Sequence[Point], machine: Machine) -> Callable[[_Weights], _Values]:
    columns = {"bpp": [point.bpp for point in points]}
    pooled = None
    if machine.texts:
        pooled = AveragePrecision([Matches.from_text(point.texts[machine.texts[0]]) for point in points])
    else:
        columns["score"] = [point.scores[machine.columns[0]] for point in points]
    if all(machine.columns[1] in point.scores for point in points):
        columns["loss"] = [point.scores[machine.columns[1]] for point in points]
    table = {name: np.array(column) for name, column in columns.items()}

    def values(weights: _Weights) -> _Values:
        found = {name: float(np.average(column, weights=weights)) for name, column in table.items()}
        if pooled is not None:
            precision = pooled(weights)
            found |= {"score": float(precision.mean()), "ap50": float(precision[0])}
        return {name: found[name] for name in ("bpp", "score", "ap50", "loss") if name in found}

    return values


def _rates(before: _Curve, after: _Curve, weights: _Weights, names: Sequence[str]) -> dict[str, float | NoBdRate]:
    """BD-rate at each equal value, or why there is none."""
    curves = [[each(weights) for each in curve] for curve in (before, after)]
    found: dict[str, float | NoBdRate] = {}
    for name in names:
        higher = name != "loss"
        plain, prepared = (
            pareto_front([(each["bpp"], each[name]) for each in curve], higher=higher) for curve in curves
        )
        try:
            found[name] = bd_rate(plain, prepared, higher=higher)
        except NoBdRate as reason:
            found[name] = reason
    return found


def _with_interval(rates: Sequence[float | NoBdRate]) -> dict[str, Any]:
    """The first rate with the interval of the others."""
    mean, *others = rates
    if isinstance(mean, NoBdRate):
        return {"mean": None, "reason": str(mean)}
    drawn = [each for each in others if not isinstance(each, NoBdRate)]
    share = len(drawn) / len(others)
    low, high = percentiles(drawn) if share >= _ENOUGH else (None, None)
    return {"mean": mean, "low": low, "high": high, "resamples": share}
