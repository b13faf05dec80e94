"""labels.csv: one row for each picture (or patch) and group of filters; labelling writes it, training reads it."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from kcompress.csv_rows import Rows, check_numbers
from kcompress.errors import InputError

FILE = "labels.csv"
PLAN = "plan.json"
"""File beside labels.csv: location of the pictures, and settings that must stay the same on resume."""


class Key(NamedTuple):
    """Identity of a row: a changed picture or encoder version is computed again."""

    sha256: str
    patch: str
    left: int
    top: int
    group: str
    codec: str
    backend: str
    version: str
    quality: int


@dataclass(frozen=True)
class Row:
    """Result of one group of filters on one picture or patch.

    Attributes:
        path: of the picture below the data set.
        sha256: of the picture's file.
        patch: size of the patches, ``320x180``; empty for whole pictures.
        left: of the patch in the picture, pixels.
        top: of the patch in the picture, pixels.
        group: filters in order of application, with ``+`` between; or ``identity``.
        codec: name.
        backend: encoder program or library.
        version: of the encoder.
        quality: on the codec's own scale.
        width: of the encoded picture, pixels.
        height: of the encoded picture, pixels.
        bytes: of the compressed file; None where the row failed, as in all the numbers below.
        bpp: bits per pixel.
        z_quality: z-score of the deciding metric over the groups of the picture (equation 3), higher is better.
        z_bpp: z-score of bits per pixel, likewise (equation 4).
        score: ``z_quality - W z_bpp``, W of ``label --rate-weight``; the label maximises it.
        chosen: 1 for the picture's best group, otherwise 0.
        label: file of the chosen picture, below the folder of labels.csv; empty in other rows.
        seconds: spent on the row, without filters shared with earlier rows.
        error: why it failed; empty where it did not.
        scores: by name of the metric; the first one decides. Empty where the row failed.
    """

    path: str
    sha256: str
    patch: str
    left: int
    top: int
    group: str
    codec: str
    backend: str
    version: str
    quality: int
    width: int
    height: int
    bytes: int | None
    bpp: float | None
    z_quality: float | None
    z_bpp: float | None
    score: float | None
    chosen: int
    label: str
    seconds: float
    error: str
    scores: dict[str, float]

    @property
    def key(self) -> Key:
        """Identity of the row."""
        return Key(*(getattr(self, name) for name in Key._fields))

    @property
    def place(self) -> tuple[str, int, int]:
        """Picture and corner of the patch: rows of one place compete."""
        return self.path, self.left, self.top


def file(metrics: Sequence[str]) -> Rows[Row]:
    """Reader and writer of a labels.csv with these metrics, the deciding one first."""
    return Rows(Row, metrics, check_numbers)


def read(path: Path) -> tuple[list[Row], tuple[str, ...]]:
    """Rows of a labels.csv, and its metrics, the deciding one first.

    Raises:
        InputError: there is no such file, or it was not written by kcompress.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as stream:
            header = next(csv.reader(stream), [])
    except csv.Error as error:
        raise InputError(f"{path} is no labels.csv ({error}). Give the one that kcompress label wrote.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Give the labels.csv of kcompress label.") from error
    fixed = file(()).header
    if header[: len(fixed)] != fixed or len(header) == len(fixed):
        raise InputError(f"{path} is no labels.csv: its columns are others. Give the one that kcompress label wrote.")
    metrics = tuple(header[len(fixed) :])
    return file(metrics).read(path), metrics


def plan(folder: Path) -> dict[str, Any]:
    """Content of the file `PLAN`; empty where it does not exist.

    Raises:
        InputError: the file was not written by kcompress.
    """
    path = folder / PLAN
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
        kept = {**found, "same": dict(found["same"])}
        if not isinstance(kept.get("dataset", ""), str) or not isinstance(kept.get("rate_weight", 1), int | float):
            raise TypeError
        return kept
    except (ValueError, KeyError, TypeError, RecursionError, OSError):
        raise InputError(f"{path} is no plan of a labelling. Remove it, or give another -o.") from None
