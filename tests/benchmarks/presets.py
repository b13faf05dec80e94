"""Time and bytes of every preset beside free encoders: figures, and the chart that the README shows.

    presets.py photos/ -o presets.png
    presets.py photos/ --codec hevc -o presets.png
    presets.py presets.json -o presets.png

Crops of photographs, spread over the folder, are encoded at four qualities or more. Time is processor time, of user
and system and of programs that are run, from a PNG in memory to a file, by one thread; Python's start-up is not in it.
Bytes are BD-rates against each codec's reference, by SSIMULACRA2 and as a mean over ``METRICS``. Figures are kept
beside the chart, in a .json of its name; a codec that is measured again takes the place of what is there.
"""

import argparse
import io
import json
import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator
from PIL import Image

from kcompress.codecs import CODECS
from kcompress.evaluation.peers import PEERS, Peer
from kcompress.images import read
from kcompress.metrics import METRICS as KNOWN
from kcompress.networks import NONE
from kcompress.presets import PRESETS, resolved
from kcompress.rate_distortion.bd_rate import bd_rate
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.search import pipeline
from kcompress.search.plan import plan
from kcompress.workers import one_thread

METRICS = ("ssimulacra2", "butteraugli", "psnr", "ms-ssim", "vif", "iw-ssim")
REFERENCES = {"jpeg": "libjpeg-turbo", "webp": "cwebp", "hevc": "libheif", "bpg": NONE, "avif": "libavif"}
"""Free encoder against which a codec's files are held; ``none`` is the codec by default without a network."""

QUALITIES = {
    "jpeg": (25, 50, 75, 90), "webp": (15, 45, 75, 92), "hevc": (40, 36, 32, 28, 24, 20), "bpg": (40, 33, 27, 20),
    "avif": (28, 47, 66, 84), "libheif": (25, 33, 42, 51, 60, 68, 77),
}  # fmt: skip
"""By codec, and of peers that have another scale: about 30 to 85 points of SSIMULACRA2.

Curves whose points lie at other places need more of them: IW-SSIM flattens out, and four cost HEVC 4 % there.
"""

LINES = {"ssimulacra2": ("SSIMULACRA2", "-", False), "mix": ("mean of six metrics", "--", True)}
"""What is drawn: its name, the line between presets, and whether markers are hollow."""

_LEFT, _RIGHT, _ABOVE, _BELOW = (
    ("right", min, (-8, 0)),
    ("left", max, (8, 0)),
    ("center", max, (0, 13)),
    ("center", min, (0, -14)),
)
SIDES = {
    "fast": _LEFT, "default": ("right", min, (2, -13)), "best": _BELOW, "libjpeg-turbo": _RIGHT, "mozjpeg": _ABOVE,
    "jpegli": ("right", max, (-8, 0)), "cwebp": _LEFT, "constant-qp": _RIGHT,
    "libheif": _LEFT, "libavif": _RIGHT,
}  # fmt: skip
"""Sides on which names stand, where there is room: alignment, the marker that counts, shift in points."""

SMALL = 13
"""Size of all text, points: legible where the chart is shown at half its width."""
OURS, OTHERS = "#0072b2", "#d55e00"  # of Okabe and Ito, for all eyes

Curve = list[tuple[int, dict[str, float]]]


@dataclass(frozen=True)
class Way:
    """One way to a codec's files: a preset, or a free encoder. ``encode`` takes a picture file and a quality."""

    codec: str
    name: str
    encoder: str
    qualities: tuple[int, ...]
    encode: Callable[[bytes, int], bytes]


def ways(codec: str) -> Iterator[Way]:
    """The free encoders of a codec that are installed, and its presets."""
    for name, peer in PEERS.items():
        if name == REFERENCES[codec] or peer.beside == (codec,):
            version = peer.version()
            if version is not None:
                yield Way(codec, name, version, QUALITIES.get(name, QUALITIES[codec]), partial(_by_peer, peer))
    if REFERENCES[codec] == NONE:
        yield _ours(codec, NONE, "default", NONE)
    for preset in PRESETS:
        yield _ours(codec, preset, preset)


