"""Reduction in linear light: sizes, brightness, edges of transparency, what stays as it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import smooth

from kcompress.images import Image, Resize


@given(st.integers(1, 70_000), st.integers(1, 70_000), st.integers(1, 5000))
def test_the_longest_side_is_the_one_asked_for(width, height, most):
    found = Resize(max_side=most).size(width, height)
    assert max(found) == min(most, max(width, height)) and min(found) >= 1
    share = max(found) / max(width, height)
    assert all(abs(new - side * share) <= 1 for new, side in zip(found, (width, height), strict=True))


def test_what_is_small_enough_stays_the_same_object(lake):
    assert Resize(max_side=640)(lake) is lake
    assert Resize(scale=1.0)(lake) is lake


@pytest.mark.parametrize("resize", [Resize(max_side=160), Resize(scale=0.25)])
def test_a_quarter_of_each_side(lake, resize):
    small = resize(lake)
    assert small.pixels.shape == (100, 160, 3) and small.pixels.dtype == np.uint8
    assert resize(lake).pixels.tobytes() == small.pixels.tobytes()
    blocks = lake.pixels.reshape(100, 4, 160, 4, 3).mean((1, 3))
    assert np.abs(small.pixels - blocks).mean() < 8


def test_light_is_averaged_and_not_samples():
    """Black and white in turn are half of the light, which is sample 188."""
    board = np.where(np.indices((64, 64)).sum(0) % 2, 255, 0).astype(np.uint8)
    middle = Resize(max_side=8)(Image(np.dstack([board] * 3))).pixels[2:-2, 2:-2]
    assert np.abs(middle.astype(int) - 188).max() <= 2


@pytest.mark.parametrize("value", [0, 1, 9, 10, 11, 12, 128, 254, 255])
def test_a_flat_picture_stays_flat(value):
    flat = Image(np.full((50, 60, 3), value, np.uint8))
    assert (Resize(scale=0.3)(flat).pixels == value).all()


def test_clear_pixels_do_not_bleed_into_others():
    pixels, alpha = np.full((40, 40, 3), 200, np.uint8), np.full((40, 40), 255, np.uint8)
    pixels[:, 20:], alpha[:, 20:] = (0, 255, 0), 0
    small = Resize(max_side=10)(Image(pixels, alpha))
    assert np.abs(small.pixels[small.alpha > 30].astype(int) - 200).max() <= 3
    assert small.alpha[0, 0] == 255 and small.alpha[0, -1] == 0


def test_grey_and_metadata_stay(grey):
    from dataclasses import replace

    small = Resize(max_side=50)(replace(grey, exif=b"exif", icc=b"icc", notes=("note",)))
    assert small.grey and (small.pixels[:, :, 0] == small.pixels[:, :, 2]).all()
    assert (small.exif, small.icc, small.notes) == (b"exif", b"icc", ("note",))


def test_thin_pictures():
    assert Resize(max_side=10)(Image(smooth(1, 200))).pixels.shape == (10, 1, 3)
