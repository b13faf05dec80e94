"""Judges on one scale: order, ends, ranks, and the way to the card and back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompress.training.judges import KNEE, Judges, Scale, target

NAMES = ["ssimulacra2", "butteraugli", "ms-ssim"]


@given(st.lists(st.floats(-2000, 100), min_size=2, max_size=20))
def test_targets_keep_the_order_and_stay_between_0_and_100(scores: list[float]) -> None:
    ordered = np.sort(np.array(scores))
    found = target(ordered)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0 and found.max() <= 100
    assert np.array_equal(found[ordered >= KNEE], ordered[ordered >= KNEE])
    assert (found[ordered < KNEE] < KNEE).all() and (found[ordered < 0] > ordered[ordered < 0]).all()


def test_targets_are_smooth_at_the_knee() -> None:
    below, at, above = target(np.array([KNEE - 1e-4, KNEE, KNEE + 1e-4]))
    assert at == KNEE
    assert (at - below) == pytest.approx(above - at, rel=1e-4)
    assert target(np.array([0.0]))[0] == pytest.approx(KNEE / np.e)


def test_nan_is_no_target() -> None:
    assert np.isnan(target(np.array([np.nan, 50.0]))).tolist() == [True, False]


def some(number: int = 400) -> np.ndarray:
    """Scores (pictures, judges) of pictures of every quality; the three judges agree on the order."""
    quality = np.sort(np.append(np.random.default_rng(0).uniform(-40, 100, number - 1), 100))
    return np.stack([quality, 5 * (1 - quality / 100) ** 2, 1 - (1 - quality / 100) / 9], axis=1)


def test_judges_who_agree_on_the_order_agree_on_the_points() -> None:
    scores = some()
    judges = Judges.fitted(NAMES, scores)
    each = judges.each(scores)
    assert np.array_equal(each[:, 0], target(scores[:, 0]))
    assert np.abs(each - each[:, :1]).max() < 1.5
    assert each[-1].tolist() == [100, 100, 100], "an untouched picture"
    assert judges.mean(scores) == pytest.approx(each.mean(axis=1))
    assert np.isnan(judges.mean(np.full((2, 3), np.nan))).all()
    assert judges.mean(scores.reshape(20, 20, 3)).shape == (20, 20)


def test_a_judge_who_disagrees_moves_the_mean_by_its_part() -> None:
    scores = some()
    judges = Judges.fitted(NAMES, scores)
    other = scores[[200, 200]]
    other[1, 1] = 0  # butteraugli sees no difference
    first, second = judges.mean(other)
    assert second - first == pytest.approx((100 - judges.each(other)[0, 1]) / 3)


def test_points_rise_and_stay_between_0_and_100() -> None:
    judges = Judges.fitted(NAMES, some())
    beyond = np.stack([np.linspace(-900, 100, 50), np.linspace(30, 0, 50), np.linspace(0, 1, 50)], axis=1)
    each = judges.each(beyond)
    assert (np.diff(each, axis=0) >= 0).all() and each.min() >= 0 and each.max() <= 100


def test_equal_scores_are_worth_the_most_of_them() -> None:
    scores = some()
    scores[350:, 1] = 0
    assert Judges.fitted(NAMES, scores).each(scores)[350:, 1] == pytest.approx(100)


def test_a_card_gives_the_judges_back() -> None:
    judges = Judges.fitted(NAMES, some())
    card = json.loads(json.dumps(judges.card()))
    assert list(card) == NAMES[1:] and card["butteraugli"]["score"][0] > card["butteraugli"]["score"][-1] == 0
    back = Judges.from_card(card)
    assert back.names == tuple(NAMES) and np.array_equal(back.mean(some()), judges.mean(some()))


def test_between_its_knots_a_scale_is_straight_and_beyond_flat() -> None:
    scale = Scale((0.0, 1.0, 3.0), (10.0, 20.0, 60.0))
    assert scale(np.array([-5, 0, 0.5, 2, 3, 9])).tolist() == [10, 10, 15, 40, 60, 60]
