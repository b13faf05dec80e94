"""Pictures of every quality with their scores by judges with reference, from which VQscore learns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import InputError, UsageError
from kcompress.images import Pixels, read
from kcompress.metrics import Scorer
from kcompress.training.crops import random_crop, shrunk
from kcompress.training.distortions import Random, through
from kcompress.training.drawn import page
from kcompress.training.judges import Judges
from kcompress.training.pointed_kinds import PAIRED
from kcompress.training.quality_kinds import KINDS, Kinds, source

DRAWN = 0.06
"""Share of the regions that are drawn pages in place of photographs."""

SHRUNK = 0.5
"""Share of the photographs that are made smaller first, and so sharper."""

SOFT = -0.25
"""`sharpest` of a region that nobody could tell from a blurred one. One photograph in 25 is no sharper."""


@dataclass(frozen=True)
class QualityData:
    """Distorted regions, and what they should score.

    Attributes:
        pixels: (regions, kinds, side, side, 3) uint8.
        targets: (regions, kinds), 0..100; NaN where a region is not made.
        pictures: (regions,) index of the photograph each comes from.
        kinds: names of the distortions.
    """

    pixels: NDArray[np.uint8]
    targets: NDArray[np.float64]
    pictures: NDArray[np.int64]
    kinds: Sequence[str] = tuple(KINDS)


@dataclass(frozen=True)
class JudgedRegions:
    """Distorted regions on disk.

    Attributes:
        pixels, pictures, kinds: as of `QualityData`.
        scores: (regions, kinds, judges); NaN where a region is not made yet.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float64]
    pictures: NDArray[np.int64]
    kinds: Sequence[str] = tuple(KINDS)

    def judged_by(self, judges: Judges) -> QualityData:
        """The regions with the mean of the judges."""
        return QualityData(self.pixels, judges.mean(self.scores), self.pictures, self.kinds)


def prepare(
    photos: Sequence[Path], folder: Path, regions: int, side: int, seed: int, judges: Sequence[str],
    kinds: Sequence[str] | None = None, table: Kinds = KINDS,
) -> Iterator[tuple[int, JudgedRegions]]:  # fmt: skip
    """Make what is missing of the data, region by region; yields the number of regions that are done.

    ``regions`` of ``side`` pixels are cut from each photograph, and made in ``kinds`` of a table, by default in all.
    An interrupted preparation goes on in the folder; kinds that are left out are made another time.

    Raises:
        UsageError: the folder holds regions of other photographs, sides, kinds or judges.
        InputError: a photograph is smaller than a region.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = tuple(table) if kinds is None else kinds
    shape = (len(photos) * regions, len(table))
    data = JudgedRegions(
        _array(folder / "pixels.npy", np.uint8, (*shape, side, side, 3)),
        _array(folder / "scores.npy", np.float64, (*shape, len(judges))),
        np.repeat(np.arange(len(photos)), regions),
        tuple(table),
    )
    columns = [[*table].index(kind) for kind in kinds]
    for region, number in enumerate(data.pictures):
        if not np.isnan(data.scores[region, columns]).any():
            continue
        clean = _region(photos[number], side, np.random.default_rng([seed, region]))
        versions = distorted(clean, [seed, region], kinds, judges, table)
        for column, (_, pixels, scores) in zip(columns, versions, strict=True):
            data.pixels[region, column] = pixels
            data.scores[region, column] = [scores[judge] for judge in judges]
        yield region + 1, data
    yield shape[0], data


def _region(photo: Path, side: int, random: Random) -> Pixels:
    """A region from anywhere in a photograph, or a page, as it was before any damage."""
    if random.random() < DRAWN:
        return page(side, random)
    picture = read(photo.read_bytes(), name=str(photo)).pixels
    height, width = picture.shape[:2]
    if min(height, width) < side:
        raise InputError(
            f"{photo} has {width}x{height} pixels, no room for a region of {side}. Give larger photographs, or a "
            "smaller --side."
        )
    if random.random() < SHRUNK:
        picture = shrunk(picture, max(side, round(min(height, width) * random.uniform(0.5, 0.95))))
    return through(np.ascontiguousarray(random_crop(picture, side, random)), source(random))


def is_sharp(pixels: Pixels) -> bool:
    """Whether a region (H, W, 3) has a sharp place."""
    return sharpest(pixels) > SOFT


def sharpest(pixels: Pixels) -> float:
    """Sharpness of the sharpest places of a region (H, W, 3), sides at least 32.

    It is the log ratio of the energies of details finer than 0.8 pixels and of 0.8 to 1.6; of the half of the tokens
    that have most to tell, the one that a tenth of them exceeds.
    """
    import cv2

    rows, columns = (length // 32 for length in pixels.shape[:2])
    grey = pixels[: 32 * rows, : 32 * columns].astype(np.float32).mean(axis=2)
    less, least = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (0.8, 1.6))
    fine, coarse = (
        np.square(band).reshape(rows, 32, columns, 32).mean(axis=(1, 3)) + 0.05 for band in (grey - less, less - least)
    )
    telling = coarse >= np.median(coarse)
    return float(np.quantile(np.log(fine / coarse)[telling], 0.9))


def _array(path: Path, kind: type, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array in a file; a new one is full of NaN, or of black."""
    if path.exists():
        found = np.lib.format.open_memmap(path, "r+")
        if found.shape != shape:
            raise UsageError(
                f"{path} holds {found.shape[0]} regions in {found.shape[1]} kinds, of other photographs, sides, "
                "kinds or judges. Give the same again, or another --prepared."
            )
        return found
    array = np.lib.format.open_memmap(path, "w+", kind, shape)
    if kind is np.float64:
        array[:] = np.nan
    return array


def distorted(
    clean: Pixels, seed: Sequence[int], kinds: Sequence[str], judges: Sequence[str], table: Kinds = KINDS
) -> Iterator[tuple[str, Pixels, dict[str, float]]]:
    """A region in several ways: (kind, pixels, scores by judge); the seed and the kind alone decide on the pixels.

    Kinds of PAIRED share what they draw first.
    """
    scorer = Scorer(clean, judges)
    for kind in kinds:
        random = np.random.default_rng(seed if table is PAIRED else [*seed, [*table].index(kind)])
        pixels = through(clean, table[kind](random))
        yield kind, pixels, scorer(pixels)
