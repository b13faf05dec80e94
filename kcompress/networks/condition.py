"""What a conditioned network is told of the codec: quantiser steps, thresholds to start from, coarseness."""

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import thresholds
from kcompress.errors import UsageError
from kcompress.setting import Setting

LENGTH = 2 * 64 + 2 * 64 + 1
"""Steps of luma and chroma, thresholds of luma and chroma (row order, grey levels), coarseness 0..1."""

HEIGHT = 11.0
"""Of the thresholds to start from at coarseness 1, grey levels: more than ``networks.shrink`` takes, as only
what falls is touched."""

_CHROMA = 0.3
"""Thresholds of chroma to those of luma: a block of subsampled chroma spans 16 pixels, its frequencies are lower."""

_NEVER = -1e4
"""A threshold below every coefficient: nothing is changed."""


def condition(setting: Setting, trained: tuple[int, int] = (0, 100)) -> NDArray[np.float32]:
    """(1, LENGTH) of a setting that has quantisation tables.

    The network works on chroma of half the resolution; where the codec keeps all of it, chroma is left alone.

    Args:
        setting: of the encode.
        trained: lowest and highest quality that the network knows; beyond them it is told of the nearest coarseness.
            Steps and thresholds are those of the setting at any quality.

    Raises:
        UsageError: the setting has none; only JPEG's do.
    """
    if setting.tables is None:
        raise UsageError(f"--network rdo knows the tables of JPEG alone. Take --codec jpeg, not {setting.codec}.")
    luma = thresholds(HEIGHT * setting.coarseness).ravel()
    chroma = _CHROMA * luma if setting.chroma == "420" else np.full_like(luma, _NEVER)
    coarseness = 1 - min(max(setting.quality, trained[0]), trained[1]) / 100
    return np.concatenate([*map(np.array, setting.tables), luma, chroma, [coarseness]]).astype(np.float32)[None]
