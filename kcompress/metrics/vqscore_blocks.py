"""Where the 8x8 blocks of a decoded JPEG begin: VQscore's windows begin there too, as a cropped JPEG's may anywhere."""

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Pixels

BLOCK = 8

_SURE = 2.0
"""Lead of the edges of blocks over any other eighth of the columns, and rows, in standard errors."""


def origin(pixels: Pixels) -> tuple[int, int]:
    """Row and column, 0..7, where the first whole block of a picture (H, W, 3) begins; (0, 0) where none are seen."""
    grey = pixels.astype(np.float32).mean(axis=2)
    (top, sure), (left, too) = _start(grey.T), _start(grey)
    return (top, left) if min(sure, too) > _SURE else (0, 0)


def _start(grey: NDArray[np.float32]) -> tuple[int, float]:
    """The first column of blocks, and its lead in standard errors.

    At the edge of a block a step is larger than the steps beside it; where all are small it is seen best.
    """
    steps = np.abs(np.diff(grey, axis=1))
    beside, step = steps[:, :-2] + steps[:, 2:], steps[:, 1:-1]
    columns = ((step - beside / 2) / (1 + beside + step)).mean(axis=0)
    columns = columns[: len(columns) // BLOCK * BLOCK].reshape(-1, BLOCK)
    if len(columns) <= BLOCK:  # too few to tell, and no pixels to leave out
        return 0, 0.0
    eighths = columns.mean(axis=0)
    second, first = np.sort(eighths)[-2:]
    error = (columns - eighths).std() / len(columns) ** 0.5
    return (int(eighths.argmax()) + 2) % BLOCK, float((first - second) / (error + 1e-6))
