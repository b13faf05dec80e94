"""The block DCT and its soft thresholds."""

import cv2
import numpy as np
import pytest

from kcompress.blockdct import shrunk, strips_shrunk, thresholds


def test_thresholds_rise_with_frequency_and_spare_dc() -> None:
    limits = thresholds(1.75)
    assert limits[0, 0] == 0
    for u, v in ((0, 1), (2, 3), (7, 7)):
        assert limits[u, v] == pytest.approx(1.75 * min(1.5, (u + v) / 4))


def test_coefficients_match_opencv() -> None:
    plane = np.random.default_rng(1).uniform(0, 255, (16, 24)).astype(np.float32)
    limits = thresholds(3.5)
    expected = np.empty_like(plane)
    for y in range(0, 16, 8):
        for x in range(0, 24, 8):
            block = cv2.dct(plane[y : y + 8, x : x + 8])
            block = np.sign(block) * np.maximum(np.abs(block) - limits, 0)
            expected[y : y + 8, x : x + 8] = cv2.idct(block)
    assert np.abs(shrunk(plane, limits) - expected).max() < 1e-3


def test_strips_cover_the_picture_and_work_on_opencvs_luma() -> None:
    pixels = np.random.default_rng(2).integers(60, 200, (517, 21, 3), dtype=np.uint8)
    found = np.full(pixels.shape, np.nan, np.float32)
    for rows, values in strips_shrunk(pixels, thresholds(4)):
        found[rows] = values
    padded = np.pad(pixels, [(0, 3), (0, 3), (0, 0)], mode="edge").astype(np.float32)
    luma = cv2.cvtColor(padded, cv2.COLOR_RGB2GRAY)  # BT.601
    expected = shrunk(luma, thresholds(4))[:517, :21]
    assert np.abs(cv2.cvtColor(found, cv2.COLOR_RGB2GRAY) - expected).max() < 0.02


def test_texture_masks_and_flat_ground_does_not() -> None:
    random = np.random.default_rng(3)
    limits = thresholds(2.0, 4)
    for deviation, least, most in ((0.4, 1.5, 2), (6, 0.9, 1.1), (80, 0.4, 0.55)):
        plane = (128 + deviation * random.standard_normal((64, 64))).astype(np.float32)
        found = np.abs(shrunk(plane, limits, 0.3) - plane).mean()
        smaller, larger = (np.abs(shrunk(plane, limits * scale) - plane).mean() for scale in (least, most))
        assert smaller * 0.999 <= found <= larger * 1.001
    assert np.array_equal(shrunk(plane, limits, 0.0), shrunk(plane, limits))
    assert np.array_equal(shrunk(np.full((8, 8), 77, np.float32), limits, 0.3), np.full((8, 8), 77, np.float32))
