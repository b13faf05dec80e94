"""From points to figures: BD-rates with intervals, size at the same quality, time."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from kcompress.evaluation.equal_size import nearest_points
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.points import Point
from kcompress.metrics import METRICS
from kcompress.networks import NONE
from kcompress.rate_distortion.bd_rate import NoBdRate, bd_rate
from kcompress.rate_distortion.bootstrap import change_interval, mean_interval

Curve = list[Point]


def curves(points: Sequence[Point]) -> dict[tuple[str, str], dict[str, Curve]]:
    """(codec, preprocessor) -> picture -> its points, worst quality first."""
    found: dict[tuple[str, str], dict[str, Curve]] = defaultdict(lambda: defaultdict(list))
    for point in points:
        found[point.codec, point.preprocessor][point.picture].append(point)
    return {
        key: {name: sorted(curve, key=lambda p: p.bpp) for name, curve in each.items()} for key, each in found.items()
    }


def curves_of(points: Sequence[Point], codec: str) -> dict[str, dict[str, Curve]]:
    """Curves of one codec: preprocessor -> picture -> its points, worst quality first."""
    return {preprocessor: by_picture for (name, preprocessor), by_picture in curves(points).items() if name == codec}


def meeting(points: Sequence[Point]) -> list[Point]:
    """For every picture and preprocessor as many points as the plain codec has: those nearest to its own in bytes."""
    measured = curves(points)
    return [
        point
        for (codec, _), by_picture in measured.items()
        for picture, curve in by_picture.items()
        for point in nearest_points(measured[codec, NONE][picture], curve)
    ]


def summarise(points: Sequence[Point], metrics: Sequence[str], *, equal_bits: bool = False) -> dict[str, Any]:
    """Everything the report shows, as plain data for summary.json.

    ``comparisons`` holds one entry a codec and preprocessor, against the plain codec on the same pictures. Its table
    ``same_quality`` compares at the same quality; with ``equal_bits``, for points that were searched for, its table
    ``same_bits`` compares those nearest in bytes. ``against_peers`` holds the BD-rates of all against
    each peer beside them. All intervals are 95 % percentile bootstrap intervals over pictures.
    """
    measured = curves(points)
    comparisons = [
        _compared(codec, preprocessor, measured[codec, NONE], measured[codec, preprocessor], metrics, equal_bits)
        for codec, preprocessor in measured
        if preprocessor != NONE and (codec, NONE) in measured
    ]
    versions = sorted({(point.codec, point.backend, point.version) for point in points})
    return {
        "pictures": len({point.picture for point in points}),
        "points": len(points),
        "encoders": [{"codec": c, "backend": b, "version": v} for c, b, v in versions],
        "comparisons": comparisons,
        "against_peers": [
            {"codec": codec, "against": peer, "preprocessor": name, "bd_rate_percent": _bd_rates(metrics, plain, other)}
            for (codec, peer), plain in measured.items()
            if peer in PEERS
            for (beside, name), other in measured.items()
            if beside == codec and name != peer
        ],
    }


def _compared(
    codec: str, preprocessor: str, plain: dict[str, Curve], prepared: dict[str, Curve], metrics: Sequence[str],
    equal_bits: bool,
) -> dict[str, Any]:  # fmt: skip
    pictures = [name for name in plain if name in prepared]
    # A peer's qualities mean something else.
    same_quality = [] if equal_bits or preprocessor in PEERS else _same_quality(pictures, plain, prepared)
    same_bits = _same_bits(pictures, plain, prepared) if equal_bits else []
    pixels = sum(point.width * point.height for name in pictures for point in prepared[name]) / 1e6
    return {
        "codec": codec,
        "preprocessor": preprocessor,
        "pictures": len(pictures),
        "qualities": max((len(plain[name]) for name in pictures), default=0),
        "bd_rate_percent": _bd_rates(metrics, plain, prepared),
        "same_quality": [_row(pairs, metrics) for pairs in same_quality],
        "same_bits": [_row(pairs, metrics) | _meeting(pairs) for pairs in same_bits],
        "seconds_per_megapixel": {
            "preprocess": round(sum(p.preprocess_seconds for name in pictures for p in prepared[name]) / pixels, 4),
            "encode": round(sum(p.encode_seconds for name in pictures for p in prepared[name]) / pixels, 4),
        },
    }


def _bd_rates(metrics: Sequence[str], plain: dict[str, Curve], prepared: dict[str, Curve]) -> dict[str, Any]:
    """By metric, the mean of the BD-rates of pictures that both have, and which pictures allowed none."""
    return {metric: _bd_rate(metric, plain, prepared) for metric in metrics}


def _bd_rate(metric: str, plain: dict[str, Curve], prepared: dict[str, Curve]) -> dict[str, Any]:
    higher = METRICS[metric].direction == "higher"
    rates: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name in (name for name in plain if name in prepared):
        try:
            rates[name] = bd_rate(_scored(plain[name], metric), _scored(prepared[name], metric), higher=higher)
        except NoBdRate as reason:
            refused[name] = str(reason)
    result: dict[str, Any] = {"mean": None, "low": None, "high": None, "pictures": rates, "refused": refused}
    if rates:
        low, high = mean_interval(list(rates.values()))
        result |= {"mean": float(np.mean(list(rates.values()))), "low": low, "high": high}
    return result


def _scored(curve: Curve, metric: str) -> list[tuple[float, float]]:
    return [(point.bpp, point.scores[metric]) for point in curve if metric in point.scores]


Pairs = list[tuple[Point, Point]]
"""Points without and with a preprocessor, a pair a picture."""


def _same_quality(pictures: Sequence[str], plain: dict[str, Curve], prepared: dict[str, Curve]) -> list[Pairs]:
    """Pairs at each quality setting, where there are any."""
    every = [
        [
            (before, after)
            for name in pictures
            for before in plain[name]
            for after in prepared[name]
            if before.quality == quality == after.quality
        ]
        for quality in dict.fromkeys(point.quality for name in pictures for point in plain[name])
    ]
    return [pairs for pairs in every if pairs]


def _same_bits(pictures: Sequence[str], plain: dict[str, Curve], prepared: dict[str, Curve]) -> list[Pairs]:
    """Pairs nearest in bytes, for each quality of the plain codec."""
    found: dict[int, Pairs] = defaultdict(list)
    for name in pictures:
        for before, after in zip(plain[name], nearest_points(plain[name], prepared[name]), strict=True):
            found[before.quality].append((before, after))
    return list(found.values())


def _row(pairs: Pairs, metrics: Sequence[str]) -> dict[str, Any]:
    """Change of the total size and mean scores of both, at one quality of the plain codec (Kuchen paper, table 1).

    Intervals stand beside the change of the size, and of each score from picture to picture.
    """
    sizes = [[pair[i].bytes for pair in pairs] for i in (0, 1)]
    low, high = change_interval(*sizes)
    scores = {
        metric: [_mean([pair[i].scores[metric] for pair in pairs if metric in pair[i].scores]) for i in (0, 1)]
        for metric in metrics
    }
    return {
        "quality": pairs[0][0].quality,
        "bytes": [sum(each) for each in sizes],
        "size_change_percent": 100 * (sum(sizes[1]) / sum(sizes[0]) - 1),
        "size_change_interval": [low, high],
        "scores": scores,
        "score_change_interval": {metric: _change(pairs, metric) for metric in metrics},
    }  # fmt: skip


def _meeting(pairs: Pairs) -> dict[str, Any]:
    """Mean quality that was needed, mean bits per pixel, and how far the sizes of one picture are apart at most."""
    return {
        "quality_after": _mean([after.quality for _, after in pairs]),
        "bpp": [_mean([pair[i].bpp for pair in pairs]) for i in (0, 1)],
        "largest_difference_percent": max(100 * abs(after.bytes / before.bytes - 1) for before, after in pairs),
    }


def _change(pairs: Pairs, metric: str) -> list[float] | None:
    """Interval of the mean change of a score."""
    both = [(before.scores.get(metric, np.nan), after.scores.get(metric, np.nan)) for before, after in pairs]
    changes = [after - before for before, after in both if np.isfinite(after) and np.isfinite(before)]
    return list(mean_interval(changes)) if changes else None


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None
