"""Plot of the summary."""

import io
from collections.abc import Sequence
from typing import Any

from kcompress.labeling.summary import LABELS, Line
from kcompress.pool import IDENTITY


def plot(lines: Sequence[Line], metrics: Sequence[str], heading: str) -> bytes:
    """PNG of two kinds of panels: wins of each group, and for each metric its change against the change of size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    groups = [line for line in lines if line.group != LABELS]
    height = max(3.4, 0.8 + 0.26 * len(groups))
    figure = Figure(figsize=(4.6 + 4.2 * len(metrics), height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes: list[Any] = list(figure.subplots(1, 1 + len(metrics), squeeze=False)[0])
    figure.suptitle(heading.encode(errors="backslashreplace").decode().replace("$", r"\$"), fontsize=11)
    bars = axes[0].barh([line.group for line in groups], [line.wins for line in groups], color="#4c72b0")
    axes[0].bar_label(bars, padding=2, fontsize=8)
    axes[0].margins(x=0.12)
    axes[0].invert_yaxis()
    axes[0].set_xlabel("pictures that it wins")
    for place, metric in zip(axes[1:], metrics, strict=True):
        _changes(place, lines, metric)
    for place in axes:
        place.spines[["top", "right"]].set_visible(False)
        place.tick_params(labelsize=8)
    output = io.BytesIO()
    figure.savefig(output, format="png", metadata={"Software": None})
    return output.getvalue()


def _changes(place: Any, lines: Sequence[Line], metric: str) -> None:
    place.axhline(0, color="0.8", linewidth=1)
    place.axvline(0, color="0.8", linewidth=1)
    for line in lines:
        change = line.everywhere
        if change.size is None or metric not in change.scores:
            continue
        chosen = line.group == LABELS
        point = (change.size, change.scores[metric])
        place.scatter(*point, s=90 if chosen else 22, marker="*" if chosen else "o", zorder=3,
                      color="#c44e52" if chosen else "0.3" if line.group == IDENTITY else "#4c72b0")  # fmt: skip
        # The identity lies on the crossing of the axes, where the labels may lie too.
        below = line.group == IDENTITY
        place.annotate(line.group, point, xytext=(4, -9 if below else 3), textcoords="offset points", fontsize=7)
    place.margins(0.15)
    place.set_xlabel("change of size, %")
    place.set_ylabel(f"change of {metric}")
