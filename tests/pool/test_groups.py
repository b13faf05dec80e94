"""The pool as the user types it, and the groups that are made of it."""

import pickle
import re
from math import comb, perm

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.codecs import CODECS
from kcompress.errors import ProgramError, UsageError
from kcompress.images import Image
from kcompress.pool import (
    FILTERS,
    IDENTITY,
    Filter,
    FilterContext,
    FilterType,
    Group,
    GuetzliLimits,
    Parameter,
    filter_named,
    group_named,
    groups,
)

POOL = ["guetzli", "ar", "nlm", "detail", "nlm:h=10", "guetzli:q=85"]


def names(count: int, longest: int, *, ordered: bool = False) -> list[str]:
    return [group.name for group in groups([filter_named(name) for name in POOL[:count]], longest, ordered=ordered)]


@settings(deadline=None, derandomize=True)
@given(count=st.integers(1, 6), longest=st.integers(1, 8), ordered=st.booleans())
def test_as_many_groups_as_the_formula_says(count: int, longest: int, ordered: bool) -> None:
    found = names(count, longest, ordered=ordered)
    ways = perm if ordered else comb
    assert len(found) == len(set(found)) == sum(ways(count, length) for length in range(longest + 1))
    lengths = [0 if name == IDENTITY else name.count("+") + 1 for name in found]
    assert lengths == sorted(lengths) and max(lengths) == min(longest, count)


def test_the_groups_of_three_in_their_order() -> None:
    assert names(3, 2) == ["identity", "guetzli", "ar", "nlm", "guetzli+ar", "guetzli+nlm", "ar+nlm"]
    assert names(2, 2, ordered=True) == ["identity", "guetzli", "ar", "guetzli+ar", "ar+guetzli"]
    assert names(3, 9) == names(3, 3)
    assert names(1, 1) == ["identity", "guetzli"]


def test_the_order_of_the_pool_is_kept() -> None:
    assert [group.name for group in groups([filter_named("detail"), filter_named("nlm:h=5")], 2)] == [
        "identity", "detail", "nlm:h=5", "detail+nlm:h=5",
    ]  # fmt: skip


def test_a_group_begins_with_its_prefix() -> None:
    for group in groups([filter_named(name) for name in POOL[:4]], 3)[1:]:
        assert group.prefix.filters == group.filters[:-1]
        assert group.name in (group.filters[-1].name, f"{group.prefix.name}+{group.filters[-1].name}")
    assert Group(()).name == IDENTITY


@pytest.mark.parametrize("longest", [0, -3])
def test_a_group_of_no_filter_is_refused(longest: int) -> None:
    with pytest.raises(UsageError, match=rf"--max-group {longest} leaves no filter\. Allowed: 1 and more\."):
        names(2, longest)


def test_an_empty_pool_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--pool is empty\."):
        groups([], 2)


@pytest.mark.parametrize(
    "pool",
    [["nlm", "detail", "nlm"], ["nlm:h=3", "nlm:h=3.0"], ["nlm", "nlm:h=3"], ["guided:h=8:s=4", "guided:s=4:h=8"]],
)
def test_the_same_filter_twice_is_refused(pool: list[str]) -> None:
    with pytest.raises(UsageError, match=f"--pool {','.join(pool)} names a filter twice"):
        groups([filter_named(name) for name in pool], 2)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("nlm", ()), ("nlm:h=10", (("h", 10),)), ("nlm:h=0.1", (("h", 0.1),)), ("guetzli:q=84", (("q", 84),)),
     ("guetzli:q=100", (("q", 100),)), ("detail", ()), ("ar", ()), ("ar:n=2", (("n", 2),)),
     ("blur:s=0.7", (("s", 0.7),)), ("shrink:t=4", (("t", 4),)), ("guided:h=8:s=4", (("h", 8), ("s", 4)))],
)  # fmt: skip
def test_a_filter_by_its_name_and_numbers(text: str, numbers: tuple[tuple[str, float], ...]) -> None:
    context = FilterContext(device="cuda:3")
    found = filter_named(text, context)
    assert (found.name, found.kind, found.parameters) == (text, FILTERS[text.partition(":")[0]], numbers)
    assert found.context is context
    assert filter_named(text).context == FilterContext()


