"""Crops side by side: one piece of a picture behind every preprocessor (Kuchen paper, figures 5 and 6)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kcompress.evaluation.comparison import score_text
from kcompress.evaluation.equal_size import nearest_points
from kcompress.evaluation.files import Files
from kcompress.evaluation.page import Shown, shown
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.points import Point
from kcompress.evaluation.sweep import original
from kcompress.images import Pixels
from kcompress.networks import NONE

_CROP = (120, 160)
"""Rows and columns: small, as they are shown enlarged."""

_FEWEST = 3
"""Versions that make a row: with one preprocessor the before/after pairs show all."""

_ROWS = 2
"""Pictures for each codec."""


@dataclass(frozen=True)
class Row:
    """One crop in all its versions, the original first."""

    title: str
    crops: tuple[Shown, ...]


def rows(plan: Plan, points: Sequence[Point]) -> Iterator[Row]:
    """For each codec those pictures on whose scores the preprocessors differ most, where their pixels differ most.

    All are at the middle quality; with ``match_bpp`` at the plain codec's bytes there. Scores are the first metric's.
    """
    metric = plan.metrics[0]
    for codec, qualities in plan.qualities.items():
        versions = _versions(plan, [point for point in points if point.codec == codec], qualities[len(qualities) // 2])
        spreads = {}
        for picture, found in versions.items():
            scores = [score for point in found if np.isfinite(score := point.scores.get(metric, np.nan))]
            if len(found) >= _FEWEST and scores:
                spreads[picture] = max(scores) - min(scores)
        for picture in sorted(spreads, key=lambda name: -spreads[name])[:_ROWS]:
            yield _row(plan, codec, versions[picture])


def _versions(plan: Plan, points: Sequence[Point], quality: int) -> dict[str, list[Point]]:
    """Points of each picture to be set side by side, the plain one first."""
    found = {point.picture: [point] for point in points if point.preprocessor == NONE and point.quality == quality}
    for name in dict.fromkeys(point.preprocessor for point in points):
        for picture, versions in found.items() if name != NONE and name not in PEERS else ():
            curve = [point for point in points if (point.picture, point.preprocessor) == (picture, name)]
            if plan.match_bpp and curve:
                versions += nearest_points(versions[:1], curve)
            versions += [point for point in curve if point.quality == quality and not plan.match_bpp]
    return found


def _row(plan: Plan, codec: str, versions: Sequence[Point]) -> Row:
    picture, metric = versions[0].picture, plan.metrics[0]
    image = original(plan.dataset.read(picture), picture)
    files = Files(plan, image, codec)
    decoded = [files.pixels(point.preprocessor, point.quality) for point in versions]
    window = most_changed(decoded, _CROP)
    crops = [shown("original", "", image.pixels[window])]
    for point, pixels in zip(versions, decoded, strict=True):
        name = "plain" if point.preprocessor == NONE else point.preprocessor
        caption = f"{point.bytes:,} bytes, q {point.quality}, {metric} {score_text(point.scores.get(metric))}"
        crops.append(shown(name, caption, pixels[window]))
    return Row(f"{codec}: {picture}", tuple(crops))


def most_changed(pictures: Sequence[Pixels], size: tuple[int, int]) -> tuple[slice, slice]:
    """Window of a size, rows and columns, in which pictures (H, W, 3) differ most; smaller where they are."""
    change = (np.max(pictures, axis=0).astype(np.int64) - np.min(pictures, axis=0)).sum(axis=2)
    total = np.pad(change.cumsum(axis=0).cumsum(axis=1), [(1, 0), (1, 0)])
    rows, columns = (min(side, wanted) for side, wanted in zip(change.shape, size, strict=True))
    sums = total[rows:, columns:] - total[:-rows, columns:] - total[rows:, :-columns] + total[:-rows, :-columns]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return slice(int(top), int(top) + rows), slice(int(left), int(left) + columns)
