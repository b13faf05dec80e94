"""report.html: everything a bench found, in one file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kcompress.codecs import decode
from kcompress.encoding import encode
from kcompress.evaluation.comparison import score_text
from kcompress.evaluation.page import Shown, render, shown
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plots import mean_curves, picture_curves
from kcompress.evaluation.points import Point
from kcompress.evaluation.report import BD_RATE, REFUSALS, bd_text, machine_text, peers_text
from kcompress.evaluation.sweep import Plan, original, preprocessor_of
from kcompress.images import Pixels
from kcompress.networks import NONE

_CROP = (300, 460)
"""Rows and columns of the before/after pairs: whole pictures would make the file large."""


@dataclass(frozen=True)
class _Pair:
    """One before/after pair: the original, and what the codec gives of it without and with the preprocessor."""

    title: str
    original: Shown
    others: list[Shown]


def report_page(plan: Plan, points: Sequence[Point], summary: Mapping[str, Any]) -> str:
    """The page as HTML without any reference to other files."""
    accuracies = [machine.name for machine in plan.machines]
    means = [[mean_curves(points, codec, name) for name in (*accuracies, *plan.metrics)] for codec in plan.qualities]
    # A set for machines has hundreds of small pictures, of which none matters by itself.
    codecs = [] if plan.machines else plan.qualities
    return render(
        "report.html", summary=summary, metrics=plan.metrics, bd_text=bd_text, bd_rate=BD_RATE, score_text=score_text,
        refusals=REFUSALS, peers=peers_text(summary), machine_text=machine_text, mean_figures=means,
        pairs=list(_pairs(plan, summary)),
        picture_figures=[(codec, picture_curves(points, codec, plan.metrics[0])) for codec in codecs],
    )  # fmt: skip


def _pairs(plan: Plan, summary: Mapping[str, Any]) -> Iterator[_Pair]:
    for entry in summary["comparisons"]:
        if entry["preprocessor"] in PEERS:
            continue
        rates = entry["bd_rate_percent"][plan.metrics[0]]["pictures"]
        extremes = dict.fromkeys(pick(rates, key=rates.get) for pick in (min, max)) if rates else {}
        for picture in extremes:
            yield _pair(plan, entry["codec"], entry["preprocessor"], picture, rates[picture])


def _pair(plan: Plan, codec_name: str, name: str, picture: str, rate: float) -> _Pair:
    """Encode one picture again without and with a preprocessor, at the middle quality."""
    image = original(plan.dataset.read(picture), picture)
    qualities = plan.qualities[codec_name]
    quality = qualities[len(qualities) // 2]
    encoded = []
    for preprocessor in (NONE, name):
        codec, chosen = plan.codec(codec_name, preprocessor), preprocessor_of(plan, preprocessor, codec_name)
        encoded.append(encode(image, codec, plan.setting(codec, preprocessor, quality), chosen, plan.backend))
    decoded = [decode(each.data, picture).pixels for each in encoded]
    window = _most_changed(*decoded)
    others = [
        shown(f"{codec_name} {label}", f"{len(each.data):,} bytes", pixels[window])
        for label, each, pixels in zip(("plain", name), encoded, decoded, strict=True)
    ]
    title = f"{codec_name}, {name}: {picture}, BD-rate {rate:+.1f} %, quality {quality}"
    return _Pair(title, shown(picture, "original", image.pixels[window]), others)


def _most_changed(a: Pixels, b: Pixels) -> tuple[slice, slice]:
    """The window of ``_CROP`` in which two pictures differ most."""
    change = np.abs(a.astype(np.int16) - b).sum(axis=2)
    total = np.pad(change.cumsum(axis=0).cumsum(axis=1), [(1, 0), (1, 0)])
    rows, columns = (min(side, wanted) for side, wanted in zip(change.shape, _CROP, strict=True))
    sums = total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)
