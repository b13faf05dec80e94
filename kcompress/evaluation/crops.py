"""Crops side by side: one piece of a picture behind every preprocessor (Kuchen paper, figures 5 and 6)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kcompress.evaluation.comparison import score_text
from kcompress.evaluation.equal_size import nearest_points
from kcompress.evaluation.files import Files
from kcompress.evaluation.page import Shown, shown
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.points import Point
from kcompress.evaluation.summary import Curve, curves_of
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
        middle = qualities[len(qualities) // 2]
        versions = _versions(curves_of(points, codec), middle, match_bpp=plan.match_bpp)
        spreads = {}
        for picture, found in versions.items():
            scores = [score for point in found if np.isfinite(score := point.scores.get(metric, np.nan))]
            if len(found) >= _FEWEST and scores:
                spreads[picture] = max(scores) - min(scores)
        for picture in sorted(spreads, key=lambda name: -spreads[name])[:_ROWS]:
            yield _row(plan, codec, versions[picture])


def _versions(
    measured: Mapping[str, Mapping[str, Curve]], quality: int, *, match_bpp: bool
) -> dict[str, list[Point]]:  # fmt: skip
    """Points of each picture to be set side by side, the plain one first, of curves by preprocessor and picture."""

    def chosen(plain: Point, curve: Curve) -> list[Point]:
        return nearest_points([plain], curve) if match_bpp else [each for each in curve if each.quality == quality]

    ours = [by_picture for name, by_picture in measured.items() if name != NONE and name not in PEERS]
    return {
        picture: [plain, *(each for other in ours if picture in other for each in chosen(plain, other[picture]))]
        for picture, curve in measured.get(NONE, {}).items()
        for plain in curve
        if plain.quality == quality
    }


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
