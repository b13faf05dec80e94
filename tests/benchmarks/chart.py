"""Chart of bytes at equal quality, from finished benches and the cards of weights, as the README shows it.

    kcompress bench photos/ -o peers/ --codec jpeg,webp,hevc,avif --peers --metric ssimulacra2,butteraugli,iw-ssim,psnr
    chart.py peers/ --against webp=cwebp,hevc=libheif,avif=libavif -o equal-quality.png
    chart.py equal-quality.json -o equal-quality.png

Folders are those of `kcompress bench`, and peers in them are paler. A codec's rows are held against the plain encoder
of the first folder that has the codec, so that a second JPEG encoder stands beside the first; or against a peer.
Figures are kept beside the chart, in a .json of its name.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from kcompress.csv_rows import Rows
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.points import Point
from kcompress.evaluation.summary import curves
from kcompress.metrics import METRICS
from kcompress.networks import NONE
from kcompress.rate_distortion.bd_rate import NoBdRate, bd_rate
from kcompress.rate_distortion.bootstrap import mean_interval

METRIC_NAMES = {"ssimulacra2": "SSIMULACRA2", "butteraugli": "Butteraugli", "iw-ssim": "IW-SSIM", "psnr": "PSNR"}
COLOURS = {"ssimulacra2": "#1b6ca8", "butteraugli": "#e08e2b", "iw-ssim": "#3a8f5c", "psnr": "#8a8a8a"}
PALE = 0.45
"""Opacity of peers' bars."""


def points_of(folder: Path) -> list[Point]:
    """Points of one bench."""
    with (folder / "points.csv").open(newline="") as file:
        header = next(csv.reader(file))
    return Rows(Point, [column for column in header if column in METRICS]).read(folder / "points.csv")


def benches(folders: Sequence[Path], against: Mapping[str, str]) -> list[dict[str, Any]]:
    """BD-rates of everything in the folders against each codec's first plain encoder, or a peer by codec."""
    anchors: dict[str, dict[str, list[Point]]] = {}
    rows = []
    for folder in folders:
        source = json.loads((folder / "summary.json").read_text())["command"]
        measured = curves(points_of(folder))
        for (codec, preprocessor), by_picture in measured.items():
            reference = against.get(codec, NONE)
            anchor = anchors.setdefault(codec, measured[codec, reference])
            if anchor is by_picture:
                continue
            first = next(iter(by_picture.values()))[0]
            rates = {metric: compared(anchor, by_picture, metric) for metric in METRIC_NAMES if metric in first.scores}
            told = row(codec, f"{first.backend} {first.version}", preprocessor, rates, source)
            rows.append(told if reference == NONE else told | {"against": reference})
    return rows


def measured(card: Path) -> dict[str, Any]:
    """What a card says of its network, against the plain encoder."""
    told = json.loads(card.read_text())
    rates = told["measured"]["BD-rate % (mean, 95 % interval)"][told["network"]]
    figures = {
        metric: dict(zip(("mean", "low", "high"), rates[metric], strict=True))
        for metric in METRIC_NAMES
        if metric in rates
    }
    return row(told["codec"], told["measured"]["encoder"], told["network"], figures, card.name)


def row(codec: str, encoder: str, preprocessor: str, rates: dict[str, Any], source: str) -> dict[str, Any]:
    """One group of bars, and where its figures come from."""
    names = {"codec": codec, "encoder": encoder, "preprocessor": preprocessor, "source": source}
    return names | {"bd_rate_percent": rates}


def compared(plain: dict[str, list[Point]], other: dict[str, list[Point]], metric: str) -> dict[str, Any]:
    """Mean BD-rate over pictures and its 95 % bootstrap interval."""
    rates, refused = [], 0
    for picture in sorted(plain.keys() & other.keys()):
        both = [[(p.bpp, p.scores[metric]) for p in each[picture]] for each in (plain, other)]
        try:
            rates.append(bd_rate(*both, higher=METRICS[metric].direction == "higher"))
        except NoBdRate:
            refused += 1
    low, high = mean_interval(rates)
    figures = {"mean": float(np.mean(rates)), "low": low, "high": high}
    return {name: round(value, 2) for name, value in figures.items()} | {"pictures": len(rates), "refused": refused}


