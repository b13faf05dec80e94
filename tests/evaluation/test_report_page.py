"""The plain file at equal bytes, by few encodes."""

from collections.abc import Mapping

import pytest

from kcompress.codecs import Scale
from kcompress.evaluation.report_page import nearest_quality


@pytest.mark.parametrize("scale", [Scale(finest=100, coarsest=0, default=75), Scale(finest=0, coarsest=51, default=28)])
@pytest.mark.parametrize("size", [1, 999, 1000, 1500, 1_000_000, 10**9])
@pytest.mark.parametrize("known", [(), (20,), (10, 20, 30, 40, 50)])
def test_no_quality_is_nearer(scale: Scale, size: int, known: tuple[int, ...]) -> None:
    sizes: Mapping[int, int] = {q: round(1000 * 1.08 ** (50 * (1 - scale.coarseness(q)))) for q in range(101)}
    low, high = sorted(scale.ends)
    asked = set()

    def measure(quality: int) -> int:
        asked.add(quality)
        return sizes[quality]

    found = nearest_quality(scale, size, {q: sizes[q] for q in known}, measure)
    assert abs(sizes[found] - size) == min(abs(sizes[q] - size) for q in range(low, high + 1))
    if len(known) == 5 and sizes[10] != size and min(sizes[10], sizes[50]) < size <= max(sizes[10], sizes[50]):
        assert len(asked) <= 5  # the search goes on from what was measured
