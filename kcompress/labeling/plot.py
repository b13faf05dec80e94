"""Plot of the summary."""

import io
from collections.abc import Sequence
from typing import Any

from kcompress.labeling.summary import LABELS, ONE, Line
from kcompress.pool import IDENTITY


def plot(lines: Sequence[Line], metrics: Sequence[str], heading: str) -> bytes:
    """PNG of two kinds of panels: wins of each group, and for each metric its change against the change of size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    groups = [line for line in lines if line.group not in (LABELS, ONE)]
    height = max(3.4, 0.8 + 0.26 * len(groups))
    figure = Figure(figsize=(4.6 + 4.8 * len(metrics), height), layout="constrained", dpi=110)
    FigureCanvasAgg(figure)
    axes: list[Any] = list(figure.subplots(1, 1 + len(metrics), squeeze=False)[0])
    figure.suptitle(heading.encode(errors="backslashreplace").decode().replace("$", r"\$"), fontsize=11)
    bars = axes[0].barh([line.group for line in groups], [line.wins for line in groups], color="#4c72b0")
    axes[0].bar_label(bars, padding=2, fontsize=8)
    axes[0].margins(x=0.12)
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
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
    points = {
        line.group: (line.everywhere.size, line.everywhere.scores[metric])
        for line in lines
        if line.everywhere.size is not None and metric in line.everywhere.scores
    }
    for group, point in points.items():
        chosen = group == LABELS
        place.scatter(*point, s=90 if chosen else 22, marker="*" if chosen else "o", zorder=3,
                      color="#c44e52" if chosen else "0.3" if group == IDENTITY else "#4c72b0")  # fmt: skip
    # Names stand in a column beside the panel, in the order of the points: so none lies over another.
    for rank, group in enumerate(sorted(points, key=lambda group: points[group][::-1], reverse=True)):
        place.annotate(group, points[group], xytext=(1.04, 1 - (rank + 0.5) / len(points)), textcoords="axes fraction",
                       fontsize=7, va="center", arrowprops={"arrowstyle": "-", "color": "0.75", "linewidth": 0.6,
                                                            "shrinkA": 1, "shrinkB": 2,
                                                            "relpos": (0, 0.5)})  # fmt: skip
    place.margins(0.08)
    place.set_xlabel("change of size, %")
    place.set_ylabel(f"change of {metric}")
