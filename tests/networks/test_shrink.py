"""Shrink: the soft threshold in the block DCT."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.blockdct import strips_shrunk, thresholds
from kcompress.codecs import CODECS
from kcompress.encoding import encode
from kcompress.images import Image
from kcompress.networks.shrink import BLOCK, MASKING, Shrink


def noise(height: int, width: int, seed: int = 0) -> Image:
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("codec", "quality", "height", "side"),
    [
        ("jpeg", 75, 0.9 * 2.5, 8),
        ("webp", 75, 0.7 * 2.5, 4),
        ("hevc", 28, 0.075 * (16 - 2 ** (-2 / 3)), 4),
        ("avif", 60, 0.075 * (2 ** (22.4 / 6) - 2**1.5), 4),
    ],
)
def test_it_is_the_formula(codec: str, quality: int, height: float, side: int) -> None:
    image = noise(16, 24)
    setting = CODECS[codec].setting(quality)
    ((_, changed),) = strips_shrunk(image.pixels, thresholds(height, side), masking=MASKING[codec])
    assert np.array_equal(Shrink()(image, setting).pixels, np.clip(np.rint(changed), 0, 255))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_finest_quality_changes_nothing(codec, lake: Image) -> None:
    assert np.array_equal(Shrink()(lake, codec.setting(codec.quality.finest)).pixels, lake.pixels)


def test_flat_blocks_stay(lake: Image) -> None:
    flat = Image(np.full((40, 24, 3), (12, 200, 77), np.uint8))
    assert np.array_equal(Shrink()(flat, CODECS["jpeg"].setting(10)).pixels, flat.pixels)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(height=st.integers(1, 40), width=st.integers(1, 40), quality=st.integers(0, 100))
def test_any_size_and_quality(height: int, width: int, quality: int) -> None:
    image = noise(height, width)
    assert Shrink()(image, CODECS["webp"].setting(quality)).pixels.shape == (height, width, 3)


def test_strips_are_invisible() -> None:
    tall = noise(600, 16)
    setting = CODECS["jpeg"].setting(60)
    pieces = [Shrink()(Image(tall.pixels[top : top + 8]), setting).pixels for top in range(0, 600, 8)]
    assert np.array_equal(Shrink()(tall, setting).pixels, np.concatenate(pieces))


def test_strength_blends(lake: Image) -> None:
    setting = CODECS["jpeg"].setting(40)
    whole, half, none = (Shrink(strength)(lake, setting).pixels.astype(int) for strength in (1, 0.5, 0))
    assert np.array_equal(none, lake.pixels)
    unclipped = (whole > 0) & (whole < 255)
    assert np.abs(half - (whole + none) / 2)[unclipped].max() <= 1
    assert not np.array_equal(half, whole)


def test_grey_stays_grey_and_alpha_passes(lake: Image) -> None:
    grey = Image(np.repeat(lake.pixels[:, :, 1:2], 3, axis=2), grey=True)
    result = Shrink()(grey, CODECS["jpeg"].setting(50))
    assert result.grey
    assert np.array_equal(result.pixels[:, :, 0], result.pixels[:, :, 2])
    alpha = np.random.default_rng(2).integers(0, 256, lake.pixels.shape[:2], dtype=np.uint8)
    assert Shrink()(replace(lake, alpha=alpha), CODECS["webp"].setting()).alpha is alpha


@pytest.mark.parametrize("name", BLOCK)
def test_files_become_smaller_and_the_codec_decides_how_much(name: str, lake: Image) -> None:
    codec = CODECS[name]
    backend = codec.backend().name
    setting = codec.setting()
    plain = encode(lake, codec, setting, None, backend)
    prepared = encode(lake, codec, setting, Shrink(), backend)
    assert 0.75 < len(prepared.data) / len(plain.data) < 0.99
    assert prepared.network == "shrink" and plain.network == "none"
