"""Quantisation tables of JPEG as functions of quality: libjpeg's, those of a file, and learned ones."""

import functools
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from kcompress.errors import InputError, UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.setting import Table

LEARNED = "learned"
"""Name of the learned tables, and word by which they are asked for."""

OWN = "own"
"""Name of tables that the encoder chooses itself, as mozjpeg and jpegli do."""

# ITU-T T.81, tables K.1 and K.2, row order.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99, *[99] * 32,
)  # fmt: skip


class QuantisationTables(Protocol):
    """Quantisation tables for every quality."""

    @property
    def name(self) -> str:
        """``standard``, ``learned`` or the file they come from."""
        ...

    def at(self, quality: int) -> tuple[Table, Table]:
        """Luma and chroma steps of a quality 0..100: 64 each, row order, 1..255; none grows with quality."""
        ...


def scaling(quality: int) -> int:
    """Per cent of the tables at quality 50 that libjpeg and mozjpeg take at another; 0 at 100, where steps are 1."""
    return 5000 // max(1, quality) if quality < 50 else 200 - 2 * quality


@dataclass(frozen=True)
class ScaledTables:
    """Tables of quality 50, scaled for others as libjpeg does; mozjpeg has tables of its own."""

    name: str
    luma: Table
    chroma: Table

    def at(self, quality: int) -> tuple[Table, Table]:
        percent = scaling(quality)

        def scaled(table: Table) -> Table:
            return tuple(min(255, max(1, (step * percent + 50) // 100)) for step in table)

        return scaled(self.luma), scaled(self.chroma)


STANDARD = ScaledTables("standard", _LUMA, _CHROMA)
ENCODERS_OWN = ScaledTables(OWN, _LUMA, _CHROMA)
"""Tables where none are chosen: libjpeg's, unless the encoder has its own (`encoding.effective`)."""


@dataclass(frozen=True)
class LearnedTables:
    """Tables known at some qualities, with the logarithm of each step linear in between.

    Attributes:
        qualities: where they are known, ascending; beyond the ends nothing changes.
        luma: ln of the steps, by place in row order and quality.
        chroma: likewise.
    """

    qualities: tuple[float, ...]
    luma: tuple[tuple[float, ...], ...]
    chroma: tuple[tuple[float, ...], ...]
    name: str = LEARNED

    def at(self, quality: int) -> tuple[Table, Table]:
        def interpolated(table: tuple[tuple[float, ...], ...]) -> Table:
            steps = np.exp([np.interp(quality, self.qualities, logarithms) for logarithms in table])
            return tuple(int(step) for step in steps.round().clip(1, 255))

        return interpolated(self.luma), interpolated(self.chroma)


def tables_named(text: str) -> QuantisationTables | None:
    """Tables of ``--tables``; None for ``auto``, which leaves the choice to the network.

    Raises:
        UsageError: neither a name nor a file with tables.
        InputError: the file cannot be read.
        WeightsError: learned tables are missing or damaged.
    """
    if text == "auto":
        return None
    if text == STANDARD.name:
        return STANDARD
    if text == LEARNED:
        return learned()
    return replace(of_card(Path(text)), name=text) if Path(text).suffix == ".json" else _of_file(text)


def learned() -> LearnedTables:
    """The learned tables that came along.

    Raises:
        WeightsError: they did not, or are damaged.
    """
    return of_card(weight_files.folder() / "tables-jpeg.json")


@functools.cache
def of_card(path: Path) -> LearnedTables:
    """Tables that a training has written, from their card.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        card = json.loads(path.read_bytes())
        qualities = np.array(card["qualities"], float)
        tables = [np.array(card["log_steps"][plane], float) for plane in ("luma", "chroma")]
        if not (np.diff(qualities) > 0).all() or any(table.shape != (len(qualities), 64) for table in tables):
            raise ValueError("qualities do not ascend, or not each has 64 steps")
        if any(not np.isfinite(table).all() or (np.diff(table, axis=0) > 0).any() for table in tables):
            raise ValueError("a step grows with quality")
    except OSError as error:
        raise WeightsError(
            f"the learned tables {path} cannot be read ({error.strerror}). Get the file again, or give --tables "
            f"{STANDARD.name}."
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{path} holds no learned tables ({error}). Get the file again, or give --tables {STANDARD.name}."
        ) from error
    luma, chroma = (tuple(map(tuple, table.T.tolist())) for table in tables)
    return LearnedTables(tuple(qualities.tolist()), luma, chroma)


def _of_file(text: str) -> ScaledTables:
    """Tables of a text file as ``cjpeg -qtables`` reads it: 64 numbers a table, row order, ``#`` comments.

    The first is luma's and the second chroma's; one alone serves both.
    """
    try:
        if not Path(text).is_file():
            raise UsageError(
                f"--tables {text} is neither auto, {STANDARD.name}, {LEARNED} nor a file. Give one of these."
            )
        lines = Path(text).read_bytes().decode("ascii", "replace").splitlines()
    except OSError as error:
        raise InputError(f"--tables {text} cannot be read ({error.strerror}). Give another file.") from error
    words = [word for line in lines for word in line.partition("#")[0].split()]
    wrong = next((word for word in words if not (word.isdecimal() and len(word) < 9 and 1 <= int(word) <= 255)), None)
    if wrong is not None:
        raise UsageError(f"--tables {text}: {wrong[:40]} is no quantiser step. Allowed: whole numbers 1..255.")
    if len(words) not in (64, 128):
        raise UsageError(
            f"--tables {text}: {len(words)} numbers. Give 64, one table for all, or 128, luma's and then chroma's."
        )
    steps = tuple(map(int, words))
    return ScaledTables(text, steps[:64], steps[-64:])
