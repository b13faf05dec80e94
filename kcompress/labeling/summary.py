"""Summary of a labelling: wins of each group, and its changes of size and scores."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kcompress.labels import Row
from kcompress.pool import IDENTITY

LABELS = "labels"
"""Name of the line of all labels together."""

ONE = "one a picture"
"""Name of the line of those labels that patches would have if all of a picture had the same group."""


@dataclass(frozen=True)
class Change:
    """Mean changes over pictures or patches, against the unfiltered picture at the same codec and quality.

    Attributes:
        count: of pictures or patches.
        size: percent of the bytes; negative is smaller.
        scores: points of each metric, by name.
    """

    count: int
    size: float | None
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Line:
    """Summary of one group, or of all labels together: places where it was chosen, and where it failed.

    Attributes:
        share: wins / places, 0..1.
        where_chosen: change over the places where it was chosen.
        everywhere: change over all places where it did not fail.
    """

    group: str
    wins: int
    share: float
    where_chosen: Change
    everywhere: Change
    errors: int


def summarise(rows: Sequence[Row], groups: Sequence[str], metrics: Sequence[str]) -> list[Line]:
    """One line for each group, most wins first, and one for the labels, of the rows of one plan.

    Labels of patches have a line ``ONE`` before the last: what is gained over it is what patches are for.
    """
    plain = {row.place: row for row in rows if row.group == IDENTITY and row.bytes}
    places = len({row.place for row in rows})

    def line(name: str, own: list[Row], chosen: list[Row]) -> Line:
        share = len(chosen) / places if places else 0.0
        errors = sum(bool(row.error) for row in own)
        changes = _change(chosen, plain, metrics), _change(own, plain, metrics)
        return Line(name, len(chosen), share, *changes, errors)

    by_group: dict[str, list[Row]] = {name: [] for name in groups}
    for row in rows:
        by_group[row.group].append(row)
    lines = [line(name, own, [row for row in own if row.chosen]) for name, own in by_group.items()]
    winners = [row for row in rows if row.chosen]
    common = _one_a_picture(rows) if any(row.patch for row in rows) else []
    return [
        *sorted(lines, key=lambda each: -each.wins),
        *([line(ONE, common, [row for row in common if row.chosen])] if common else []),
        line(LABELS, winners, winners),
    ]


def _one_a_picture(rows: Sequence[Row]) -> list[Row]:
    """Rows of that group of each picture whose mean score over all its patches is the highest."""
    patches: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        patches.setdefault(row.path, {}).setdefault(row.group, []).append(row)
    common: list[Row] = []
    for groups in patches.values():
        means = {
            name: float(np.mean([row.score or 0.0 for row in own]))
            for name, own in groups.items()
            if all(row.score is not None for row in own)
        }
        common += groups[max(means, key=means.__getitem__)] if means else []
    return common


def _change(rows: Iterable[Row], plain: Mapping[tuple[str, int, int], Row], metrics: Sequence[str]) -> Change:
    pairs = [(row, plain[row.place]) for row in rows if row.bytes and row.place in plain]
    if not pairs:
        return Change(0, None, {})
    sizes = [100 * ((row.bytes or 0) / (other.bytes or 1) - 1) for row, other in pairs]
    scores = {
        metric: float(np.mean([row.scores[metric] - other.scores[metric] for row, other in pairs]))
        for metric in metrics
        if all(np.isfinite(each.scores.get(metric, np.nan)) for pair in pairs for each in pair)
    }
    return Change(len(pairs), float(np.mean(sizes)), scores)


_ABOUT_ONE = (
    f"\nPatches stand for pictures here. The line `{ONE}` has, for all patches of a picture, the one group with the "
    "best mean score: its wins are the patches that chose it too.\n"
)

WHERE = ("there", "everywhere")
"""Sets of pictures of a change: those where the group was chosen, or all."""


def header(metrics: Sequence[str], where: Sequence[str] = WHERE) -> list[str]:
    """Names of the columns of `cells`."""
    return ["group", "wins", "share", *(f"{what} {place}" for place in where for what in ("size", *metrics)), "errors"]


def cells(line: Line, metrics: Sequence[str], where: Sequence[str] = WHERE) -> list[str]:
    """Cells of a line as text: shares and sizes in percent, scores in points."""
    changes = [
        text for place in where for text in _texts(line.where_chosen if place == "there" else line.everywhere, metrics)
    ]
    return [line.group, str(line.wins), f"{100 * line.share:.0f}%", *changes, str(line.errors or "")]


def _texts(change: Change, metrics: Sequence[str]) -> list[str]:
    size = "" if change.size is None else f"{change.size:+.1f}%"
    return [size, *(f"{change.scores[metric]:+.2f}" if metric in change.scores else "" for metric in metrics)]


def markdown(lines: Sequence[Line], metrics: Sequence[str], heading: str) -> str:
    """Table as Markdown, with a line that explains it."""
    columns = header(metrics)
    rows = [columns, ["---"] * len(columns), *(cells(line, metrics) for line in lines)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"# {heading}\n\n{table}\n\n"
        "Every change is against the same picture without a filter, through the same codec at the same quality: "
        '"there" over the pictures where the group was chosen, "everywhere" over all pictures; the last line is what '
        f"was chosen for each.\n{_ABOUT_ONE if any(line.group == ONE for line in lines) else ''}"
    )
