"""The search for a strength."""

import pytest

from kcompress.search.strength import NARROWEST, following


def search(cost):
    costs = {0.0: cost(0.0), 1.0: cost(1.0)}
    while (strength := following(costs)) is not None:
        assert strength not in costs
        costs[strength] = cost(strength)
        assert len(costs) < 30
    return costs


@pytest.mark.parametrize("best", [0.0, 0.03, 0.3, 0.5, 0.77, 1.0])
def test_it_finds_the_lowest_of_a_valley(best):
    costs = search(lambda strength: (strength - best) ** 2)
    assert abs(min(costs, key=costs.__getitem__) - best) <= NARROWEST
    assert len(costs) <= 13


def test_what_gains_nothing_is_not_done():
    costs = search(lambda strength: 0.0)
    assert sorted(costs)[:2] == [0, NARROWEST]
    assert len(costs) == 7
