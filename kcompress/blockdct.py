"""Soft thresholding in the block DCT of pictures.

Every AC coefficient c of Y, Cb and Cr (BT.601, full range and resolution) becomes sign(c) * max(|c| - t, 0); the DC
coefficients stay. Soft thresholding in an orthonormal basis: Donoho and Johnstone, Biometrika 81 (1994).
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_STRIP = 64  # rows worked on at a time, whole blocks: float copies fit into a core's cache

_FROM_RGB = np.array([[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]], np.float32)
_FROM_RGB /= np.array([[1], [1.772], [1.402]], np.float32)
_TO_RGB = np.linalg.inv(_FROM_RGB.astype(np.float64)).astype(np.float32)


def basis(side: int) -> NDArray[np.float32]:
    """Orthonormal DCT-II matrix (side, side): rows are frequencies."""
    u, x = np.mgrid[:side, :side]
    cosines = np.sqrt(np.where(u == 0, 1, 2) / side) * np.cos((2 * x + 1) * u * np.pi / (2 * side))
    return np.asarray(cosines, dtype=np.float32)


DCT = basis(8)
assert np.allclose(DCT @ DCT.T, np.eye(8), atol=1e-6), "the transform must be orthonormal"


def thresholds(height: float, side: int = 8) -> NDArray[np.float32]:
    """Thresholds t(u, v) = height * min(1.5, (u + v) * 2 / side), (side, side), grey levels; 0 for DC."""
    frequency = np.add.outer(np.arange(side), np.arange(side)).astype(np.float32)
    return np.asarray(height * np.minimum(frequency * 2 / side, 1.5), dtype=np.float32)


def shrunk(plane: NDArray[np.float32], limits: NDArray[np.float32], masking: float = 0.0) -> NDArray[np.float32]:
    """Plane (H, W) after soft thresholding of its block DCT by ``limits`` (side, side).

    Args:
        plane: 0..255; H and W are multiples of side.
        limits: thresholds where the block's standard deviation is 6 levels, grey levels.
        masking: exponent by which thresholds fall with that deviation, 0 for not at all; a detail on flat ground is
            noise, in texture it is part of it. The factor is 0.4..2.
    """
    (height, width), side = plane.shape, len(limits)
    cosines = basis(side)
    blocks = plane.reshape(height // side, side, width // side, side).transpose(0, 2, 1, 3)
    coefficients = cosines @ blocks @ cosines.T
    if masking:
        energy = np.square(coefficients).sum((2, 3), keepdims=True) - np.square(coefficients[:, :, :1, :1])
        deviation = np.sqrt(energy.clip(0)) / side
        limits = limits * (((deviation + 0.5) / 6) ** -masking).clip(0.4, 2)
    kept = coefficients - np.clip(coefficients, -limits, limits)
    restored = (cosines.T @ kept @ cosines).transpose(0, 2, 1, 3).reshape(height, width)
    return np.asarray(restored, dtype=np.float32)


def strips_shrunk(
    pixels: NDArray[np.uint8], limits: NDArray[np.float32], *, grey: bool = False, masking: float = 0.0
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Soft thresholding of all planes of a picture, strip by strip.

    Args:
        pixels: (H, W, 3) RGB 0..255, any size.
        limits: thresholds, (8, 8) or (4, 4), for luma and chroma alike.
        masking: see `shrunk`.
        grey: the three channels are equal and shall stay so.

    Yields:
        Rows of the picture and their new values (h, W, 3), not rounded.
    """
    for top in range(0, pixels.shape[0], _STRIP):
        strip = pixels[top : top + _STRIP]
        height, width = strip.shape[:2]
        padded = np.pad(strip, [(0, -height % 8), (0, -width % 8), (0, 0)], mode="edge").astype(np.float32)
        # Differences are taken, so that what is not touched stays as it was.
        if grey:
            change = shrunk(padded[:, :, 0], limits, masking) - padded[:, :, 0]
            changed = padded + change[:, :, None]
        else:
            planes = padded @ _FROM_RGB.T
            change = np.stack([shrunk(planes[:, :, i], limits, masking) - planes[:, :, i] for i in range(3)], axis=2)
            changed = padded + change @ _TO_RGB.T
        yield slice(top, top + height), changed[:height, :width]
