"""Validation with the real encoder: what a preprocessor saves, and what it costs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from kcompress.codecs import CODECS, Codec, decode
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.encoding import encode
from kcompress.images import Image, Pixels
from kcompress.inference.engine import TorchEngine
from kcompress.metrics import METRICS, Scorer
from kcompress.networks import Preprocessor
from kcompress.networks.closed_loop import RoundTrip
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.loading import wrapped
from kcompress.rate_distortion.bd_rate import NoBdRate, bd_rate
from kcompress.rate_distortion.scoring import LARGEST
from kcompress.rate_distortion.slope import least_squares_slope, qualities
from kcompress.training.crops import middle
from kcompress.training.events import Metrics
from kcompress.workers import ahead, ordered, threads

SIDE = 768
"""Side of the middle of a picture that is encoded, pixels: whole ones would take longer than the training."""

_BESIDE = ("butteraugli", "psnr")
"""Metrics that are measured beside those of an objective."""


@dataclass(frozen=True)
class _Point:
    """One file."""

    size: int
    bpp: float
    scores: dict[str, float]


@dataclass(frozen=True)
class _Case:
    """One picture, and what the plain codec makes of it at every quality."""

    image: Image
    scorer: Scorer
    plain: list[_Point]


class CodecValidator:
    """Compares a preprocessor with the plain codec on some pictures.

    Sizes are compared at ``quality``, on the middles of the pictures; the first of the metrics matters most. The
    preprocessor stands before the codec with ``tables``, if there are any. ``jobs`` threads encode and judge.
    """

    def __init__(
        self, codec: str, quality: int, metrics: Sequence[str], pictures: Sequence[Pixels],
        tables: QuantisationTables | None = None, jobs: int = 1,
    ) -> None:  # fmt: skip
        self.codec, self.quality, self._jobs = CODECS[codec], quality, jobs
        self._tested = self.codec if tables is None else replace(self.codec, tables=tables)
        self.metrics = tuple(dict.fromkeys(metrics))
        self.encoder = self.codec.backend("auto")
        self.qualities = qualities(self.codec.quality, quality, (-3, -1.5, 0, 1.2))
        shown = [middle(pixels, SIDE) for pixels in pictures]
        both = [(Image(pixels), Scorer(pixels, self.metrics)) for pixels in shown]
        curves = self._curves(both, self.codec, None)
        self._cases = [_Case(*pair, plain) for pair, plain in zip(both, curves, strict=True)]

    @property
    def heading(self) -> str:
        """Codec, quality and encoder, for plots."""
        return f"{self.codec.name} {self.quality}, {self.encoder.name} {self.encoder.version()}"

    @property
    def names(self) -> list[str]:
        """Names of all validation metrics, in order."""
        kinds = ("{}_change", "size_at_equal_{}_percent", "bd_rate_{}_percent")
        return ["size_change_percent", *(kind.format(metric) for metric in self.metrics for kind in kinds)]

    def __call__(self, preprocessor: Preprocessor) -> Metrics:
        """Validation metrics: means over the pictures, by name.

        ``size_change_percent`` and ``..._change`` are at the same quality. ``size_at_equal_..._percent`` estimates
        the BD-rate and is always there: the change of ln(rate), and the plain codec's price of the change of the
        score by its own slope. ``bd_rate_..._percent`` is None where fewer than half of the pictures allow one.
        """
        at = self.qualities.index(self.quality)
        curves = self._curves([(case.image, case.scorer) for case in self._cases], self._tested, preprocessor)
        sizes = [sum(curve[at].size for curve in each) for each in (curves, [case.plain for case in self._cases])]
        found: dict[str, float | None] = {"size_change_percent": 100 * (sizes[0] / sizes[1] - 1)}
        for metric in self.metrics:
            sign = 1 if METRICS[metric].direction == "higher" else -1
            pairs = list(zip([case.plain for case in self._cases], curves, strict=True))
            change = [test[at].scores[metric] - plain[at].scores[metric] for plain, test in pairs]
            rates = [float(np.log(test[at].bpp / plain[at].bpp)) for plain, test in pairs]
            paid = [
                rate - _slope(plain, metric, sign) * sign * gained
                for (plain, _), rate, gained in zip(pairs, rates, change, strict=True)
            ]
            found[f"{metric}_change"] = float(np.mean(change))
            found[f"size_at_equal_{metric}_percent"] = 100 * float(np.expm1(np.mean(paid)))
            found[f"bd_rate_{metric}_percent"] = _mean_bd_rate(pairs, metric, higher=sign > 0)
        return {name: None if value is None else round(value, 3) for name, value in found.items()}

    def _curves(
        self, pictures: Sequence[tuple[Image, Scorer]], codec: Codec, preprocessor: Preprocessor | None
    ) -> list[list[_Point]]:
        """A point a quality of each picture."""
        tasks = [(*pair, codec, quality, preprocessor) for pair in pictures for quality in self.qualities]
        with threads(self._jobs) as executor:
            points = list(ordered(executor, self._point, tasks, ahead(self._jobs)))
        count = len(self.qualities)
        return [points[first : first + count] for first in range(0, len(points), count)]

    def _point(
        self, image: Image, scorer: Scorer, codec: Codec, quality: int, preprocessor: Preprocessor | None
    ) -> _Point:
        encoded = encode(image, codec, codec.setting(quality), preprocessor, self.encoder.name)
        scores = scorer(decode(encoded.data).pixels)
        # Equal pictures have an infinite PSNR, whose changes are no numbers.
        return _Point(len(encoded.data), encoded.bpp, {name: min(value, LARGEST) for name, value in scores.items()})


def of_objective(
    codec: str, quality: int, objective: Iterable[str], pictures: Sequence[Pixels],
    tables: QuantisationTables | None = None, jobs: int = 1,
) -> CodecValidator:  # fmt: skip
    """Validator by the metrics of an objective, and some beside them that are installed."""
    known = [name for name in (*objective, *_BESIDE) if METRICS[name].available()]
    return CodecValidator(codec, quality, known, pictures, tables, jobs)


def under_training(network: nn.Module, trained: TrainingDomain, round_trip: RoundTrip | None = None) -> Preprocessor:
    """Preprocessor of a network under training, named by its domain; it runs where the network is."""
    engine = TorchEngine(network, str(next(network.parameters()).device))
    return wrapped(trained.name, engine, trained, round_trip=round_trip)


def size_at_equal(metric: str) -> str:
    """Name of the validation metric that says how much smaller files are at an equal score."""
    return f"size_at_equal_{metric}_percent"


def weighted_size(found: Metrics, objective: Mapping[str, float]) -> float:
    """Mean size at equal scores, per cent, weighted by the shares of the scores: the lower, the better."""
    return sum(share * (found[size_at_equal(name)] or 0.0) for name, share in objective.items())


def _slope(plain: Sequence[_Point], metric: str, sign: int) -> float:
    """Slope of the plain codec, d ln(rate) / d score."""
    return least_squares_slope(
        [sign * point.scores[metric] for point in plain], [math.log(point.bpp) for point in plain]
    )


def bd_rate_or_none(
    plain: Sequence[tuple[float, float]], test: Sequence[tuple[float, float]], *, higher: bool = True
) -> float | None:
    """BD-rate of two curves; None where they do not allow one."""
    try:
        return bd_rate(plain, test, higher=higher)
    except NoBdRate:
        return None


def _mean_bd_rate(
    pairs: Sequence[tuple[Sequence[_Point], Sequence[_Point]]], metric: str, *, higher: bool
) -> float | None:
    found = []
    for curves in pairs:
        plain, test = ([(point.bpp, point.scores[metric]) for point in curve] for curve in curves)
        found.append(bd_rate_or_none(plain, test, higher=higher))
    known = [rate for rate in found if rate is not None]
    return float(np.mean(known)) if 2 * len(known) >= len(pairs) else None
