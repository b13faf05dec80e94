"""Rate-quality curves, as SVG for pages and as PNG."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle, product
from typing import Any

import numpy as np

from kcompress.evaluation.points import Point
from kcompress.evaluation.summary import curves_of
from kcompress.networks import NONE

_COLOURS = [f"C{number}" for number in range(10) if number != 7]
"""Matplotlib's, but for its grey: that is ``none``."""


Machines = Sequence[Mapping[str, Any]]
"""Entries of `machine_summary.summarise`: curves of scores that are none of a single picture."""


def mean_curves(points: Sequence[Point], codec: str, metric: str, machines: Machines = ()) -> str:
    """One figure: mean score over mean bits per pixel, a line a preprocessor; ``metric`` may be a machine's name."""
    styles = _styles(points)
    figure, axes = _figure(1, 1, 5.2, 3.8)
    for preprocessor, by_picture in curves_of(points, codec).items():
        curve = _by_machine(machines, codec, preprocessor, metric) or _mean(by_picture.values(), metric)
        _line(axes[0], curve, preprocessor, styles)
    _labelled(axes[0], codec, metric)
    axes[0].legend(frameon=False)
    return _svg(figure)


def overview(points: Sequence[Point], codecs: Sequence[str], metrics: Sequence[str], machines: Machines = ()) -> bytes:
    """All of them in one PNG, under one legend: a row a codec, a column a metric (Kuchen paper, figure 4)."""
    styles = _styles(points)
    figure, axes = _figure(len(codecs), len(metrics), 5.2 * len(metrics), 3.8 * len(codecs))
    lines: dict[str, Any] = {}
    for place, (codec, metric) in zip(axes, product(codecs, metrics), strict=True):
        for preprocessor, by_picture in curves_of(points, codec).items():
            curve = _by_machine(machines, codec, preprocessor, metric) or _mean(by_picture.values(), metric)
            _line(place, curve, preprocessor, styles)
        _labelled(place, codec, metric)
        lines |= {line.get_label(): line for line in place.lines}
    known = [name for name in styles if name in lines]
    figure.legend(
        [lines[name] for name in known], known, loc="outside upper center", frameon=False, ncols=2 * len(metrics)
    )
    output = io.BytesIO()
    figure.savefig(output, format="png", dpi=100)
    return output.getvalue()


def picture_curves(points: Sequence[Point], codec: str, metric: str) -> str:
    """One small figure a picture."""
    preprocessors, styles = curves_of(points, codec), _styles(points)
    pictures = list(dict.fromkeys(point.picture for point in points if point.codec == codec))
    rows = -(-len(pictures) // 4)
    figure, axes = _figure(rows, 4, 11, 2.1 * rows)
    for place, picture in zip(axes, pictures, strict=False):
        for preprocessor, by_picture in preprocessors.items():
            curve = [(p.bpp, p.scores[metric]) for p in by_picture.get(picture, ()) if metric in p.scores]
            _line(place, curve, preprocessor, styles)
        place.set_title(picture.encode(errors="backslashreplace").decode()[-28:].replace("$", r"\$"), fontsize=7)
        place.tick_params(labelsize=6)
    for place in axes[len(pictures) :]:
        place.set_visible(False)
    if len(pictures):
        axes[0].legend(frameon=False, fontsize=6)
    return _svg(figure)


def _by_machine(machines: Machines, codec: str, preprocessor: str, name: str) -> list[tuple[float, float]]:
    """Curve of a machine; the plain codec's stands in every entry."""
    side = 0 if preprocessor == NONE else 1
    for entry in machines:
        if (entry["codec"], entry["machine"]) == (codec, name) and preprocessor in (NONE, entry["preprocessor"]):
            return sorted((row["bpp"][side], row["score"][side]) for row in entry["curves"])
    return []


def _mean(each: Any, metric: str) -> list[tuple[float, float]]:
    """Mean of the curves, point by point; pictures without this metric do not count."""
    whole = [[(p.bpp, p.scores[metric]) for p in curve] for curve in each if all(metric in p.scores for p in curve)]
    longest = max((len(curve) for curve in whole), default=0)
    full = [curve for curve in whole if len(curve) == longest]
    return [tuple(row) for row in np.mean(full, axis=0)] if full else []


def _figure(rows: int, columns: int, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib import rcParams  # slow to load, and only reports need it
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "kcompress"  # the same points give the same file

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).flat)


def _styles(points: Sequence[Point]) -> dict[str, dict[str, str]]:
    """Colour and dashes of every preprocessor, the same in all panels; no two share both."""
    names = [name for name in dict.fromkeys(point.preprocessor for point in points) if name != NONE]
    kinds = [(colour, dashes) for dashes in ("-", "-.", ":") for colour in _COLOURS]
    styles = {
        name: {"color": colour, "linestyle": dashes}
        for name, (colour, dashes) in zip(names, cycle(kinds), strict=False)
    }
    return {NONE: {"color": "#888888", "linestyle": "--"}, **styles}


def _line(axes: Any, curve: Sequence[tuple[float, float]], name: str, styles: Mapping[str, Mapping[str, str]]) -> None:
    if curve:
        axes.plot(*zip(*curve, strict=True), marker="o", markersize=3, linewidth=1.2, label=name, **styles[name])


def _labelled(axes: Any, codec: str, metric: str) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_xscale("log")  # equal distances are equal ratios, as in BD-rate
    axes.xaxis.set_major_locator(FixedLocator([0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("bits per pixel")
    axes.set_ylabel(metric)
    axes.set_title(codec, loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _svg(figure: Any) -> str:
    output = io.StringIO()
    figure.savefig(output, format="svg", metadata={"Date": None})
    text = output.getvalue()
    return text[text.index("<svg") :]
