"""``kcompress compare``: how far files are from their original, in bytes and in scores."""

from math import isinf
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kcompress import storage
from kcompress.cli import files, options, output, places
from kcompress.cli.places import STREAM
from kcompress.cli.reporting import reported
from kcompress.errors import UsageError, work_on

if TYPE_CHECKING:
    from kcompress.evaluation.comparison import Comparison, File


_COLUMN = 16
"""Letters of a file's column, at least: a score fits in half of them, and a longer name is folded."""


@reported
def compare(
    original: Annotated[str, typer.Argument(metavar="ORIGINAL", help="The picture before; - for stdin.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER", help="What became of it, in any format.")],
    metric: Annotated[
        str | None,
        typer.Option("--metric", "-m", help="Metrics with commas between. [default: all that are installed]"),
    ] = None,
    as_json: options.Json = False,
    page: Annotated[
        str | None, typer.Option("--html", "-o", metavar="OUT", help="Write a page with a before/after slider, too.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Compare files with their original: size, bits per pixel, scores.

    Sizes in pixels must be equal. Colours are compared in sRGB, transparency over white.

    \b
    kcompress compare photo.png photo.jpg photo.webp
    kcompress compare photo.png photo.heic --metric ssimulacra2,psnr --html photo.html
    """  # noqa: D301 (Click wants a real backspace)
    from kcompress.evaluation import comparison

    sources = [original, *others]
    target = None if page is None else _target(page, sources, force=force)
    metrics = None if metric is None else options.metrics(metric)
    before, *after = map(_opened, sources)
    with work_on(before.name):
        compared = comparison.compare(before, after, metrics)
    if as_json:
        for source, file in zip(others, compared.others, strict=True):
            output.line(_fields(original, before, source, file))
    else:
        _show(compared)
    if target is not None:
        from kcompress.evaluation.page import compare_page

        storage.write(target, compare_page(compared).encode(), replace=force)


def _opened(source: str) -> "File":
    from kcompress.evaluation import comparison

    with work_on(output.name(source)):
        return comparison.opened(places.read(source), output.name(source))


def _target(page: str, sources: list[str], *, force: bool) -> str:
    """Where the page goes, unless something would be lost."""
    if page == STREAM:
        raise UsageError("--html - : stdout is taken by the numbers. Give --html FILE.")
    if places.names_folder(page):
        raise UsageError(f"--html {output.name(page)} is a folder. Name a file in it.")
    for source in sources:
        (job,) = files.plan([source], page, [".html"], frozenset(), force=force)
        if job.refusal is not None:
            raise job.refusal
    return page


def _show(compared: "Comparison") -> None:
    """Show a row a metric and a column a file: as many tables as the terminal needs to hold them all."""
    from kcompress.evaluation.comparison import score_text

    console = Console(highlight=False, emoji=False)
    shown = (compared.original, *compared.others)
    labels = ("size", "bpp", *compared.metrics)
    beside = max(1, (console.width - max(map(len, labels))) // _COLUMN)
    for first in range(0, len(shown), beside):
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("file", no_wrap=True)
        columns: list[list[str]] = []
        for file in shown[first : first + beside]:
            table.add_column(Text(output.visible(file.name)), justify="right", overflow="fold", min_width=_COLUMN - 2)
            absent = "" if file is compared.original else "-"
            scores = (score_text(file.scores.get(name), absent) for name in compared.metrics)
            columns.append([output.size(file.size), f"{file.bpp:.3f}", *scores])
        for row in zip(labels, *columns, strict=True):
            table.add_row(*row)
        if first:
            console.print()
        console.print(table)
    for note in compared.notes:
        output.say(f"note: {note}", style="yellow")
    for file in shown:
        for note in file.notes:
            output.say(f"note: {file.name}: {note}", style="yellow")


def _fields(original: str, before: "File", source: str, file: "File") -> dict[str, object]:
    """The line of one file; kcompress/README.md documents the fields."""
    return {
        "type": "compared",
        "original": original,
        "file": source,
        "width": file.image.width,
        "height": file.image.height,
        "original_bytes": before.size,
        "bytes": file.size,
        "bpp": round(file.bpp, 6),
        # JSON has no infinity; both Python's float() and JavaScript's Number() understand the word.
        "scores": {
            name: "Infinity" if score is not None and isinf(score) else score for name, score in file.scores.items()
        },
        "notes": [*file.notes],
    }
