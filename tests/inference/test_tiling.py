"""Tiles: every pixel once, halos wide enough, corners on the grid."""

import numpy as np
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
