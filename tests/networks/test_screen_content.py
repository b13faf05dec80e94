"""Screen content is told from photographs, part by part."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from kcompress.images import Image, Pixels
from kcompress.networks.screen_content import BLOCK, NEAR, natural_share


def page(height: int = 192, width: int = 256) -> Pixels:
    """Coloured text, not antialiased, beside an antialiased disc, on white."""
    drawn = PIL.Image.new("RGB", (width, height), "white")
    draw = PIL.ImageDraw.Draw(drawn)
    for number in range(height // 12):
        draw.text((3, 12 * number), "quick brown foxes jump over 0123456789", ["#c80000", "#0000c8"][number % 2])
    large = PIL.Image.new("RGB", (256, 256), "#ffd0a0")
    PIL.ImageDraw.Draw(large).ellipse((20, 20, 230, 230), "#203080")
    drawn.paste(large.resize((64, 64)), (width - 64, height - 64))
    return np.asarray(drawn)


def noise(height: int = 192, width: int = 256, deviation: float = 3.0) -> Pixels:
    levels = 128 + np.random.default_rng(0).normal(0, deviation, (height, width, 3))
    return np.rint(levels).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("pixels", [page(), np.full((40, 60, 3), 200, np.uint8), page()[:, :, :1].repeat(3, 2)])
def test_what_is_drawn_has_no_share(pixels: Pixels) -> None:
    assert not natural_share(pixels).blocks.any()


@pytest.mark.parametrize("deviation", [1.0, 3.0, 6.0])
def test_noise_is_natural(deviation: float) -> None:
    assert (natural_share(noise(deviation=deviation)).blocks == 1).all()


def test_photographs_are_natural_but_for_a_white_sky(lake: Image, balloons: Image) -> None:
    assert (natural_share(balloons.pixels).blocks == 1).all()
    share = natural_share(lake.pixels).blocks
    assert (share[2:] == 1).all() and share[0].min() < 0.1


def test_far_steps_are_no_noise() -> None:
    for step, drawn in ((1, False), (NEAR, False), (NEAR + 1, True), (200, True)):
        stripes = np.full((64, 64, 3), 20, np.uint8)
        stripes[:, ::2, 1] += np.uint8(step)
        assert natural_share(stripes).blocks.any() != drawn


def test_a_page_with_a_photograph_is_both(lake: Image) -> None:
    pixels = page(192, 384).copy()
    pixels[:, 192:] = lake.pixels[200:392, 200:392]
    share = natural_share(pixels).at((slice(0, 192), slice(0, 384)))[:, :, 0]
    assert not share[:, :160].any() and (share[:, 224:] == 1).all()
    assert np.abs(np.diff(share, axis=1)).max() < 1.5 / BLOCK  # no seam between both


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (17, 1), (50, 70), (64, 48)])
def test_parts_are_those_of_the_whole(size: tuple[int, int]) -> None:
    height, width = size
    pixels = np.concatenate([noise()[:, :30], page()], axis=1)[:height, :width]
    share = natural_share(pixels)
    assert share.blocks.shape == (-(-height // BLOCK), -(-width // BLOCK))
    whole = share.at((slice(0, height), slice(0, width)))
    assert whole.shape == (height, width, 1) and 0 <= whole.min() <= whole.max() <= 1
    part = slice(height // 3, height), slice(width // 2, width)
    assert np.array_equal(share.at(part), whole[part])


def test_between_the_centres_of_blocks_lies_interpolation() -> None:
    pixels = np.concatenate([noise(16, 96), page(16, 96)], axis=1)
    share = natural_share(pixels)
    line = share.at((slice(8, 9), slice(0, 192)))[0, :, 0]
    centres = np.arange(12) * BLOCK + BLOCK / 2 - 0.5
    assert np.allclose(line, np.interp(np.arange(192), centres, share.blocks[0]), atol=1e-6)


def test_the_blend_takes_each_where_it_belongs() -> None:
    original = np.concatenate([noise(64, 96), page(64, 160)], axis=1)
    changed = 255 - original
    result = natural_share(original).blended(original, changed)
    assert np.array_equal(result[:, :64], changed[:, :64]) and np.array_equal(result[:, 128:], original[:, 128:])
    share = natural_share(original).at((slice(0, 64), slice(0, 256)))
    expected = original + share * (changed.astype(float) - original)
    assert np.abs(result - expected).max() <= 0.5 + 1e-4
