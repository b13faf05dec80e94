"""Percentile bootstrap over pictures: 95 % intervals whose draws are the same on every machine and at every call."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000


def resamples(pictures: int, count: int = RESAMPLES) -> NDArray[np.int64]:
    """Indices of pictures drawn with replacement, (count, pictures), with seed 0."""
    return np.random.default_rng(0).integers(0, pictures, (count, pictures))


def percentiles(statistics: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the 95 % interval of a statistic, given its value on each resample."""
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean, one value a picture."""
    sample = np.asarray(values)
    return percentiles(sample[resamples(len(sample))].mean(axis=1))


def change_interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the change of a total, per cent; both values of a picture are drawn together."""
    draws = resamples(len(before))
    plain, prepared = (np.asarray(values, dtype=float)[draws].sum(axis=1) for values in (before, after))
    return percentiles(100 * (prepared / plain - 1))
