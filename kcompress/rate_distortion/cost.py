"""Rate-distortion cost: ln(bytes) minus the gain of the metrics, priced by the codec's own slope on this picture.

A preprocessor that makes a file smaller and the picture worse has gained only if the codec itself would have lost more
for as few bytes. The plain codec is measured on the same picture: its slope d ln(bytes) / d metric at qualities around
the one asked for is the price of a metric. A difference of costs estimates the BD-rate, as a logarithm.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kcompress.encoding import Session
from kcompress.images import Image
from kcompress.metrics import METRICS
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.rate_distortion.slope import least_squares_slope, qualities


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

    Scores are those of `FileScorer`, on crops of large pictures; bytes are always those of the whole file.

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
        self._weights = dict(weights)
        self._scores = FileScorer(image, weights)
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
            name: least_squares_slope([METRICS[name].sign * scores[name] for _, scores in files.values()], rates)
            for name in weights
        }

    def __call__(self, data: bytes) -> Cost:
        """Cost of a file that holds the picture.

        Raises:
            InputError: it cannot be decoded, or holds a picture of another size.
        """
        scores = self.scores if data == self.plain.data else self._scores(data)
        gains = self.gains(scores)
        gained = math.fsum(weight * gains[name] for name, weight in self._weights.items())
        return Cost(len(data), scores, math.log(len(data)) - self._rate - gained)

    def gains(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Worth of scores by metric, against those of `plain`, as ln(bytes) by the plain codec's slopes."""
        return {
            name: slope * METRICS[name].sign * (scores[name] - self.scores[name]) for name, slope in self.slopes.items()
        }
