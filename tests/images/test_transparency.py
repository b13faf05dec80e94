"""Transparent levels, colours and palette entries of PNG (tRNS), at every number of bits."""

import struct

import numpy as np
import pytest
from handmade import file_of, png

from kcompress.codecs import CODECS
from kcompress.errors import UnsupportedError
from kcompress.images import read

HEIGHT, WIDTH = 11, 23


def packed(levels: np.ndarray, bits: int) -> bytes:
    """Rows as a PNG holds them, unfiltered."""
    if bits == 16:
        return b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    ones = (levels[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(ones.reshape(len(levels), -1).astype(np.uint8), axis=1)
    return b"".join(b"\0" + row.tobytes() for row in rows)


def levels_of(bits: int) -> np.ndarray:
    return np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 7 % (1 << min(bits, 8)) * (257 if bits == 16 else 1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("which", [0, 1, -1])
def test_one_clear_level_of_grey(bits: int, which: int) -> None:
    levels = levels_of(bits)
    clear = int(np.unique(levels)[which])
    image = read(png(WIDTH, HEIGHT, bits, 0, packed(levels, bits), struct.pack(">H", clear)))
    assert image.grey
    assert image.alpha is not None
    assert np.array_equal(image.alpha, np.where(levels == clear, 0, 255))
    assert np.array_equal(image.pixels[:, :, 0], np.rint(levels * 255 / ((1 << bits) - 1)))
    with pytest.raises(UnsupportedError, match="transparent"):
        CODECS["jpeg"].conformed(image)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_only_the_bits_that_samples_have_count(bits: int) -> None:
    """As the specification says of the other bits of a tRNS value."""
    levels = levels_of(bits)
    image = read(png(WIDTH, HEIGHT, bits, 0, packed(levels, bits), struct.pack(">H", 1 | 1 << bits)))
    assert image.alpha is not None
    assert np.array_equal(image.alpha == 0, levels == 1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("clear", [b"\0", b"\x80\x40", b"\xff\0"])
def test_alpha_of_a_palette(bits: int, clear: bytes) -> None:
    levels = levels_of(bits)
    palette = bytes(value * 3 % 256 for value in range(3 << bits))
    data = png(WIDTH, HEIGHT, bits, 3, packed(levels, bits), clear, {b"PLTE": palette})
    image = read(data)
    alpha = np.full(256, 255, np.uint8)
    alpha[: len(clear)] = list(clear)
    assert image.alpha is not None
    assert np.array_equal(image.alpha, alpha[levels])
    assert np.array_equal(image.pixels, np.frombuffer(palette, np.uint8).reshape(-1, 3)[levels])


@pytest.mark.parametrize("high", [0, 0x100, 0xFF00])
def test_one_clear_colour(high: int) -> None:
    pixels = np.arange(HEIGHT * WIDTH * 3, dtype=np.uint8).reshape(HEIGHT, WIDTH, 3)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    clear = pixels[3, 4]
    data = png(WIDTH, HEIGHT, 8, 2, rows, struct.pack(">3H", *(high | int(value) for value in clear)))
    image = read(data)
    assert image.alpha is not None
    assert np.array_equal(image.alpha == 0, (pixels == clear).all(axis=2))


def test_a_clear_entry_of_a_gif() -> None:
    levels = levels_of(4).astype(np.uint8)
    image = read(file_of(levels, "GIF", transparency=3))
    assert image.alpha is not None
    assert np.array_equal(image.alpha == 0, levels == 3)