def _by_peer(peer: Peer, data: bytes, quality: int) -> bytes:
    return peer.encode(read(data, metadata="none"), quality)


def _ours(codec: str, name: str, preset: str, network: str | None = None) -> Way:
    choice = resolved(preset, codec, "auto", network, None, None)
    setting = CODECS[codec].setting(effort=choice.effort)
    planned = plan(
        CODECS[codec], setting, choice.network, refine=choice.refine, metadata="none", min_saving=None, device="cpu"
    )  # fmt: skip
    backend = CODECS[codec].backend(setting=setting)
    steps = f", refine {choice.refine}" if choice.refine else ""
    return Way(
        codec, name, f"{backend.name} {backend.version()}, effort {setting.effort}, {choice.network}{steps}",
        QUALITIES[codec], lambda data, quality: pipeline.run(planned.at(quality), data, name).encoded.data,
    )  # fmt: skip


def crops(photos: Path, count: int, side: int) -> Iterator[bytes]:
    """PNG files of the middles of pictures, spread over a folder."""
    files = sorted(path for path in photos.iterdir() if path.suffix == ".png")
    for number in np.unique(np.linspace(0, len(files) - 1, count).round()).astype(int):
        with Image.open(files[number]) as picture:
            left, top = (max(0, (length - side) // 2) for length in picture.size)
            stream = io.BytesIO()
            picture.convert("RGB").crop(
                (left, top, min(left + side, picture.width), min(top + side, picture.height))
            ).save(stream, "PNG")
            yield stream.getvalue()


def processor_seconds() -> float:
    """Processor time of this process and the programs that it ran."""
    both = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def measured(way: Way, pictures: Sequence[tuple[bytes, FileScorer]], pixels: int) -> tuple[float, list[Curve]]:
    """Processor seconds a megapixel, and size and scores of each picture's files by quality."""
    way.encode(pictures[0][0], way.qualities[0])  # loads what is loaded once
    seconds, curves = 0.0, []
    for data, score in pictures:
        curve: Curve = []
        for quality in way.qualities:
            start = processor_seconds()
            file = way.encode(data, quality)
            seconds += processor_seconds() - start
            curve.append((len(file), score(file)))
        curves.append(curve)
    return seconds / (len(way.qualities) * pixels / 1e6), curves


def rows(pictures: Sequence[bytes], codec: str) -> Iterator[dict[str, Any]]:
    """Figures of all ways to a codec's files."""
    images = [read(data, metadata="none") for data in pictures]
    scored = [(data, FileScorer(image, METRICS)) for data, image in zip(pictures, images, strict=True)]
    pixels = sum(image.width * image.height for image in images)
    found = [(way, *measured(way, scored, pixels)) for way in ways(codec)]
    anchor = next((curves for way, _, curves in found if way.name == REFERENCES[codec]), None)
    if anchor is None:
        raise SystemExit(f"{codec} is measured against {REFERENCES[codec]}, which is missing here. Install it.")
    for way, seconds, curves in found:
        rates = {metric: round(_mean_rate(anchor, curves, metric), 2) for metric in METRICS}
        yield {
            "codec": codec, "name": way.name, "encoder": way.encoder, "against": REFERENCES[codec],
            "seconds_per_megapixel": round(seconds, 3),
            "bd_rate_percent": {**rates, "mix": round(mean(rates.values()), 2)},
        }  # fmt: skip


def _mean_rate(anchor: Sequence[Curve], curves: Sequence[Curve], metric: str) -> float:
    """Mean BD-rate over pictures by one metric."""
    both = (
        [[(size, scores[metric]) for size, scores in curve] for curve in pair]
        for pair in zip(anchor, curves, strict=True)
    )
    return mean(bd_rate(*pair, higher=KNOWN[metric].direction == "higher") for pair in both)


def drawn(found: Sequence[dict[str, Any]]) -> Figure:
    """A panel a codec: bytes over time, presets joined by lines, white behind them so that dark mode can show it."""
    figure = Figure(figsize=(8, 9), dpi=100, facecolor="white", layout="constrained")
    panels = list(figure.subplots(3, 2).flat)
    codecs = dict.fromkeys(row["codec"] for row in found)
    for codec, axes in zip(codecs, panels, strict=False):
        _panel(axes, [row for row in found if row["codec"] == codec])
    for axes in panels[len(codecs) :]:
        axes.axis("off")
    panels[-1].legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False, fontsize=SMALL)
    figure.supxlabel("processor seconds a megapixel; less is better", fontsize=SMALL)
    figure.supylabel("bytes at equal quality; less is better", fontsize=SMALL)
    return figure


def _panel(axes: Axes, found: Sequence[dict[str, Any]]) -> None:
    """One codec."""
    ours = [row for row in found if row["name"] in PRESETS]
    others = [row for row in found if row["name"] not in (*PRESETS, NONE)]
    for metric, (told, style, hollow) in LINES.items():
        for rows, colour, marker, line, whose in (
            (ours, OURS, "o", style, "presets"),
            (others, OTHERS, "s", "", "others"),
        ):
            axes.plot(*_places(rows, metric), linestyle=line, marker=marker, color=colour, markersize=8,
                      markerfacecolor="white" if hollow else colour, label=f"{whose}, {told}")  # fmt: skip
    for row in (*ours, *others):
        ends = [row["bd_rate_percent"][metric] for metric in LINES]
        side, end, shift = SIDES[row["name"]]
        axes.annotate(
            row["name"], (_seconds(row), end(ends)), shift, ha=side, va="center", textcoords="offset points",
            fontsize=SMALL, color=OURS if row in ours else OTHERS,
        )  # fmt: skip
    axes.set_xscale("log")
    spread = max(map(_seconds, found)) / min(map(_seconds, found))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if spread < 300 else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:+g} %")
    axes.tick_params(labelsize=SMALL)
    axes.margins(0.25)
    axes.grid(alpha=0.25)
    against = found[0]["against"]
    title = found[0]["codec"].upper().replace("WEBP", "WebP")
    axes.set_title(f"{title}, against {against if against in PEERS else 'no network'}", fontsize=SMALL)


