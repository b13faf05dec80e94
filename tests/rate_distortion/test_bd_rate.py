"""Bjontegaard delta rate: known answers, and a no with a reason."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import PchipInterpolator

from kcompress.rate_distortion.bd_rate import NoBdRate, bd_rate, pareto_front

CURVE = [(0.2, 30.0), (0.4, 50.0), (0.8, 70.0), (1.6, 85.0), (2.4, 90.0)]


def test_identical_curves_give_nothing() -> None:
    assert bd_rate(CURVE, CURVE) == pytest.approx(0, abs=1e-9)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(factor=st.floats(0.6, 1.6))
def test_a_constant_factor_is_found(factor: float) -> None:
    assert bd_rate(CURVE, [(rate * factor, score) for rate, score in CURVE]) == pytest.approx(
        100 * (factor - 1), abs=1e-6
    )


def test_lower_is_better_metrics() -> None:
    falling = [(rate, 100 - score) for rate, score in CURVE]
    cheaper = [(0.9 * rate, score) for rate, score in falling]
    assert bd_rate(falling, cheaper, higher=False) == pytest.approx(-10)


def test_an_independent_integration() -> None:
    test = [(0.18, 29.0), (0.37, 51.0), (0.7, 68.0), (1.5, 86.0), (2.3, 89.5)]
    low, high = 30.0, 89.5
    scores = np.linspace(low, high, 20001)
    anchor, other = (PchipInterpolator([s for _, s in c], np.log([r for r, _ in c]))(scores) for c in (CURVE, test))
    expected = 100 * (np.exp(np.trapezoid(other - anchor, scores) / (high - low)) - 1)
    assert bd_rate(CURVE, test) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (CURVE[:3], "3 points, fewer than 4"),
        ([(0.2, 30), (0.4, 29), (0.8, 70), (1.6, 85)], "does not rise"),
        ([(0.2, 30), (0.4, 50), (0.8, 70), (1.6, float("inf"))], "infinite"),
        ([(0.2, 1), (0.4, 2), (0.8, 30), (1.6, 40)], "share only 17 %"),
    ],
)
def test_refusals_say_why(test: list[tuple[float, float]], reason: str) -> None:
    with pytest.raises(NoBdRate, match=reason):
        bd_rate(CURVE, test)


def test_what_costs_more_and_gives_no_more_is_left_out() -> None:
    curve = [(3.0, 0.8), (1.0, 0.5), (2.0, 0.8), (4.0, 0.79), (5.0, 0.9)]
    assert pareto_front(curve, higher=True) == [(1.0, 0.5), (2.0, 0.8), (5.0, 0.9)]
    losses = [(bits, 1 - score) for bits, score in curve]
    assert pareto_front(losses, higher=False) == [(1.0, 0.5), (2.0, 1 - 0.8), (5.0, 1 - 0.9)]
