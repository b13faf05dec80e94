from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import psnr, smooth

from kcompress import planes
from kcompress.images import Image, Pixels
from kcompress.planes import BOX, LIBBPG, Planes, Sampling, Taps, from_rgb, grey_planes, to_rgb

TAPS = pytest.mark.parametrize("taps", [BOX, LIBBPG], ids=["box", "libbpg"])
SAMPLING = pytest.mark.parametrize("sampling", ["420", "444"])


def noise(width: int, height: int) -> Pixels:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def apart(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other).max())


def test_444_comes_back_within_2_levels() -> None:
    pixels = noise(200, 300)
    assert apart(to_rgb(from_rgb(pixels, "444", BOX)), pixels) <= 2


@TAPS
@SAMPLING
def test_a_constant_colour_comes_back_within_2_levels(sampling: Sampling, taps: Taps) -> None:
    for colour in product((0, 1, 77, 128, 254, 255), repeat=3):
        pixels = np.full((6, 7, 3), colour, np.uint8)
        assert apart(to_rgb(from_rgb(pixels, sampling, taps)), pixels) <= 2


@SAMPLING
def test_grey_levels_come_back_exactly(sampling: Sampling) -> None:
    pixels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    made = from_rgb(pixels, sampling, BOX)
    assert np.array_equal(made.luma, pixels[:, :, 0])
    assert all((plane == 128).all() for plane in made.chroma)
    assert np.array_equal(to_rgb(made), pixels)
    assert np.array_equal(to_rgb(grey_planes(pixels[:, :, 0])), pixels)


def test_planes_are_those_of_bt601_full_range() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    made = from_rgb(pixels, "444", BOX)
    assert made.luma.tolist() == [[76, 150, 29]]
    assert [plane.tolist() for plane in made.chroma] == [[[85, 44, 255]], [[255, 21, 107]]]


@TAPS
@SAMPLING
@settings(deadline=None, max_examples=40, derandomize=True)
@given(width=st.integers(1, 40), height=st.integers(1, 40))
def test_every_size_has_its_planes(sampling: Sampling, taps: Taps, width: int, height: int) -> None:
    pixels = smooth(width, height)
    made = from_rgb(pixels, sampling, taps)
    half = ((height + 1) // 2, (width + 1) // 2) if sampling == "420" else (height, width)
    assert [plane.shape for plane in made.all] == [(height, width), half, half]
    assert to_rgb(made).shape == pixels.shape
    assert psnr(to_rgb(made), pixels) > 25


@TAPS
@SAMPLING
@pytest.mark.parametrize("height", [257, 300, 511, 512, 513, 600])
def test_strips_leave_no_seam(sampling: Sampling, taps: Taps, height: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = noise(9, height)
    in_strips = from_rgb(pixels, sampling, taps)
    back = to_rgb(in_strips)
    monkeypatch.setattr(planes, "_STRIP", 1024)
    at_once = from_rgb(pixels, sampling, taps)
    assert all(np.array_equal(one, other) for one, other in zip(in_strips.all, at_once.all, strict=True))
    assert np.array_equal(back, to_rgb(at_once))
    monkeypatch.setattr(planes, "_STRIP", 16)
    assert np.array_equal(back, to_rgb(in_strips))


def test_a_photograph_survives_halved_chroma(balloons: Image) -> None:
    assert psnr(to_rgb(from_rgb(balloons.pixels, "420", LIBBPG)), balloons.pixels) > 33
    assert psnr(to_rgb(from_rgb(balloons.pixels, "420", BOX)), balloons.pixels) > 33


def test_the_box_is_the_mean_of_2x2() -> None:
    pixels = noise(8, 6)
    _, blue, red = from_rgb(pixels, "420", BOX).all
    r, g, b = np.moveaxis(pixels.astype(float), 2, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    for plane, exact in ((blue, (b - y) / 1.772 + 128), (red, (r - y) / 1.402 + 128)):
        assert apart(plane, np.floor(exact.reshape(3, 2, 4, 2).mean(axis=(1, 3)) + 0.5)) <= 0


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("full_range", [True, False])
def test_black_grey_and_white_of_each_range(bits: int, full_range: bool) -> None:
    kind = np.uint8 if bits == 8 else np.uint16
    peak, unit = (1 << bits) - 1, 1 << (bits - 8)
    black, white = (0, peak) if full_range else (16 * unit, 235 * unit)
    luma = np.array([[black, white]], kind)
    middle = np.full((1, 2), 128 * unit, kind)
    made = Planes(luma, (middle, middle), "444", full_range=full_range, bits=bits)
    assert to_rgb(made).tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert to_rgb(Planes(luma, (), "400", full_range=full_range, bits=bits)).tolist() == to_rgb(made).tolist()


def test_values_outside_the_limited_range_are_clipped() -> None:
    luma = np.array([[0, 255]], np.uint8)
    middle = np.full((1, 2), 128, np.uint8)
    made = Planes(luma, (middle, middle), "444", full_range=False)
    assert to_rgb(made).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020", "ycgco"])
def test_no_colour_is_grey_in_every_matrix(matrix: planes.Matrix) -> None:
    made = from_rgb(np.repeat(smooth(16, 16)[:, :, :1], 3, axis=2), "444", BOX)
    assert apart(to_rgb(replace(made, matrix=matrix)), to_rgb(grey_planes(made.luma))) == 0


def test_the_rgb_matrix_is_the_planes_themselves() -> None:
    pixels = noise(5, 4)
    green, blue, red = pixels[:, :, 1], pixels[:, :, 2], pixels[:, :, 0]
    assert np.array_equal(to_rgb(Planes(green, (blue, red), "444", "rgb")), pixels)


@pytest.mark.parametrize("siting", ["centre", "left"])
def test_422_halves_only_the_width(siting: planes.Siting) -> None:
    luma = np.full((300, 7), 100, np.uint8)
    chroma = np.repeat(np.linspace(60, 200, 300).astype(np.uint8)[:, None], 4, axis=1)
    back = to_rgb(Planes(luma, (chroma, chroma), "422", siting=siting))
    whole = np.repeat(chroma[:, :1], 7, axis=1)
    assert np.array_equal(back, to_rgb(Planes(luma, (whole, whole), "444")))


def test_left_chroma_lies_on_every_second_luma_sample() -> None:
    luma = np.full((2, 8), 128, np.uint8)
    chroma = np.array([[60, 90, 200, 128]], np.uint8)
    middle = np.full((1, 4), 128, np.uint8)
    back = to_rgb(Planes(luma, (middle, chroma), "420", siting="left"))
    plain = np.repeat(np.repeat(chroma, 2, axis=1), 2, axis=0)
    same = to_rgb(Planes(luma, (np.full((2, 8), 128, np.uint8), plain), "444"))
    assert np.array_equal(back[:, ::2], same[:, ::2])
