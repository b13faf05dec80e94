"""Bootstrap intervals: where they lie, that they never move, and that SciPy's are alike."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from kcompress.rate_distortion.bootstrap import change_interval, mean_interval, percentiles, resamples

VALUES = np.random.default_rng(1).normal(-5, 2, 200).tolist()


def test_the_interval_holds_the_mean_and_is_the_same_at_every_call() -> None:
    low, high = mean_interval(VALUES)
    assert low < -5 < high and 0.3 < high - low < 0.9
    assert mean_interval(VALUES) == (low, high)
    assert mean_interval([3.0]) == (3.0, 3.0)


def test_published_intervals_do_not_move() -> None:
    """The draws are part of every published figure."""
    assert resamples(5, 2).tolist() == [[4, 3, 2, 1, 1], [0, 0, 0, 0, 4]]
    drawn = np.random.default_rng(0).choice(np.asarray(VALUES), (2000, len(VALUES)))
    assert mean_interval(VALUES) == percentiles(drawn.mean(axis=1))


def test_it_agrees_with_scipy() -> None:
    expected = bootstrap((VALUES,), np.mean, method="percentile", n_resamples=20_000, rng=2).confidence_interval
    assert mean_interval(VALUES) == pytest.approx(tuple(expected), abs=0.03)


def test_the_change_of_a_total_draws_both_values_of_a_picture_together() -> None:
    before = [100.0, 900.0]
    assert change_interval(before, [90.0, 810.0]) == pytest.approx((-10, -10))
    assert change_interval(before, [50.0, 900.0]) == pytest.approx((-50, 0))
