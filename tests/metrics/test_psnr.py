"""PSNR against numbers worked out by hand."""

import math

import numpy as np
import pytest

from kcompress.metrics.psnr import psnr


def test_black_against_white():
    assert psnr(np.zeros((3, 4, 3), np.uint8), np.full((3, 4, 3), 255, np.uint8)) == 0


def test_one_sample_of_twelve_off_by_six():
    # Mean squared error 36 / 12 = 3: 20 log10(255) - 10 log10(3).
    original = np.full((2, 2, 3), 100, np.uint8)
    distorted = original.copy()
    distorted[0, 1, 2] = 94
    assert psnr(original, distorted) == pytest.approx(48.130804 - 4.771213, abs=1e-6)


def test_everywhere_off_by_one():
    assert psnr(np.full((9, 9, 3), 7, np.uint8), np.full((9, 9, 3), 8, np.uint8)) == pytest.approx(48.130804, abs=1e-6)


def test_the_slightest_difference_is_not_infinite(lake):
    distorted = lake.pixels.copy()
    distorted[0, 0, 0] ^= 1
    assert math.isinf(psnr(lake.pixels, lake.pixels))
    assert psnr(lake.pixels, distorted) == pytest.approx(10 * math.log10(255**2 * lake.pixels.size))
