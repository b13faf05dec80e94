"""Artefact removal: a network of our own in place of ByteDance's "AR" (Kuchen paper, section 4.2)."""

from typing import TYPE_CHECKING

import numpy as np

from kcompress.images import Pixels
from kcompress.inference.models import shipped_engine
from kcompress.inference.tiling import tiled

if TYPE_CHECKING:
    from torch import nn

HALO = 72
"""Halo of a tile, pixels; the receptive field reaches 67 (a test measures it)."""


def remove_artifacts(pixels: Pixels, device: str = "cpu") -> Pixels:
    """Remove compression artefacts on ``cpu`` or ``cuda:N``: (H, W, 3) RGB 0..255 -> the same.

    Raises:
        WeightsError: the weights ``ar`` are missing.
    """
    result = np.empty_like(pixels)
    for tile, restored in tiled(shipped_engine("ar", device, _module), pixels, halo=HALO, multiple=8):
        result[tile.inner] = np.clip(np.rint(restored), 0, 255)
    return result


def _module() -> "type[nn.Module]":
    from kcompress.pool.artifacts_network import ArtifactRemoval  # imports torch

    return ArtifactRemoval
