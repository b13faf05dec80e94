"""Sharp chroma: what decoders show of a picture whose chroma is halved."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pil

from kcompress.codecs import CODECS, decode
from kcompress.images import Image
from kcompress.inference.tiling import batch
from kcompress.networks.sharp import DRAWN, PHOTOGRAPH, Shares, sharp_chroma

TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
LIGHT = np.array([0.2126, 0.7152, 0.0722])


def shown(picture: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) after chroma is halved as means and enlarged by Pillow's bilinear filter."""
    ycc = picture @ TO_YCC.T
    height, width = picture.shape[:2]
    for plane in (1, 2):
        half = ycc[:, :, plane].reshape(height // 2, 2, width // 2, 2).mean((1, 3)).astype(np.float32)
        ycc[:, :, plane] = np.asarray(Pil.fromarray(half).resize((width, height), Pil.Resampling.BILINEAR))
    return ycc @ np.linalg.inv(TO_YCC).T


@pytest.fixture
def colours(lake: Image) -> np.ndarray:
    """Red and blue blocks beside a photograph, (64, 128, 3), 0..1."""
    pixels = np.empty((64, 128, 3))
    pixels[:, 64:] = lake.pixels[200:264, 200:264] / 255
    pixels[:, :64] = 0.1, 0.2, 0.8
    pixels[5:30, 5:31] = pixels[41, :64] = 0.8, 0.2, 0.2
    return pixels


def sharpened(picture: np.ndarray, shares: Shares = PHOTOGRAPH) -> np.ndarray:
    given = picture.transpose(2, 0, 1)[None].astype(np.float32)
    return picture + sharp_chroma(given, shares)[0].transpose(1, 2, 0)


def test_colours_and_light_come_nearer_to_the_picture(colours: np.ndarray) -> None:
    plain, better = shown(colours) - colours, shown(sharpened(colours)) - colours
    for weights in TO_YCC[1:]:
        assert np.square(better @ weights).mean() < 0.92 * np.square(plain @ weights).mean()
    lost = [np.square((np.square(colours + error) - np.square(colours)) @ LIGHT).mean() for error in (plain, better)]
    assert lost[1] < 0.4 * lost[0]


@pytest.mark.parametrize("shares", [PHOTOGRAPH, DRAWN])
def test_any_way_of_halving_finds_the_same_chroma(colours: np.ndarray, shares: Shares) -> None:
    chroma = sharpened(colours, shares) @ TO_YCC[1:].T
    blocks = chroma.reshape(32, 2, 64, 2, 2)
    assert np.allclose(blocks, blocks[:, :1, :, :1], atol=1e-5)


def test_without_shares_chroma_is_the_mean_and_luma_stays(colours: np.ndarray) -> None:
    made, ycc = sharpened(colours, Shares(0, 0, 0)) @ TO_YCC.T, colours @ TO_YCC.T
    assert np.allclose(made[:, :, 0], ycc[:, :, 0], atol=1e-5)
    means = ycc[:, :, 1:].reshape(32, 2, 64, 2, 2).mean((1, 3))
    assert np.allclose(made[::2, ::2, 1:], means, atol=1e-5)


def test_shares_add_up(colours: np.ndarray) -> None:
    def part(*shares: float) -> np.ndarray:
        return sharpened(colours, Shares(*shares)) - sharpened(colours, Shares(0, 0, 0))

    assert np.allclose(part(0.5, 0.3, 0.2), 0.5 * part(1, 0, 0) + 0.3 * part(0, 1, 0) + 0.2 * part(0, 0, 1), atol=1e-5)


def test_the_linear_mean_is_that_of_libwebp() -> None:
    levels = np.full((64, 128, 3), 230, np.uint8)
    levels[1::2, ::2] = 200, 20, 60
    setting = replace(CODECS["webp"].setting(100), planes=True)
    encoder = CODECS["webp"].backend("libwebp")
    theirs = decode(encoder.encode(Image(levels), setting)).pixels.astype(int)

    def error(linear: float) -> float:
        wanted = 255 * sharpened(levels / 255, Shares(0, linear, 0))
        pixels = np.clip(np.rint(wanted), 0, 255).astype(np.uint8)
        planes = Image(levels).with_pixels(pixels, (wanted - pixels).astype(np.float16))
        return float(np.square(decode(encoder.encode(planes, setting)).pixels - theirs).mean())

    assert error(1) < 0.3 * error(0.5) < 0.15 * error(0)


def test_what_has_no_colour_is_left_alone(lake: Image) -> None:
    grey = batch(np.repeat(lake.pixels[:64, :64, :1], 3, axis=2))
    assert np.abs(sharp_chroma(grey)).max() < 1e-5
