"""Large pictures in tiles, each with a halo wide enough that the seams cannot be found."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Pixels
from kcompress.inference.engine import Batch

WHOLE_PIXELS = 1 << 21
"""Pictures up to this many pixels (a little over 1920x1080) go through a network in one piece."""

TILE_SIDE = 768
"""Of larger pictures' tiles: with the halo, a quarter more work than in one piece, and 0.4 GB of memory."""

Slices = tuple[slice, slice]
Run = Callable[[Batch], Batch]
"""A network with everything it needs beside the picture."""


@dataclass(frozen=True)
class Tile:
    """One tile.

    Attributes:
        outer: rows and columns of the picture that the network sees.
        inner: rows and columns that are kept, a part of ``outer``.
        within: the same as ``inner``, counted from the corner of ``outer``.
    """

    outer: Slices
    inner: Slices
    within: Slices


def tiles(height: int, width: int, *, side: int, halo: int, multiple: int) -> Iterator[Tile]:
    """Cut a picture into tiles that together keep every pixel once.

    Args:
        height: of the picture, pixels.
        width: of the picture, pixels.
        side: of a tile without its halo, at most; a multiple of ``multiple``.
        halo: pixels seen beyond each side, a multiple of ``multiple`` and at least the receptive field's reach.
        multiple: tiles begin at multiples of it, where the network's strided layers begin in the whole picture.
    """
    for top, bottom in _spans(height, side, multiple):
        for left, right in _spans(width, side, multiple):
            rows, columns = (
                slice(max(0, first - halo), min(end, last + halo))
                for first, last, end in ((top, bottom, height), (left, right, width))
            )
            yield Tile(
                (rows, columns),
                (slice(top, bottom), slice(left, right)),
                (
                    slice(top - rows.start, bottom - rows.start),
                    slice(left - columns.start, right - columns.start),
                ),
            )


def _spans(length: int, side: int, multiple: int) -> Iterator[tuple[int, int]]:
    """Pieces of at most ``side``, as equal as cuts at multiples of ``multiple`` can make them."""
    count, units = -(-length // side), -(-length // multiple)
    cuts = [units * number // count * multiple for number in range(count)] + [length]
    yield from itertools.pairwise(cuts)


def tiled(
    engine: Run, *pictures: Pixels, halo: int, multiple: int,
    whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE,
) -> Iterator[tuple[Tile, NDArray[np.float32]]]:  # fmt: skip
    """Run a network, RGB 0..1 in and out, over a picture (H, W, 3) uint8, or over several at once, (H, W, 3) each.

    Yields:
        Each tile and what the network makes of its inner part, (h, w, 3), 0..255, not rounded, not clamped.
    """
    height, width = pictures[0].shape[:2]
    whole = width * height <= whole_pixels
    side = -(-max(width, height) // multiple) * multiple if whole else tile_side
    for tile in tiles(height, width, side=side, halo=halo, multiple=multiple):
        seen = np.concatenate([picture[tile.outer] for picture in pictures], axis=2)
        yield tile, _run(engine, seen, multiple)[tile.within]


def _run(engine: Run, pixels: Pixels, multiple: int) -> NDArray[np.float32]:
    """(H, W, C) 0..255 through the network, unrounded; the picture's last row and column fill it up."""
    height, width = pixels.shape[:2]
    filled = np.pad(pixels, [(0, -height % multiple), (0, -width % multiple), (0, 0)], mode="edge")
    output: NDArray[np.float32] = engine(batch(filled))[0].transpose(1, 2, 0)[:height, :width]
    return output * np.float32(255)


def batch(pixels: Pixels) -> NDArray[np.float32]:
    """(H, W, C) 0..255 -> (1, C, H, W) 0..1, as networks want it."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
