"""Tiling of large pictures, with halos so wide that seams cannot be found."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import WeightsError
from kcompress.images import Pixels
from kcompress.inference.engine import FloatArray

WHOLE_PIXELS = 1 << 21
"""Largest picture that goes through a network in one piece, pixels: a little over 1920x1080."""

TILE_SIDE = 768
"""Side of a tile without its halo, pixels: a quarter more work than in one piece, and 0.4 GB of memory."""

BAND_PIXELS = 1 << 21
"""Largest band without its halo, pixels: a little over 1920x1080."""

BAND_WIDTH = 2560
"""Largest width of a band, pixels: the intermediate values of a row of MCUs have to fit into a core's cache."""

BRIGHTEST = 255.0
"""Largest magnitude of a network's output, in units of white; more is a broken network."""

Slices = tuple[slice, slice]
Run = Callable[[FloatArray], FloatArray]
"""Network with its inputs beside the picture bound."""


@dataclass(frozen=True)
class Tile:
    """One tile in rows and columns of the picture: those that the network sees, and those of them that are kept.

    ``within`` is the inner part relative to the corner of the outer one.
    """

    outer: Slices
    inner: Slices
    within: Slices


def tiles(height: int, width: int, *, side: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cut a picture into tiles of at most ``side`` pixels without their halos, which together keep every pixel once.

    Tiles begin at multiples of ``multiple``, where the network's strided layers begin in the whole picture. The side
    and the halo, which is at least the receptive field's reach, are multiples of it too.
    """
    return _cut(height, width, -(-height // side), -(-width // side), halo, multiple)


def bands(height: int, width: int, *, count: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cut a picture into ``count`` horizontal bands, or more where it is large; otherwise as `tiles`."""
    across = -(-width // BAND_WIDTH)
    down = max(count, -(-height * width // (across * BAND_PIXELS)))
    return _cut(height, width, max(1, min(down, height // multiple)), across, halo, multiple)


def _cut(height: int, width: int, down: int, across: int, halo: int, multiple: int) -> Iterator[Tile]:
    for top, bottom in _spans(height, down, multiple):
        for left, right in _spans(width, across, multiple):
            rows, columns = (
                slice(max(0, first - halo), min(end, last + halo))
                for first, last, end in ((top, bottom, height), (left, right, width))
            )
            yield Tile(
                (rows, columns),
                (slice(top, bottom), slice(left, right)),
                (slice(top - rows.start, bottom - rows.start), slice(left - columns.start, right - columns.start)),
            )


def _spans(length: int, count: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Cut a length into ``count`` pieces, as equal as cuts at multiples of ``multiple`` can make them."""
    units = -(-length // multiple)
    cuts = [units * number // count * multiple for number in range(count)] + [length]
    yield from itertools.pairwise(cuts)


def tiled(
    engine: Run, *pictures: Pixels, halo: int, multiple: int,
    whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE,
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:  # fmt: skip
    """Run a network, RGB 0..1 in and out, over pictures (H, W, 3) uint8 that are concatenated by channel.

    Yields:
        Each tile and the network's output for its inner part, (h, w, 3), 0..255, not rounded, not clamped.
    """
    height, width = pictures[0].shape[:2]
    whole = width * height <= whole_pixels
    side = -(-max(width, height) // multiple) * multiple if whole else tile_side
    for tile in tiles(height, width, side=side, halo=halo, multiple=multiple):
        yield tile, _run(engine, pictures, tile, multiple)


def banded(
    engine: Run, *pictures: Pixels, halo: int, multiple: int, threads: int
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:
    """Run as `tiled`, in ``threads`` bands at a time, for an engine of one thread that needs little memory."""
    cut = list(bands(*pictures[0].shape[:2], count=threads, halo=halo, multiple=multiple))
    pool = ThreadPoolExecutor(threads)
    try:
        yield from zip(cut, pool.map(lambda tile: _run(engine, pictures, tile, multiple), cut), strict=True)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # after an error nobody wants the rest


def _run(engine: Run, pictures: Sequence[Pixels], tile: Tile, multiple: int) -> NDArray[np.float32]:
    """Run one tile, unrounded; its last row and column are repeated up to the multiple."""
    pixels = np.concatenate([picture[tile.outer] for picture in pictures], axis=2)
    height, width = pixels.shape[:2]
    filled = np.pad(pixels, [(0, -height % multiple), (0, -width % multiple), (0, 0)], mode="edge")
    output = engine(batch(filled))
    if output.shape != (1, 3, *filled.shape[:2]) or not np.abs(output).max() <= BRIGHTEST:  # so that NaN is caught
        raise WeightsError("the network's output is no picture (another size, NaN, infinity). Give other --weights.")
    part: NDArray[np.float32] = output[0].transpose(1, 2, 0)[:height, :width][tile.within]
    return part * np.float32(255)


def batch(*pictures: Pixels) -> NDArray[np.float32]:
    """Batch of N pictures of one size for a network: (H, W, C) 0..255 each -> (N, C, H, W) 0..1."""
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
