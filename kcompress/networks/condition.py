"""What a conditioned network is told of the codec: quantiser steps, thresholds to start from, coarseness."""

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import thresholds
from kcompress.networks import shrink
from kcompress.setting import Setting

LENGTH = 2 * 64 + 2 * 64 + 1
"""Before JPEG: steps of luma and chroma, thresholds of luma and chroma (row order, grey levels), coarseness 0..1."""

SOFT_LENGTH = 2 * 16 + 1
"""Before other codecs: thresholds of luma and chroma in the 4x4 block DCT, coarseness."""

AMPLITUDE = 1.1
"""Of JPEG's thresholds to start from, as in ``networks.shrink``: where all metrics gain the most."""

_CHROMA = 0.3
"""Thresholds of chroma to those of luma: a block of subsampled chroma spans 16 pixels, its frequencies are lower."""

_NEVER = -1e4
"""A threshold below every coefficient: no level falls."""


def condition(setting: Setting) -> NDArray[np.float32]:
    """(1, LENGTH) of a setting that has quantisation tables, (1, SOFT_LENGTH) of another.

    The networks work on chroma of half the resolution; where the codec keeps all of it, chroma is left alone.
    """
    subsampled = setting.chroma == "420"
    if setting.tables is None:
        luma = shrink.limits(setting, 4).ravel()
        parts = [luma, luma if subsampled else np.zeros_like(luma)]
    else:
        luma = thresholds(10 * AMPLITUDE * setting.coarseness).ravel()
        parts = [*map(np.array, setting.tables), luma, _CHROMA * luma if subsampled else np.full_like(luma, _NEVER)]
    return np.concatenate([*parts, [setting.coarseness]]).astype(np.float32)[None]
