"""Large pictures in tiles, each with a halo wide enough that the seams cannot be found."""

from collections.abc import Iterator
from dataclasses import dataclass

Slices = tuple[slice, slice]


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
    """Equal pieces of at most ``side``, cut at multiples of ``multiple``."""
    count = -(-length // side)
    step = -(-length // (count * multiple)) * multiple
    for first in range(0, length, step):
        yield first, min(length, first + step)