def codec_name(codec: str) -> str:
    """A codec as people write it."""
    return {"webp": "WebP"}.get(codec, codec.upper())


def label(row: dict[str, Any]) -> str:
    """Name of a row: the codec, its encoder where there are several, the network."""
    name = codec_name(row["codec"])
    if row["preprocessor"] in PEERS:
        return f"{name}: {row['preprocessor']}"
    if row["codec"] == "jpeg":
        name += " by mozjpeg" if "mozjpeg" in row["encoder"] else " by libjpeg-turbo"
    return (
        (f"{name}, no network" if "against" in row else name)
        if row["preprocessor"] == NONE
        else f"{name}, {row['preprocessor']}"
    )


def shown(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Metrics that all rows have."""
    return [metric for metric in METRIC_NAMES if all(metric in row["bd_rate_percent"] for row in rows)]


def drawn(rows: Sequence[dict[str, Any]]) -> Figure:
    """One group of bars a row, one bar a metric, white behind them so that it can be read in dark mode too."""
    metrics = shown(rows)
    figure = Figure(
        figsize=(8, 1.1 + 0.62 / 3 * len(metrics) * len(rows)), dpi=100, facecolor="white", layout="constrained"
    )
    axes = figure.subplots()
    height = 0.8 / len(metrics)
    for number, metric in enumerate(metrics):
        each = [row["bd_rate_percent"][metric] for row in rows]
        means = np.array([figures["mean"] for figures in each])
        sides = [means - [f["low"] for f in each], [f["high"] for f in each] - means]
        places = np.arange(len(rows)) + (number - (len(metrics) - 1) / 2) * height
        bars = axes.barh(
            places, means, height * 0.92, xerr=sides, color=COLOURS[metric], label=METRIC_NAMES[metric],
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
        )  # fmt: skip
        for bar, figures, row in zip(bars, each, rows, strict=True):
            bar.set_alpha(PALE if row["preprocessor"] in PEERS else 1)
            end, side = (figures["low"], "right") if figures["mean"] < 0 else (figures["high"], "left")
            place = (end - 0.25 if side == "right" else end + 0.25, bar.get_y() + bar.get_height() / 2)
            axes.text(*place, f"{figures['mean']:+.1f} %", ha=side, va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [label(row) for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.axvline(0, color="black", linewidth=0.8)
    known = {
        row["codec"]: row.get("against", "libjpeg-turbo") for row in rows if row["codec"] == "jpeg" or "against" in row
    }
    against = ", ".join(f"{codec_name(codec)}: {name}" for codec, name in known.items())
    axes.set_xlabel(f"bytes at equal quality against the plain encoder; less is better\n({against})", fontsize=9)
    axes.xaxis.set_major_formatter("{x:+g} %")
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", fontsize=9)
    return figure


def main() -> None:
    """Draw the chart, and keep the figures of finished benches beside it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="+", type=Path, help="folders of benches and cards, or one stored .json")
    parser.add_argument(
        "--against", default="", help="a codec's reference where it is a peer: hevc=libheif,avif=libavif"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="the chart, .png or .svg")
    options = parser.parse_args()
    against = dict(part.split("=") for part in options.against.split(",") if part)
    stored = [path for path in options.results if not path.is_dir() and "rows" in json.loads(path.read_text())]
    if stored:
        (rows,) = (json.loads(path.read_text())["rows"] for path in options.results)
    else:
        rows = benches([path for path in options.results if path.is_dir()], against)
        rows += [measured(path) for path in options.results if not path.is_dir()]
        options.output.with_suffix(".json").write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    drawn(rows).savefig(options.output)


if __name__ == "__main__":
    main()
