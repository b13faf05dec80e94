"""Which group wins: equations 3 to 6 against NumPy, and what must hold whatever the numbers are."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.labeling.decision import choose, z_scores
from kcompress.labels import Row

NAMES = ["identity", "ar", "nlm", "detail", "ar+nlm", "ar+detail", "nlm+detail", "ar+nlm+detail"]
PIXELS = 320 * 180

WEIGHTS = st.sampled_from([-1, 0, 0.5, 1, 2])
WITH_EVERY_NUMBER = settings(deadline=None, derandomize=True)
QUALITIES = st.one_of(st.integers(-200_000, 100_000).map(lambda number: number / 1000), st.just(inf))
CANDIDATES = st.lists(st.tuples(QUALITIES, st.integers(600, 60_000)), min_size=1, max_size=len(NAMES))


def row(group: str, quality: float, size: int, metric: str = "psnr") -> Row:
    return Row(
        path="a.png", sha256="0" * 64, patch="", left=0, top=0, group=group, codec="jpeg", backend="pillow",
        version="1", quality=75, width=320, height=180, bytes=size, bpp=8 * size / PIXELS, z_quality=None, z_bpp=None,
        score=None, chosen=0, label="", seconds=0.0, error="", scores={metric: quality},
    )  # fmt: skip


def failed(group: str) -> Row:
    return replace(row(group, 0, 0), bytes=None, bpp=None, scores={}, error="it broke.")


def rows(candidates: Sequence[tuple[float, int]]) -> list[Row]:
    return [row(group, *candidate) for group, candidate in zip(NAMES, candidates, strict=False)]


def winner(found: Sequence[Row]) -> str:
    (chosen,) = [each.group for each in found if each.chosen]
    return chosen


def z(values: Sequence[float]) -> np.ndarray:
    """Equations 3 to 6 as NumPy has them; infinity counts as 10000, as documented."""
    finite = np.clip(values, -1e4, 1e4)
    deviation = finite.std() if np.ptp(finite) else 0
    return (finite - finite.mean()) / deviation if deviation else np.zeros(len(finite))


@WITH_EVERY_NUMBER
@given(candidates=CANDIDATES, rate_weight=WEIGHTS)
def test_scores_are_what_numpy_makes_of_the_equations(candidates: list[tuple[float, int]], rate_weight: float) -> None:
    found = choose(rows(candidates), "psnr", higher_is_better=True, rate_weight=rate_weight)
    qualities, rates = z([quality for quality, _ in candidates]), z([8 * size / PIXELS for _, size in candidates])
    assert [each.z_quality for each in found] == pytest.approx(qualities, rel=1e-6, abs=1e-6)
    assert [each.z_bpp for each in found] == pytest.approx(rates, rel=1e-6, abs=1e-6)
    for each in found:
        assert each.score == each.z_quality - rate_weight * each.z_bpp
    best = max(each.score for each in found)
    assert next(each for each in found if each.chosen).score == pytest.approx(best, abs=1e-8)
    assert sum(each.chosen for each in found) == 1


def test_an_example_by_hand() -> None:
    # Deviations of 1, 3 and of 10000, 30000 bytes are 1 and 10000: z is -1 and 1.
    found = choose(
        [row("identity", 3, 30_000), row("nlm", 1, 10_000), row("ar", 3, 10_000)], "psnr", higher_is_better=True
    )
    root = 2**0.5
    assert [each.z_quality for each in found] == pytest.approx([1 / root, -root, 1 / root])
    assert [each.z_bpp for each in found] == pytest.approx([root, -1 / root, -1 / root])
    assert [each.score for each in found] == pytest.approx([-1 / root, -1 / root, root])
    assert [each.chosen for each in found] == [0, 0, 1]


@WITH_EVERY_NUMBER
@given(candidates=CANDIDATES, rate_weight=WEIGHTS, order=st.randoms(use_true_random=False))
def test_the_order_of_the_groups_changes_nothing(
    candidates: list[tuple[float, int]], rate_weight: float, order
) -> None:
    every = rows(candidates)
    shuffled = order.sample(every, len(every))
    found = choose(every, "psnr", higher_is_better=True, rate_weight=rate_weight)
    again = choose(shuffled, "psnr", higher_is_better=True, rate_weight=rate_weight)
    assert [each.group for each in again] == [each.group for each in shuffled]
    assert {each.group: each for each in again} == {each.group: each for each in found}


@WITH_EVERY_NUMBER
@given(candidates=CANDIDATES)
def test_a_group_that_is_worse_in_both_never_wins(candidates: list[tuple[float, int]]) -> None:
    found = choose(rows(candidates), "psnr", higher_is_better=True)
    chosen = next(each for each in found if each.chosen)
    for other in found:
        assert not (other.scores["psnr"] > chosen.scores["psnr"] and other.bytes < chosen.bytes)


@WITH_EVERY_NUMBER
@given(candidates=CANDIDATES)
def test_lower_is_better_turns_the_scale_round(candidates: list[tuple[float, int]]) -> None:
    higher = choose(rows(candidates), "psnr", higher_is_better=True)
    lower = choose(rows([(-quality, size) for quality, size in candidates]), "psnr", higher_is_better=False)
    assert [(each.z_quality, each.score, each.chosen) for each in lower] == [
        (each.z_quality, each.score, each.chosen) for each in higher
    ]


def test_the_smaller_butteraugli_wins() -> None:
    every = [row("identity", 0.8, 9000, "butteraugli"), row("nlm", 2.5, 9000, "butteraugli")]
    assert winner(choose(every, "butteraugli", higher_is_better=False)) == "identity"
    assert winner(choose(every, "butteraugli", higher_is_better=True)) == "nlm"


def test_a_weight_prefers_small_files() -> None:
    every = [row("identity", 40, 9000), row("ar", 37, 7000), row("nlm", 30, 6000)]
    chosen = [winner(choose(every, "psnr", higher_is_better=True, rate_weight=weight)) for weight in (0.2, 1, 5)]
    assert chosen == ["identity", "ar", "nlm"]


def test_plus_rewards_large_files() -> None:
    every = [row("identity", 40, 9000), row("detail", 40, 12_000)]
    assert winner(choose(every, "psnr", higher_is_better=True)) == "identity"
    assert winner(choose(every, "psnr", higher_is_better=True, rate_weight=-1)) == "detail"


@pytest.mark.parametrize("other", NAMES[1:])
def test_where_all_are_equal_scores_are_zero_and_the_identity_wins(other: str) -> None:
    for every in ([row(other, 40, 900), row("identity", 40, 900)], [row("identity", 40, 900), row(other, 40, 900)]):
        found = choose(every, "psnr", higher_is_better=True)
        assert {(each.z_quality, each.z_bpp, each.score) for each in found} == {(0, 0, 0)}
        assert winner(found) == "identity"


def test_of_equal_scores_the_smaller_file_wins_and_then_the_shorter_group() -> None:
    mirrored = [row("identity", 40, 12_000), row("ar+nlm", 30, 9000)]  # z of both: +-1 and +-1
    assert winner(choose(mirrored, "psnr", higher_is_better=True)) == "ar+nlm"
    twins = [row("ar+nlm", 40, 9000), row("detail", 40, 9000), row("identity", 40, 9999)]
    assert winner(choose(twins, "psnr", higher_is_better=True)) == "detail"


@WITH_EVERY_NUMBER
@given(
    quality=st.integers(0, 50_000), gain=st.integers(1, 50_000), size=st.integers(600, 60_000),
    more=st.integers(1, 60_000),
)  # fmt: skip
def test_of_two_groups_that_trade_quality_for_size_the_smaller_wins(
    quality: int, gain: int, size: int, more: int
) -> None:
    every = [row("nlm", quality / 1000, size), row("identity", (quality + gain) / 1000, size + more)]
    assert winner(choose(every, "psnr", higher_is_better=True)) == "nlm"


def test_an_infinite_score_is_the_best_and_leaves_numbers() -> None:
    found = choose(
        [row("identity", inf, 9000), row("nlm", 40, 9000), row("ar", 30, 9000)], "psnr", higher_is_better=True
    )
    assert winner(found) == "identity"
    assert all(isfinite(each.z_quality) and isfinite(each.score) for each in found)
    both = choose([row("identity", inf, 9000), row("nlm", inf, 8000)], "psnr", higher_is_better=True)
    assert [each.z_quality for each in both] == [0, 0] and winner(both) == "nlm"


@pytest.mark.parametrize("odd", [failed("nlm"), row("nlm", nan, 9000)], ids=["failed", "not a number"])
def test_what_failed_takes_no_part(odd: Row) -> None:
    sound = [row("identity", 40, 9000), row("ar", 39, 8000), row("detail", 38, 9900)]
    alone = choose(sound, "psnr", higher_is_better=True)
    found = choose([*sound[:1], odd, *sound[1:]], "psnr", higher_is_better=True)
    assert [found[0], *found[2:]] == alone
    assert (found[1].z_quality, found[1].z_bpp, found[1].score, found[1].chosen) == (None, None, None, 0)
    assert found[1].error == odd.error


def test_where_all_failed_nothing_is_chosen() -> None:
    every = [failed("identity"), failed("nlm")]
    assert choose(every, "psnr", higher_is_better=True) == every
    assert choose([], "psnr", higher_is_better=True) == []


def test_an_earlier_choice_is_forgotten() -> None:
    before = [replace(row("nlm", 30, 9000), chosen=1, score=5.0), row("identity", 40, 9000)]
    assert winner(choose(before, "psnr", higher_is_better=True)) == "identity"


@WITH_EVERY_NUMBER
@given(values=st.lists(st.floats(allow_nan=False), max_size=12))
def test_z_is_finite_whatever_the_values(values: list[float]) -> None:
    found = z_scores(values)
    assert len(found) == len(values) and all(map(isfinite, found))
    assert all(abs(value) <= max(1, len(values)) ** 0.5 * 1.000001 for value in found)


@pytest.mark.parametrize("values", [[0.0, 1e-200], [1.0, 1.0000000000000002, 1.0], [5e-324, 0.0, 0.0]])
def test_values_too_close_for_a_deviation_leave_numbers(values: list[float]) -> None:
    assert all(map(isfinite, z_scores(values)))
