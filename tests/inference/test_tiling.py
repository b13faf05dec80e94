"""Tiles: every pixel once, halos wide enough, corners on the grid."""

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.inference import tiling
from kcompress.inference.tiling import Tile, banded, bands, tiles


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
        assert all(inner.stop - inner.start <= side for inner in tile.inner)
        check(tile, (height, width), halo)
    assert (count == 1).all()


@settings(deadline=None, derandomize=True)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    count=st.integers(1, 40),
    halo=st.sampled_from([0, 8, 40]),
)
def test_bands(height: int, width: int, count: int, halo: int) -> None:
    found = list(bands(height, width, count=count, halo=halo, multiple=8))
    assert found[0].inner[0].start == 0 and found[-1].inner[0].stop == height
    assert all(one.inner[0].stop == next.inner[0].start for one, next in itertools.pairwise(found))
    assert len(found) == max(1, min(count, height // 8))
    for band in found:
        assert band.inner[1] == band.outer[1] == slice(0, width)
        check(band, (height, width), halo)


def check(tile: Tile, size: tuple[int, int], halo: int) -> None:
    for outer, inner, within, end in zip(tile.outer, tile.inner, tile.within, size, strict=True):
        assert outer.start == max(0, inner.start - halo) and outer.stop == min(end, inner.stop + halo)
        assert outer.start % 8 == 0
        assert within.start == inner.start - outer.start and within.stop - within.start == inner.stop - inner.start


def test_bands_of_a_large_picture_are_more_than_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "BAND_PIXELS", 1000)
    monkeypatch.setattr(tiling, "BAND_WIDTH", 60)
    found = list(bands(100, 100, count=2, halo=8, multiple=8))
    count = np.zeros((100, 100), int)
    for band in found:
        count[band.inner] += 1
        check(band, (100, 100), 8)
        assert band.inner[1].stop - band.inner[1].start <= 60
    assert (count == 1).all() and len(found) == 2 * 5


def test_bands_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=20)

    def engine(batch):
        both.wait()
        return batch

    assert len(list(banded(engine, np.zeros((80, 16, 3), np.uint8), halo=8, multiple=8, threads=2))) == 2


def test_after_an_error_bands_that_wait_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiling, "BAND_PIXELS", 8 * 16)
    calls, over = [], threading.Event()

    def engine(batch):
        calls.append(1)
        if len(calls) > 1:
            over.wait(20)  # the one that had begun before the error was seen
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(banded(engine, np.zeros((80, 16, 3), np.uint8), halo=0, multiple=8, threads=1))
    over.set()
    assert len(calls) <= 2


@pytest.mark.parametrize(("side", "multiple"), [(512, 16), (768, 8)])
def test_no_piece_is_much_smaller_than_the_others(side: int, multiple: int) -> None:
    for length in [*range(1, 3 * side, 7), 9921, 14881, 15873, 33000]:
        pieces = [tile.inner[1] for tile in tiles(8, length, side=side, halo=0, multiple=multiple)]
        sizes = [piece.stop - piece.start for piece in pieces]
        assert [piece.start for piece in pieces[1:]] == [piece.stop for piece in pieces[:-1]]
        assert pieces[0].start == 0 and pieces[-1].stop == length
        assert max(sizes) <= side and max(sizes) - min(sizes) < 2 * multiple
        assert all(piece.start % multiple == 0 for piece in pieces)
