"""Tiles: every pixel once, halos wide enough, corners on the grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.inference.tiling import tiles


@settings(deadline=None, derandomize=True)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    side=st.sampled_from([8, 24, 64, 320]),
    halo=st.sampled_from([0, 8, 40]),
)
def test_tiles(height: int, width: int, side: int, halo: int) -> None:
    count = np.zeros((height, width), int)
    for tile in tiles(height, width, side=side, halo=halo, multiple=8):
        count[tile.inner] += 1
        for outer, inner, within, end in zip(tile.outer, tile.inner, tile.within, (height, width), strict=True):
            assert inner.stop - inner.start <= side
            assert outer.start == max(0, inner.start - halo) and outer.stop == min(end, inner.stop + halo)
            assert outer.start % 8 == 0
            assert within.start == inner.start - outer.start and within.stop - within.start == inner.stop - inner.start
    assert (count == 1).all()


@pytest.mark.parametrize(("side", "multiple"), [(512, 16), (768, 8)])
def test_no_piece_is_much_smaller_than_the_others(side: int, multiple: int) -> None:
    for length in [*range(1, 3 * side, 7), 9921, 14881, 15873, 33000]:
        pieces = [tile.inner[1] for tile in tiles(8, length, side=side, halo=0, multiple=multiple)]
        sizes = [piece.stop - piece.start for piece in pieces]
        assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
        assert pieces[0].start == 0 and pieces[-1].stop == length
        assert max(sizes) <= side and max(sizes) - min(sizes) < 2 * multiple
        assert all(piece.start % multiple == 0 for piece in pieces)
