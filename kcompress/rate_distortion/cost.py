"""Rate-distortion cost: ln(bytes) minus the gain of the metrics, priced by the codec's own slope on this picture.

A preprocessor that makes a file smaller and the picture worse has gained only if the codec itself would have lost more
for as few bytes. The plain codec is measured on the same picture: its slope d ln(bytes) / d metric at qualities around
the one asked for is the price of a metric. A difference of costs estimates the BD-rate, as a logarithm.
"""

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from kcompress.codecs import decode
from kcompress.encoding import Session
from kcompress.errors import InputError
from kcompress.images import Image, Pixels, apply_metadata_policy
from kcompress.inference.tiling import Slices, tiles
from kcompress.metrics import METRICS, Scorer
from kcompress.rate_distortion.slope import least_squares_slope, qualities

WHOLE_PIXELS = 1 << 22
"""Pictures up to this many pixels are scored whole: SSIMULACRA2 takes some 64 bytes a pixel."""

CROP_SIDE = 512
"""Side of a crop, pixels, at most: larger pictures are scored on crops, whose scores are averaged."""

CROPS = 16
"""Number of crops, at most; together they have as many pixels as the largest picture that is scored whole."""

LARGEST = 100.0
"""Cap of a score: equal pictures have an infinite PSNR, of which no differences can be taken."""


@dataclass(frozen=True)
class Cost:
    """Rate-distortion cost of one file.

    Attributes:
        size: bytes.
        scores: by metric.
        cost: against the plain codec at the same quality, as ln: -0.05 is worth about 5 % fewer bytes at equal scores.
    """

    size: int
    scores: dict[str, float]
    cost: float


class RateDistortionCost:
    """Cost of files of one picture: ``ln(size / plain size) - sum(weight * slope * metric gain)``.

    Colours are those of the picture's profile, transparency lies over white. Of a picture above 4 megapixels the
    scores are means over up to 16 crops of at most 512x512 pixels that lie on a fixed grid, so scores take less than
    0.4 GB; bytes are always those of the whole file.

    Attributes:
        plain: the untouched picture, encoded.
        slopes: by metric: d ln(bytes) / d score, where higher scores are better; 0 or above.
        scores: by metric, of `plain`.
        floor: by metric, the plain codec's score a tenth of the scale coarser, which is as far as the slopes were
            measured; None at the coarse end of the scale.
    """

    def __init__(self, image: Image, session: Session, weights: Mapping[str, float]) -> None:
        """Encode the untouched picture at three qualities, a tenth of the scale apart, and score the results.

        Args:
            image: as the codec can hold it.
            session: of this picture.
            weights: of the metrics, keys of ``METRICS``; they add up to 1.

        Raises:
            UnsupportedError: the picture is too small for a metric.
            MissingProgramError: a metric is not installed.
            ProgramError: the encoder failed.
        """
        self._icc = image.icc
        self._weights = dict(weights)
        pixels = self._comparable(image)
        self._crops = crops(image.height, image.width)
        self._scorers = [Scorer(pixels[crop], weights) for crop in self._crops]
        files, asked = {}, session.setting.quality
        for quality in qualities(session.codec.quality, asked, (-1, 0, 1)):
            encoded = session.at(quality).encode(image)
            files[quality] = (encoded, self._scores(encoded.data))
        self.plain, self.scores = files[asked]
        coarser = next(iter(files))
        self.floor = None if coarser == asked else files[coarser][1]
        self._rate = math.log(len(self.plain.data))
        rates = [math.log(len(encoded.data)) for encoded, _ in files.values()]
        self.slopes = {
            name: least_squares_slope([_sign(name) * scores[name] for _, scores in files.values()], rates)
            for name in weights
        }

    def __call__(self, data: bytes) -> Cost:
        """Cost of a file that holds the picture.

        Raises:
            InputError: it cannot be decoded, or holds a picture of another size.
        """
        scores = self.scores if data == self.plain.data else self._scores(data)
        gained = math.fsum(
            weight * self.slopes[name] * _sign(name) * (scores[name] - self.scores[name])
            for name, weight in self._weights.items()
        )
        return Cost(len(data), scores, math.log(len(data)) - self._rate - gained)

    def _scores(self, data: bytes) -> dict[str, float]:
        pixels = self._comparable(decode(data))
        # A bare stream has even sides: what it repeats is not scored.
        found = [scorer(pixels[crop]) for crop, scorer in zip(self._crops, self._scorers, strict=True)]
        return {name: float(np.mean([min(scores[name], LARGEST) for scores in found])) for name in self._weights}

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


def _sign(metric: str) -> int:
    return 1 if METRICS[metric].direction == "higher" else -1
