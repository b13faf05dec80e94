"""Mosaic: pieces from all over a picture at full resolution, from which a network learns what the whole is like.

A copy of the whole that is made smaller has lost what matters most: noise, blocks and blur.
"""

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Pixels
from kcompress.inference.tiling import batch

PIECE = 64
"""Side of a piece, pixels."""

PIECES = 4
"""Pieces across and down."""

SIDE = PIECE * PIECES
"""Side of a mosaic, pixels."""


def mosaic(pixels: Pixels) -> NDArray[np.float32]:
    """Pieces of a picture (H, W, 3) 0..255 on an even grid, side by side: (1, 3, 256, 256), 0..1.

    They overlap in pictures of less than 256 pixels a side; those of less than 64 are filled up by their edges. Corners
    lie at multiples of 8, as blocks of most codecs do.
    """
    height, width = pixels.shape[:2]
    filled = np.pad(pixels, [(0, max(0, PIECE - height)), (0, max(0, PIECE - width)), (0, 0)], mode="edge")
    tops, lefts = (np.linspace(0, length - PIECE, PIECES).astype(int) // 8 * 8 for length in filled.shape[:2])
    rows = [np.hstack([filled[top : top + PIECE, left : left + PIECE] for left in lefts]) for top in tops]
    return batch(np.vstack(rows))
