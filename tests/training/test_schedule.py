"""Learning rates over the steps of a training."""

import pytest

from kcompress.training.schedule import cosine


def test_a_linear_warm_up_then_a_cosine_down_to_nothing() -> None:
    rates = [cosine(step, steps=1000, highest=0.1, warmup=100) for step in range(1000)]
    assert rates[0] == pytest.approx(0.001) and rates[49] == pytest.approx(0.05)
    assert rates[99] == rates[100] == max(rates) == 0.1
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx(0.05)
    assert 0 < rates[999] < 1e-5 * 0.1


def test_a_training_that_ends_in_its_warm_up() -> None:
    assert [cosine(step, steps=4, highest=1, warmup=4) for step in range(4)] == [0.25, 0.5, 0.75, 1]
    assert cosine(2, steps=3, highest=1, warmup=10) == pytest.approx(0.3)


def test_without_a_warm_up() -> None:
    assert cosine(0, steps=10, highest=0.2, warmup=0) == 0.2
