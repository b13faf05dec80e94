"""Filters in floating point, a strip of rows at a time: floats of a large picture are large."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Pixels

_ROWS = 256


def in_strips(pixels: Pixels, halo: int, work: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Pixels:
    """Filter (H, W, 3) 0..255 by ``work``, which sees ``halo`` rows around each strip; round and clip."""
    result = np.empty_like(pixels)
    for top in range(0, len(pixels), _ROWS):
        first = max(top - halo, 0)
        changed = work(pixels[first : top + _ROWS + halo].astype(np.float32))
        result[top : top + _ROWS] = np.clip(np.rint(changed[top - first :][:_ROWS]), 0, 255)
    return result
