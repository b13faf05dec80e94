"""Scores of files of one picture, on crops of it where it is large."""

import contextlib
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from kcompress.codecs import decode
from kcompress.errors import InputError
from kcompress.images import Image, Pixels, apply_metadata_policy
from kcompress.inference.tiling import Slices, tiles
from kcompress.metrics import Scorer

WHOLE_PIXELS = 1 << 22
"""Pictures up to this many pixels are scored whole: SSIMULACRA2 takes some 64 bytes a pixel."""

CROP_SIDE = 512
"""Side of a crop, pixels, at most: larger pictures are scored on crops, whose scores are averaged."""

CROPS = 16
"""Number of crops, at most; together they have as many pixels as the largest picture that is scored whole."""

LARGEST = 100.0
"""Cap of a score: equal pictures have an infinite PSNR, of which no differences can be taken."""


class FileScorer:
    """Scores of files against the picture that they hold.

    Colours are those of the picture's profile, transparency lies over white. Of a picture above 4 megapixels the
    scores are means over up to 16 crops of at most 512x512 pixels that lie on a fixed grid, so scores take less than
    0.8 GB.
    """

    def __init__(self, image: Image, names: Iterable[str]) -> None:
        """Prepare metrics, keys of ``METRICS``, for a picture as the codec can hold it.

        Raises:
            UnsupportedError: the picture is too small for a metric.
            MissingProgramError: a metric is not installed.
        """
        self._icc, self._names = image.icc, tuple(names)
        pixels = self._comparable(image)
        self._crops = crops(image.height, image.width)
        self._scorers = [Scorer(pixels[crop], self._names) for crop in self._crops]

    def __call__(self, data: bytes) -> dict[str, float]:
        """Scores of a file by metric.

        Raises:
            InputError: it cannot be decoded, or holds a picture of another size.
        """
        pixels = self._comparable(decode(data))
        # A bare stream has even sides: what it repeats is not scored.
        found = [scorer(pixels[crop]) for crop, scorer in zip(self._crops, self._scorers, strict=True)]
        return {name: float(np.mean([min(scores[name], LARGEST) for scores in found])) for name in self._names}

    def _comparable(self, image: Image) -> Pixels:
        """(H, W, 3) sRGB over white."""
        with contextlib.suppress(InputError):  # a profile that cannot be used: samples are taken as they are
            image = apply_metadata_policy(replace(image, icc=self._icc), "none")
        return image.flattened((255, 255, 255)).pixels


def crops(height: int, width: int) -> list[Slices]:
    """Parts of a picture that are scored: all of it, or pieces on an even grid with about its proportions."""
    if height * width <= WHOLE_PIXELS:
        return [(slice(0, height), slice(0, width))]
    pieces = [tile.inner for tile in tiles(height, width, side=CROP_SIDE, halo=0, multiple=16)]
    columns = sum(rows.start == 0 for rows, _ in pieces)
    rows = len(pieces) // columns
    down = min(rows, CROPS, max(1, round(math.sqrt(CROPS * rows / columns))))
    across = min(columns, CROPS // down)
    return [
        pieces[_spread(row, down, rows) * columns + _spread(column, across, columns)]
        for row in range(down)
        for column in range(across)
    ]


def _spread(number: int, count: int, length: int) -> int:
    """Index of item ``number`` when ``count`` items are spread evenly over ``length`` positions."""
    return (2 * number + 1) * length // (2 * count)
