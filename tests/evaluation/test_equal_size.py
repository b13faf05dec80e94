"""The quality of a size, by few encodes; points that meet."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.codecs import Scale
from kcompress.evaluation.equal_size import nearest_points, nearest_quality
from kcompress.evaluation.points import Point

SCALES = [Scale(finest=100, coarsest=0, default=75), Scale(finest=0, coarsest=51, default=28)]


def searched(scale: Scale, sizes: Mapping[int, int], size: int, start: int, known: tuple[int, ...]) -> tuple[int, int]:
    """The quality found, and how many were asked for."""
    asked: list[int] = []

    def measure(quality: int) -> int:
        asked.append(quality)
        return sizes[quality]

    found = nearest_quality(scale, size, start, {q: sizes[q] for q in known}, measure)
    assert len(asked) == len(set(asked)) and not set(asked) & set(known)
    return found, len(asked)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("size", [1, 999, 1000, 1500, 1_000_000, 10**9])
@pytest.mark.parametrize("known", [(), (20,), (10, 20, 30, 40, 50)])
def test_no_quality_is_nearer(scale: Scale, size: int, known: tuple[int, ...]) -> None:
    sizes = {q: round(1000 * 1.08 ** (50 * (1 - scale.coarseness(q)))) for q in range(101)}
    low, high = sorted(scale.ends)
    found, asked = searched(scale, sizes, size, scale.default, known)
    assert abs(sizes[found] - size) == min(abs(sizes[q] - size) for q in range(low, high + 1))
    if len(known) == 5 and sizes[10] != size and min(sizes[10], sizes[50]) < size <= max(sizes[10], sizes[50]):
        assert asked <= 5  # the search goes on from what was measured


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(SCALES), st.lists(st.integers(0, 3000), min_size=101, max_size=101), st.data())
def test_whatever_the_curve(scale: Scale, steps: list[int], data: st.DataObject) -> None:
    """Sizes that rise in any way, in flat pieces and jumps."""
    step = 1 if scale.finest > scale.coarsest else -1
    qualities = range(scale.coarsest, scale.finest + step, step)
    sizes, total = {}, 600
    for quality, more in zip(qualities, steps, strict=False):
        sizes[quality] = total = total + more
    size, start = data.draw(st.integers(1, 2 * total)), data.draw(st.sampled_from(qualities))
    found, asked = searched(scale, sizes, size, start, ())
    assert abs(sizes[found] - size) == min(abs(each - size) for each in sizes.values())
    assert asked <= 20


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.0, 1.1])
def test_few_encodes_where_the_curve_is_one_of_a_codec(factor: float) -> None:
    """Bytes of a photograph by libjpeg-turbo, and of a preprocessed one at a factor."""
    places = {0: 7000, 25: 22000, 50: 33000, 75: 51000, 90: 90000, 95: 130000, 100: 290000}
    ends = sorted(places)
    sizes = {}
    for low, high in pairwise(ends):
        for q in range(low, high + 1):
            sizes[q] = round(places[low] * (places[high] / places[low]) ** ((q - low) / (high - low)))
    asked = [searched(SCALES[0], sizes, round(sizes[q] / factor), q, ())[1] for q in (40, 60, 80, 90)]
    assert max(asked) <= 6 and sum(asked) <= 20


def test_points_that_meet() -> None:
    point = Point("a.png", "0", "jpeg", "pillow", "1", "none", 0, 10, 10, 0, 1.0, 0.0, 0.0, {})
    plain = [replace(point, bytes=size) for size in (100, 200, 300)]
    other = [replace(point, preprocessor="x", quality=q, bytes=size) for q, size in ((1, 90), (2, 190), (3, 260))]
    assert [each.quality for each in nearest_points(plain, other)] == [1, 2, 3]
    assert [each.quality for each in nearest_points(plain, other[1:])] == [2, 2, 3]
