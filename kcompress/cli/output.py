"""Everything that is shown: people read stderr, programs read stdout."""

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from rich.console import Console

from kcompress.errors import UsageError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

console = Console(stderr=True, highlight=False, emoji=False)


def say(text: str, style: str = "") -> None:
    """One line for people; where stderr is full or gone, it is lost."""
    if not console.quiet:  # it would lay the text out before it throws it away
        with contextlib.suppress(OSError):
            console.print(visible(text), style=style, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """One line on what failed, which ``--quiet`` shows too."""
    quiet, console.quiet = console.quiet, False
    say(text, style="red")
    console.quiet = quiet


def hush(quiet: bool) -> bool:
    """Show nothing but what failed."""
    console.quiet = quiet
    return quiet


def visible(text: str) -> str:
    """Text fit for a terminal: names may hold line feeds and bytes that are no text, which are shown escaped."""
    clean = text.encode(errors="backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in clean)


def name(path: str) -> str:
    """A file name for people."""
    return "stdin" if path == "-" else path.encode(errors="surrogateescape").decode(errors="backslashreplace")


def notes(found: Mapping[str, Iterable[str]]) -> None:
    """Notes on pictures: picture -> notes; each note once, with the first picture in order and the number of others."""
    pictures: dict[str, list[str]] = {}
    for picture in sorted(found):
        for note in found[picture]:
            pictures.setdefault(note, []).append(picture)
    for note, (first, *others) in pictures.items():
        say(f"note: {name(first)}{f' and {len(others)} more' if others else ''}: {note}", style="yellow")


class Notes:
    """Notes of a run on its pictures: each when it first comes, and in the end of how many pictures it is true."""

    def __init__(self, *, every: bool = False) -> None:
        """With ``every``, each of each picture."""
        self._every = every
        self._counts: Counter[str] = Counter()

    def add(self, notes: Iterable[str], heading: str = "  note") -> None:
        """Notes on one picture."""
        for note in notes:
            self._counts[note] += 1
            if self._every or self._counts[note] == 1:
                say(f"{heading}: {note}", style="yellow")

    def close(self) -> None:
        """Count those that were not repeated."""
        for note, count in self._counts.items():
            if count > 1 and not self._every:
                say(f"note: {count} pictures: {note}", style="yellow")


def size(count: int) -> str:
    """Bytes for people, decimal units."""
    if count < 1000:
        return f"{count} B"
    value, unit = count / 1e3, "kB"
    if value >= 999.5:
        value, unit = count / 1e6, "MB"
    return f"{value:.3g} {unit}"


def line(fields: Mapping[str, object]) -> None:
    """One JSON object on stdout, at once."""
    print(json.dumps(fields), flush=True)


class Hidden:
    """A progress bar that nobody sees: in pipes rich's is not even loaded."""

    def add_task(self, *about: Any, **fields: Any) -> "TaskID":
        """A task that is told of nowhere."""
        return 0  # type: ignore[return-value]

    def update(self, *about: Any, **fields: Any) -> None:
        """Nothing."""

    advance = update


def progress(
    total: int, unit: str | None = None, *, always: bool = False
) -> "contextlib.AbstractContextManager[Progress | Hidden]":
    """A bar for batches, on terminals only. A single picture has one only with ``always``."""
    if not ((always or total > 1) and console.is_terminal and not console.quiet):
        return contextlib.nullcontext(Hidden())
    from kcompress.cli.progress import bar

    return bar(console, unit)


class NowAndThen:
    """Lines that tell of progress where no bar is drawn, in a pipe or a file: at most one in 30 seconds."""

    def __init__(self) -> None:
        self._due = time.monotonic() + 30

    def say(self, text: str) -> None:
        """One line, if it is time for one."""
        if not console.is_terminal and time.monotonic() >= self._due:
            self._due = time.monotonic() + 30
            say(text)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], heading: str) -> None:
    """A table for people; the first column is names."""
    from rich import box
    from rich.table import Table

    shown = Table(title=visible(heading), title_justify="left", box=box.SIMPLE_HEAD)
    for number, column in enumerate(header):
        shown.add_column(visible(column), justify="right" if number else "left")
    for row in rows:
        shown.add_row(*map(visible, row))
    console.print(shown)


@contextlib.contextmanager
def guarded_stdout() -> Iterator[BinaryIO]:
    """Stdout for the product alone: what anything else prints meanwhile goes to stderr.

    At the level of file descriptors, so that C libraries cannot spoil the product either.

    Raises:
        UsageError: stdout is a terminal, or closed.
    """
    if sys.stdout is None:
        raise UsageError("stdout is closed. Give -o FILE, or redirect it.")
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal. Give -o FILE, or redirect it.")
    sys.stdout.flush()
    product = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(product, "wb", closefd=False) as stream:
            yield stream
    finally:
        os.dup2(product, 1)
        os.close(product)
