"""Pages of one file, with every picture inside: they open from a disk, without a network."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from jinja2.filters import do_filesizeformat as decimal_size

from kcompress import __version__
from kcompress.evaluation.comparison import Comparison, counted, score_text
from kcompress.images import Image, Pixels, write
from kcompress.metrics import METRICS, Metric


@dataclass(frozen=True)
class Shown:
    """One picture of a page, as the macro ``viewer`` of viewer.html takes it; ``source`` is a ``data:`` URI."""

    name: str
    caption: str
    source: str
    width: int
    height: int


def shown(name: str, caption: str, pixels: Pixels) -> Shown:
    """SRGB pixels (H, W, 3) for a page: as PNG, so that the page shows just what was scored."""
    source = "data:image/png;base64," + base64.b64encode(write(Image(pixels), "PNG")).decode()
    return Shown(name, caption, source, pixels.shape[1], pixels.shape[0])


def render(template: str, **values: Any) -> str:
    """A page from one of the templates; all values are escaped."""
    environment = Environment(
        loader=PackageLoader("kcompress.evaluation"), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    environment.globals["counted"] = counted
    today = date.today()
    written = f"{today.day} {today:%B %Y}"
    return environment.get_template(template).render(version=__version__, date=written, **values)


@dataclass(frozen=True)
class _Row:
    """One line of the table of numbers; ``best`` are the cells to stand out."""

    name: str
    original: str
    others: Sequence[str]
    direction: str = ""
    best: Sequence[str] = ()


def compare_page(comparison: Comparison) -> str:
    """Before/after slider, difference view and numbers."""
    files = (comparison.original, *comparison.others)
    original, *others = (
        shown(file.name, f"{decimal_size(file.size)}, {file.bpp:.3f} bpp", file.image.pixels) for file in files
    )
    sizes = [decimal_size(file.size) for file in files]
    rates = [f"{file.bpp:.3f}" for file in files]
    rows = [_Row("size", sizes[0], sizes[1:]), _Row("bits per pixel", rates[0], rates[1:])]
    metrics = [METRICS[name] for name in comparison.metrics]
    rows += [_scores(metric, comparison) for metric in metrics]
    notes = [*comparison.notes, *(f"{file.name}: {note}" for file in files for note in file.notes)]
    return render("compare.html", original=original, others=others, rows=rows, notes=notes, metrics=metrics)


def _scores(metric: Metric, comparison: Comparison) -> _Row:
    scores = [file.scores[metric.name] for file in comparison.others]
    known = [score for score in scores if score is not None]
    best = (max if metric.direction == "higher" else min)(known) if len(known) > 1 else None
    return _Row(
        metric.name, score_text(comparison.original.scores.get(metric.name), absent=""), [*map(score_text, scores)],
        metric.direction, () if best is None else [score_text(best)],
    )  # fmt: skip
