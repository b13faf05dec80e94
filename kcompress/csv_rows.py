"""CSV files of dataclass rows, written as the work goes on, readable after any interruption.

A row class has plain fields (str, int, float) and one mapping ``scores``, whose names become the last columns. It may
have a second one of texts, ``texts``, whose columns come behind them.
"""

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from kcompress.errors import InputError


class Scored(Protocol):
    """A row: any dataclass with a mapping of scores."""

    @property
    def scores(self) -> dict[str, float]:
        """By name of the metric."""
        ...


RowT = TypeVar("RowT", bound=Scored)
_KINDS = {"str": str, "int": int, "float": float}
# Text that a spreadsheet would run, that a terminal would obey, or that would be taken for such text in its safe form.
_UNSAFE = re.compile(r"'*[=+\-@]|.*[\x00-\x1f\x7f]|'.*\\", re.DOTALL)


class Rows(Generic[RowT]):
    """Header, reader and writer of files of one row class and some metrics."""

    def __init__(
        self,
        kind: type[RowT],
        metrics: Sequence[str],
        check: Callable[[RowT], None] = lambda row: None,
        texts: Sequence[str] = (),
    ) -> None:
        """Describe a file.

        Args:
            kind: the dataclass; its annotations are ``str``, ``int``, ``float``, ``float | None``.
            metrics: names, a column each, in order.
            check: raises ValueError for a row that is read and makes no sense.
            texts: names of columns of texts.
        """
        self._check = check
        self._row: Callable[..., RowT] = kind
        known = fields(kind)  # type: ignore[arg-type]
        self._fields = {each.name: _annotation(each.type) for each in known if each.name not in ("scores", "texts")}
        self._metrics, self._texts = tuple(metrics), tuple(texts)

    @property
    def header(self) -> list[str]:
        """Column names: those of the class, then one a metric, then texts."""
        return [*self._fields, *self._metrics, *self._texts]

    def write(self, path: Path, rows: Iterable[RowT]) -> None:
        """Write all rows at once, in their order: wholly or not at all."""
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        journal = Journal(self, temporary)
        try:
            journal.append(rows)
        finally:
            journal.close()
        temporary.replace(path)

    def read(self, path: Path) -> list[RowT]:
        """Read a file; a last line that a kill cut short is left out.

        Raises:
            InputError: it was written for other metrics, or is no such file, or damaged.
        """
        try:
            text = path.read_bytes().decode(errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}. Check the path and its rights.") from error
        if ",".join(self.header).startswith(text):
            return []  # killed before the first row
        lines = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
        try:
            found = next(lines, [])
        except csv.Error as error:
            _refuse(path, 1, error)
        if found != self.header:
            metrics = ", ".join(found[len(self._fields) :]) or "none"
            raise InputError(
                f"{path} has other columns than this run ({metrics} are its metrics). "
                "Give the same --metric as before, or another -o."
            )
        rows: list[RowT] = []
        try:
            for line in lines:
                row = self._parsed(dict(zip(found, line, strict=True)))
                self._check(row)
                rows.append(row)
        except (ValueError, csv.Error) as error:
            _refuse(path, len(rows) + 2, error)
        return rows

    def cells(self, row: RowT) -> dict[str, object]:
        """A row as it is written; None becomes an empty cell."""
        values = ((name, getattr(row, name)) for name in self._fields)
        fixed = {name: _safe(value) if isinstance(value, str) else value for name, value in values}
        texts: dict[str, str] = getattr(row, "texts", {})
        return {**fixed, **row.scores, **{name: _safe(texts[name]) for name in self._texts if name in texts}}

    def _parsed(self, cells: dict[str, str]) -> RowT:
        fixed: dict[str, Any] = {}
        for name, (kind, optional) in self._fields.items():
            cell = cells.pop(name)
            fixed[name] = None if optional and not cell else _text(cell) if kind is str else kind(cell)
        if self._texts:
            fixed["texts"] = {name: _text(text) for name in self._texts if (text := cells.pop(name))}
        return self._row(**fixed, scores={name: float(value) for name, value in cells.items() if value})


class Journal(Generic[RowT]):
    """Appends rows to a file and to the disk."""

    def __init__(self, rows: Rows[RowT], path: Path) -> None:
        self._rows = rows
        self._stream = path.open("a", newline="", encoding="utf-8", errors="surrogateescape")
        self._writer = csv.DictWriter(self._stream, rows.header, lineterminator="\n")
        if self._stream.tell() == 0:
            self._writer.writeheader()

    def append(self, rows: Iterable[RowT]) -> None:
        """Write rows that survive a kill from here on."""
        for row in rows:
            self._writer.writerow(self._rows.cells(row))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """End the file."""
        self._stream.close()


def _safe(text: str) -> str:
    """Text that no spreadsheet runs: behind an apostrophe, control characters in hexadecimal."""
    if not _UNSAFE.match(text):
        return text
    return "'" + re.sub(r"[\x00-\x1f\x7f\\]", lambda found: f"\\x{ord(found[0]):02x}", text)


def _text(cell: str) -> str:
    """Text of a cell; cells that `_safe` did not write are left as they are."""
    if not cell.startswith("'"):
        return cell
    text = re.sub(r"\\x([0-7][0-9a-f])", lambda found: chr(int(found[1], 16)), cell[1:])
    return text if _UNSAFE.match(text) and _safe(text) == cell else cell


def _refuse(path: Path, number: int, error: Exception) -> NoReturn:
    raise InputError(f"{path}, line {number}, cannot be read ({error}). Remove the line.") from error


def check_numbers(row: Any) -> None:
    """Values that any run writes: what a row says of a picture's file, place and size.

    Raises:
        ValueError: something else.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", row.sha256):
        raise ValueError(f"sha256 {row.sha256[:80]!r}")
    low = {"width": 1, "height": 1, "left": 0, "top": 0, "bytes": 1, "chosen": 0}
    for name, least in low.items():
        value = getattr(row, name, None)
        if value is not None and not least <= value < 1 << 31:
            raise ValueError(f"{name} {value}")
    if row.bpp is not None and not 0 < row.bpp < float("inf"):
        raise ValueError(f"bpp {row.bpp}")


def _annotation(annotation: object) -> tuple[type, bool]:
    """Class of a field's cells, and whether they may be empty."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    name, _, rest = text.partition(" | ")
    return _KINDS[name], rest == "None"
