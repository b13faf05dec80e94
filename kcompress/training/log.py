"""The log of a training: a CSV that survives any interruption, and its plot."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompress import storage
from kcompress.csv_rows import Journal, Rows
from kcompress.training.checkpoint import BEST
from kcompress.training.events import Validation

FILE = "log.csv"
_PART = "_loss"
"""Suffix of the columns of the loss's parts; no validation metric ends like it."""


@dataclass(frozen=True)
class Entry:
    """Row of the log; fields are as `Validation` has them.

    ``scores`` are validation metrics, and parts of the loss, such as ``rate_loss``; undefined ones are left out.
    """

    step: int
    loss: float
    error: float | None
    identity_error: float | None
    scores: dict[str, float]

    @property
    def metrics(self) -> dict[str, float]:
        """The validation metrics alone."""
        return {name: value for name, value in self.scores.items() if not name.endswith(_PART)}


class Log:
    """Appends validations to ``log.csv``.

    Columns are validation metrics and parts of the loss. Entries behind step ``after``, with which a training goes on,
    are removed.

    Raises:
        InputError: the file that is there is of another training.
    """

    def __init__(self, folder: Path, metrics: Sequence[str], parts: Sequence[str] = (), after: int = 0) -> None:
        self._folder, self._metrics = folder, tuple(metrics)
        rows, path = Rows(Entry, [*metrics, *(part + _PART for part in parts)]), folder / FILE
        self.entries = [entry for entry in _read(path, rows, metrics) if entry.step <= after] if after else []
        rows.write(path, self.entries)
        self._journal = Journal(rows, path)

    def append(self, state: Validation) -> None:
        """Write one down, at once."""
        scores = {**state.metrics, **{part + _PART: value for part, value in state.parts.items()}}
        known = {name: value for name, value in scores.items() if value is not None}
        self.entries.append(Entry(state.step, state.loss, state.error, state.identity_error, known))
        self._journal.append(self.entries[-1:])

    def keep(self, state: Validation, heading: str, shown: Sequence[str], axis: str) -> None:
        """Keep the best weights under a name of their own, and draw the plot so far as `TrainingData` describes it."""
        best = self._folder / BEST
        if state.is_best or not best.exists():
            storage.write(str(best), state.checkpoint.read_bytes())
        shown = shown or [name for name in self._metrics if name.startswith("size_")]
        storage.write(str(self._folder / "log.png"), plot(self.entries, shown, heading, axis))

    def close(self) -> None:
        """End the file."""
        self._journal.close()


def _read(path: Path, rows: Rows[Entry], metrics: Sequence[str]) -> list[Entry]:
    """Entries of a log, which may be from before logs had columns for the parts of the loss."""
    if not path.exists():
        return []
    before = Rows(Entry, metrics)
    with path.open(encoding="utf-8", errors="surrogateescape") as stream:
        is_old = stream.readline() == ",".join(before.header) + "\n"
    return (before if is_old else rows).read(path)


def plot(
    entries: Sequence[Entry], metrics: Sequence[str], heading: str, axis: str = "against the plain codec"
) -> bytes:
    """A PNG: loss and held-out error over the steps, and these metrics beside them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    figure.suptitle(heading, fontsize=11)
    steps = [entry.step for entry in entries]
    left.plot(steps, [entry.loss for entry in entries], label="loss")
    held_out = [(entry.step, entry.error, entry.identity_error) for entry in entries if entry.error is not None]
    if held_out:
        validated, errors, untouched = zip(*held_out, strict=True)
        left.plot(validated, errors, label="held out")
        left.plot(validated, untouched, color="0.6", linestyle="--", label="untouched")
        left.set_yscale("log")
    left.set_ylabel("mean squared error" if held_out else "cost")
    for name in metrics:
        known = [(entry.step, entry.scores[name]) for entry in entries if name in entry.scores]
        if known:
            right.plot(*zip(*known, strict=True), marker="o", markersize=3, label=name.replace("_", " "))
    right.axhline(0, color="0.8", linewidth=1)
    right.set_ylabel(axis)
    for axes in (left, right):
        _tidy(axes)
    output = io.BytesIO()
    figure.savefig(output, format="png", metadata={"Software": None})
    return output.getvalue()


def _tidy(axes: Any) -> None:
    axes.set_xlabel("step")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