def _seconds(row: dict[str, Any]) -> float:
    return float(row["seconds_per_megapixel"])


def _places(found: Sequence[dict[str, Any]], metric: str) -> tuple[list[float], list[float]]:
    return [_seconds(row) for row in found], [row["bd_rate_percent"][metric] for row in found]


def main() -> None:
    """Measure, keep the figures, draw the chart; or draw it again from kept figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of PNG photographs, or a stored .json")
    parser.add_argument("--pictures", type=int, default=4, help="crops that are measured [4]")
    parser.add_argument("--side", type=int, default=512, help="their sides, pixels [512]")
    parser.add_argument("--codec", default=",".join(CODECS), help="codecs, with commas between [all]")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the chart, .png or .svg")
    options = parser.parse_args()
    kept = options.output.with_suffix(".json")
    if options.source.is_dir():
        one_thread()
        pictures = list(crops(options.source, options.pictures, options.side))
        for codec in options.codec.split(","):
            others = json.loads(kept.read_text())["rows"] if kept.exists() else []
            found = [row for row in others if row["codec"] != codec] + list(rows(pictures, codec))
            found.sort(key=lambda row: list(CODECS).index(row["codec"]))
            told = {"crops": len(pictures), "side": options.side, "metrics": METRICS, "rows": found}
            kept.write_text(json.dumps(told, indent=1) + "\n")
    else:
        found = json.loads(options.source.read_text())["rows"]
    drawn(found).savefig(options.output)


if __name__ == "__main__":
    main()
