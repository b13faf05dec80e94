"""points.csv: one row a point, written as the work goes on, readable after any interruption."""

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from kcompress.errors import InputError


class Key(NamedTuple):
    """What makes a point the same: a changed picture or encoder version is measured again."""

    picture: str
    sha256: str
    codec: str
    backend: str
    version: str
    preprocessor: str
    quality: int


@dataclass(frozen=True)
class Point:
    """One picture, encoded once.

    Attributes:
        picture: path below the data set's folder.
        sha256: of the picture's file.
        codec: name.
        backend: that encoded it.
        version: of the encoder.
        preprocessor: a network, a filter or ``none``.
        quality: on the codec's own scale.
        width: pixels.
        height: pixels.
        bytes: of the compressed file.
        bpp: bits per pixel.
        preprocess_seconds: wall time of the preprocessor.
        encode_seconds: wall time of the encoder.
        scores: by name of the metric; a metric that cannot score this picture is missing.
    """

    picture: str
    sha256: str
    codec: str
    backend: str
    version: str
    preprocessor: str
    quality: int
    width: int
    height: int
    bytes: int
    bpp: float
    preprocess_seconds: float
    encode_seconds: float
    scores: dict[str, float]

    @property
    def key(self) -> Key:
        """What makes a point the same."""
        return Key(*(getattr(self, name) for name in Key._fields))


_COLUMNS = {field.name: field.type for field in fields(Point) if field.name != "scores"}


def header(metrics: Sequence[str]) -> list[str]:
    """Column names: those of ``Point``, then one a metric."""
    return [*_COLUMNS, *metrics]


class Journal:
    """Appends points to a file and to the disk, one by one."""

    def __init__(self, path: Path, metrics: Sequence[str]) -> None:
        self._columns = header(metrics)
        is_new = not path.exists()
        self._stream = path.open("a", newline="", encoding="utf-8", errors="surrogateescape")
        self._writer = csv.DictWriter(self._stream, self._columns, lineterminator="\n")
        if is_new:
            self._writer.writeheader()

    def append(self, points: Iterable[Point]) -> None:
        """Write rows that survive a kill from here on."""
        for point in points:
            self._writer.writerow(_row(point))
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """End the file."""
        self._stream.close()


def write(path: Path, points: Iterable[Point], metrics: Sequence[str]) -> None:
    """Write all points at once, in their order."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    journal = Journal(temporary, metrics)
    try:
        journal.append(points)
    finally:
        journal.close()
    temporary.replace(path)


def read(path: Path, metrics: Sequence[str]) -> list[Point]:
    """Read a points file; a last line that a kill cut short is left out.

    Raises:
        InputError: it was written for other metrics, or is no points file.
    """
    text = path.read_bytes().decode(errors="surrogateescape")
    rows = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    found = next(rows, [])
    if found != header(metrics):
        raise InputError(
            f"{path} has other columns than this run ({', '.join(found[len(_COLUMNS) :]) or 'none'} are its metrics). "
            "Give the same --metric as before, or another -o."
        )
    points = []
    for number, row in enumerate(rows, start=2):
        try:
            points.append(_point(dict(zip(found, row, strict=True))))
        except ValueError as error:
            raise InputError(f"{path}, line {number}, is no point ({error}). Remove the line.") from error
    return points


def _row(point: Point) -> dict[str, object]:
    row = asdict(point)
    scores = row.pop("scores")
    return {**row, **scores}


def _point(row: dict[str, str]) -> Point:
    kinds = {str: str, int: int, float: float}
    fixed = {name: kinds[kind](row.pop(name)) for name, kind in _COLUMNS.items()}  # type: ignore[index]
    return Point(**fixed, scores={name: float(value) for name, value in row.items() if value})