@pytest.mark.parametrize("text", ["", "sepia", "NLM", " nlm", "identity", "h=3", "nlm+detail"])
def test_an_unknown_filter(text: str) -> None:
    with pytest.raises(UsageError, match=rf"{re.escape(text)} is not known\. Allowed: guetzli, ar, .*, sharpen\."):
        filter_named(text)


@pytest.mark.parametrize(
    "text",
    ["nlm:h=", "nlm:h", "nlm:", "nlm:=3", "nlm:h=x", "nlm:h=nan", "nlm:h=inf", "nlm:h=0", "nlm:h=100.1", "nlm:h=-3",
     "nlm:q=95", "nlm:h=3:h=4", "nlm:h=3:", "nlm:h=3=4"],
)  # fmt: skip
def test_numbers_that_are_not_understood(text: str) -> None:
    with pytest.raises(UsageError, match=rf"the filter {text}: .* is not understood\. Allowed: h=0\.1\.\.100\."):
        filter_named(text)


def test_what_is_allowed_is_told() -> None:
    for number in ("83", "84.5"):
        with pytest.raises(UsageError, match=rf"q={number} is not .*\. Allowed: q=84\.\.100 in whole numbers\."):
            filter_named(f"guetzli:q={number}")
    with pytest.raises(UsageError, match=r"Allowed: s=1\.\.50 in whole numbers, h=0\.1\.\.100\."):
        filter_named("guided:s=2.5:h=3")
    with pytest.raises(UsageError, match=r"h=3 is not understood\. Allowed: no parameter\."):
        filter_named("detail:h=3")


@pytest.mark.parametrize("name", POOL)
def test_a_filter_travels_to_another_process(name: str) -> None:
    chosen = filter_named(name, FilterContext("cuda:1", GuetzliLimits(jobs=3)))
    assert pickle.loads(pickle.dumps(chosen)) == chosen


def _smaller(pixels: np.ndarray, context: FilterContext) -> np.ndarray:
    return pixels[:-1]


def _brighter(pixels: np.ndarray, context: FilterContext, by: float = 1) -> np.ndarray:
    return pixels + np.uint8(by)


def test_a_filter_that_changes_the_size_is_refused() -> None:
    crop = Filter("crop", FilterType("crop", "drops a row", _smaller))
    with pytest.raises(ProgramError, match=r"the filter crop changed the size of the picture\. Leave it out of --pool"):
        crop.apply(np.zeros((8, 9, 3), np.uint8))


def test_the_numbers_reach_the_work_and_the_setting_does_not() -> None:
    kind = FilterType("brighter", "adds", _brighter, (Parameter("by", 1, 9),))
    image = Image(np.zeros((8, 9, 3), np.uint8), alpha=np.full((8, 9), 7, np.uint8))
    for numbers, value in (((), 1), ((("by", 5.0),), 5)):
        result = Group((Filter("brighter", kind, numbers),))(image, CODECS["webp"].setting())
        assert (result.pixels == value).all()
        assert result.alpha is image.alpha


def test_every_filter_of_the_pool_says_what_it_is() -> None:
    assert list(FILTERS)[:4] == ["guetzli", "ar", "nlm", "detail"]  # the paper's
    for name, kind in FILTERS.items():
        assert kind.name == name and kind.about and isinstance(kind.available(), bool)
        assert kind.available() or kind.install


def test_a_series_is_applied_one_after_the_other(lake: Image) -> None:
    image = Image(lake.pixels[150:200, 200:277])
    series = group_named("nlm:h=10+detail")
    assert (series.name, series.network, series.conditioned) == ("nlm:h=10+detail", "nlm+detail", False)
    expected = filter_named("detail").apply(filter_named("nlm:h=10").apply(image.pixels))
    assert np.array_equal(series(image, CODECS["jpeg"].setting()).pixels, expected)
    for text in ("nlm+", "+", "nlm+sepia", "identity"):
        with pytest.raises(UsageError, match="is not known"):
            group_named(text)
