"""From points to figures: BD-rates with intervals, size at the same quality, time."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

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


def summarise(points: Sequence[Point], metrics: Sequence[str]) -> dict[str, Any]:
    """Everything the report shows, as plain data for summary.json.

    ``comparisons`` holds one entry a codec and preprocessor, against the plain codec on the same pictures.
    All intervals are 95 % percentile bootstrap intervals over pictures.
    """
    measured = curves(points)
    comparisons = [
        _compared(codec, preprocessor, measured[codec, NONE], measured[codec, preprocessor], metrics)
        for codec, preprocessor in measured
        if preprocessor != NONE and (codec, NONE) in measured
    ]
    versions = sorted({(point.codec, point.backend, point.version) for point in points})
    return {
        "pictures": len({point.picture for point in points}),
        "points": len(points),
        "encoders": [{"codec": c, "backend": b, "version": v} for c, b, v in versions],
        "comparisons": comparisons,
    }


def _compared(
    codec: str, preprocessor: str, plain: dict[str, Curve], prepared: dict[str, Curve], metrics: Sequence[str]
) -> dict[str, Any]:
    pictures = [name for name in plain if name in prepared]
    pixels = sum(point.width * point.height for name in pictures for point in prepared[name]) / 1e6
    return {
        "codec": codec,
        "preprocessor": preprocessor,
        "pictures": len(pictures),
        "bd_rate_percent": {metric: _bd_rates(metric, pictures, plain, prepared) for metric in metrics},
        # A peer's qualities mean something else.
        "same_quality": [] if preprocessor in PEERS else _same_quality(pictures, plain, prepared, metrics),
        "seconds_per_megapixel": {
            "preprocess": round(sum(p.preprocess_seconds for name in pictures for p in prepared[name]) / pixels, 4),
            "encode": round(sum(p.encode_seconds for name in pictures for p in prepared[name]) / pixels, 4),
        },
    }


def _bd_rates(
    metric: str, pictures: Sequence[str], plain: dict[str, Curve], prepared: dict[str, Curve]
) -> dict[str, Any]:
    """Mean over pictures of each one's BD-rate, and which pictures allowed none."""
    higher = METRICS[metric].direction == "higher"
    rates: dict[str, float] = {}
    refused: dict[str, str] = {}
    for name in pictures:
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


def _same_quality(
    pictures: Sequence[str], plain: dict[str, Curve], prepared: dict[str, Curve], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Per quality setting: change of the total size, and the mean scores of both (Kuchen paper, table 1).

    Intervals stand beside the change of the size, and of each score from picture to picture.
    """
    rows = []
    for quality in dict.fromkeys(point.quality for name in pictures for point in plain[name]):
        pairs = [
            (before, after)
            for name in pictures
            for before in plain[name]
            for after in prepared[name]
            if before.quality == quality == after.quality
        ]
        if not pairs:
            continue
        sizes = [[pair[i].bytes for pair in pairs] for i in (0, 1)]
        low, high = change_interval(*sizes)
        scores = {
            metric: [_mean([pair[i].scores[metric] for pair in pairs if metric in pair[i].scores]) for i in (0, 1)]
            for metric in metrics
        }
        rows.append({
            "quality": quality,
            "bytes": [sum(each) for each in sizes],
            "size_change_percent": 100 * (sum(sizes[1]) / sum(sizes[0]) - 1),
            "size_change_interval": [low, high],
            "scores": scores,
            "score_change_interval": {metric: _change(pairs, metric) for metric in metrics},
        })  # fmt: skip
    return rows


def _change(pairs: Sequence[tuple[Point, Point]], metric: str) -> list[float] | None:
    """Interval of the mean change of a score."""
    both = [(before.scores.get(metric, np.nan), after.scores.get(metric, np.nan)) for before, after in pairs]
    changes = [after - before for before, after in both if np.isfinite(after) and np.isfinite(before)]
    return list(mean_interval(changes)) if changes else None


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None
