"""report.html: everything a bench found, in one file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompress.evaluation import crops
from kcompress.evaluation.comparison import score_text
from kcompress.evaluation.crops import most_changed
from kcompress.evaluation.equal_size import nearest_quality
from kcompress.evaluation.files import Files
from kcompress.evaluation.page import Shown, render, shown
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.plots import mean_curves, picture_curves
from kcompress.evaluation.points import Point
from kcompress.evaluation.report import (
    AGAINST_PEERS,
    BD_RATE,
    REFUSALS,
    TOO_FEW,
    bd_text,
    has_bd_rates,
    machine_scores,
    machine_text,
    peers_text,
    same_cells,
    same_heading,
    same_rows,
    same_text,
)
from kcompress.evaluation.summary import meeting
from kcompress.evaluation.sweep import original
from kcompress.metrics import Scorer
from kcompress.networks import NONE

_CROP = (300, 460)
"""Rows and columns of the before/after pairs: whole pictures would make the file large."""


@dataclass(frozen=True)
class _Pair:
    """One picture without and with a preprocessor: at the same quality, and at nearly the same bytes."""

    title: str
    original: Shown
    same_quality: tuple[Shown, Shown]
    same_bytes: tuple[Shown, Shown]


def report_page(plan: Plan, points: Sequence[Point], summary: Mapping[str, Any]) -> str:
    """The page as HTML without any reference to other files."""
    accuracies = [machine.name for machine in plan.machines]
    machines = summary["machines"]
    met = meeting(points) if plan.match_bpp else points
    means = [
        [mean_curves(met, codec, name, machines) for name in (*accuracies, *plan.metrics)] for codec in plan.qualities
    ]
    # A set for machines has hundreds of small pictures, of which none matters by itself.
    measured = set() if plan.machines else {point.codec for point in points}
    codecs = [codec for codec in plan.qualities if codec in measured]
    return render(
        "report.html", summary=summary, metrics=list(plan.metrics), bd_text=bd_text, bd_rate=BD_RATE,
        refusals=REFUSALS, has_bd_rates=has_bd_rates(summary), too_few=TOO_FEW,
        peers=peers_text(summary), against_peers=AGAINST_PEERS, machine_text=machine_text,
        machine_scores=machine_scores(machines), mean_figures=means,
        same_heading=same_heading(summary), same_text=same_text(summary), same_rows=same_rows, same_cells=same_cells,
        crops=list(crops.rows(plan, points)), match_bpp=plan.match_bpp, pairs=list(_pairs(plan, points, summary)),
        picture_figures=[(codec, picture_curves(points, codec, plan.metrics[0])) for codec in codecs],
    )  # fmt: skip


def _pairs(plan: Plan, points: Sequence[Point], summary: Mapping[str, Any]) -> Iterator[_Pair]:
    for entry in summary["comparisons"]:
        if entry["preprocessor"] in PEERS:
            continue
        rates = entry["bd_rate_percent"][plan.metrics[0]]["pictures"]
        extremes = dict.fromkeys(pick(rates, key=rates.get) for pick in (min, max)) if rates else {}
        for picture in extremes:
            sizes = {
                point.quality: point.bytes
                for point in points
                if (point.picture, point.codec, point.preprocessor) == (picture, entry["codec"], NONE)
            }
            yield _pair(plan, entry["codec"], entry["preprocessor"], picture, rates[picture], sizes)


def _pair(plan: Plan, codec_name: str, name: str, picture: str, rate: float, sizes: Mapping[int, int]) -> _Pair:
    """Encode one picture again at the middle quality, with and without a preprocessor; ``sizes`` are plain ones."""
    image = original(plan.dataset.read(picture), picture)
    qualities = plan.qualities[codec_name]
    quality = qualities[len(qualities) // 2]
    scorer = Scorer(image.pixels, plan.metrics[:1])

    files = Files(plan, image, codec_name)
    window = most_changed([files.pixels(NONE, quality), files.pixels(name, quality)], _CROP)

    def size_of(preprocessor: str, quality: int) -> int:
        return len(files.file(preprocessor, quality).data)

    def part(preprocessor: str, quality: int) -> Shown:
        pixels, size = files.pixels(preprocessor, quality), size_of(preprocessor, quality)
        scores = ", ".join(f"{metric} {score_text(score)}" for metric, score in scorer(pixels).items())
        label = "plain" if preprocessor == NONE else preprocessor
        return shown(f"{codec_name} {label}", f"{size:,} bytes, q {quality}, {scores}", pixels[window])

    scale = plan.codec(codec_name, NONE).quality
    equal = nearest_quality(scale, size_of(name, quality), quality, sizes, lambda q: size_of(NONE, q))
    changed = part(name, quality)
    return _Pair(
        f"{codec_name}, {name}: {picture}, BD-rate {rate:+.1f} %", shown(picture, "original", image.pixels[window]),
        (part(NONE, quality), changed), (part(NONE, equal), changed),
    )  # fmt: skip
