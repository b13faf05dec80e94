"""Shrink: a soft threshold in the 8x8 block DCT, in proportion to the codec's coarseness. Nothing is learned.

Every AC coefficient c of Y, Cb and Cr becomes sign(c) * max(|c| - t, 0); the DC coefficients stay. What
the quantiser would round away anyway, or code at high cost for little, leaves the picture before it.
Soft thresholding in an orthonormal basis: Donoho and Johnstone, Biometrika 81 (1994).
"""

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Image
from kcompress.networks.preprocessor import blended
from kcompress.setting import Setting

AMPLITUDE = {"jpeg": 0.7, "webp": 0.4, "hevc": 0.25, "bpg": 0.25}
"""Strength per codec: in front of the formula of ``thresholds``."""

_STRIP = 256  # rows worked on at a time, whole blocks: float copies of a large picture are large

_FROM_RGB = np.array([[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]], np.float32)
_FROM_RGB /= np.array([[1], [1.772], [1.402]], np.float32)
_TO_RGB = np.linalg.inv(_FROM_RGB.astype(np.float64)).astype(np.float32)

_DCT = np.array(
    [[np.sqrt((1 if u == 0 else 2) / 8) * np.cos((2 * x + 1) * u * np.pi / 16) for x in range(8)] for u in range(8)],
    np.float32,
)
assert np.allclose(_DCT @ _DCT.T, np.eye(8), atol=1e-6), "the transform must be orthonormal"


def thresholds(amplitude: float, coarseness: float) -> NDArray[np.float32]:
    """t(u, v) = 10 a c min(1.5, (u + v) / 4) in grey levels, (8, 8), 0 for DC.

    Args:
        amplitude: a, of the codec.
        coarseness: c, 0 finest .. 1 coarsest quality of the codec.
    """
    frequency = np.add.outer(np.arange(8), np.arange(8)).astype(np.float32)
    limits = 10 * amplitude * coarseness * np.minimum(frequency / 4, 1.5)
    return np.asarray(limits, dtype=np.float32)


def shrunk(plane: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.float32]:
    """A plane (H, W), multiples of 8, with its block DCT coefficients pulled towards 0 by ``limits`` (8, 8)."""
    height, width = plane.shape
    blocks = plane.reshape(height // 8, 8, width // 8, 8).transpose(0, 2, 1, 3)
    coefficients = _DCT @ blocks @ _DCT.T
    kept = coefficients - np.clip(coefficients, -limits, limits)
    restored = (_DCT.T @ kept @ _DCT).transpose(0, 2, 1, 3).reshape(height, width)
    return np.asarray(restored, dtype=np.float32)


class Shrink:
    """The preprocessor; needs no weights and no device."""

    name = "shrink"
    conditioned = True

    def __init__(self, strength: float = 1.0) -> None:
        self._strength = strength

    def __call__(self, image: Image, setting: Setting) -> Image:
        limits = thresholds(AMPLITUDE[setting.codec], setting.coarseness)
        # Differences are taken, so that what is not touched stays as it was.
        result = np.empty_like(image.pixels)
        for top in range(0, image.height, _STRIP):
            seen = image.pixels[top : top + _STRIP]
            height, width = seen.shape[:2]
            padded = np.pad(seen, [(0, -height % 8), (0, -width % 8), (0, 0)], mode="edge").astype(np.float32)
            if image.grey:
                change = shrunk(padded[:, :, 0], limits) - padded[:, :, 0]
                changed = padded + change[:, :, None]
            else:
                planes = padded @ _FROM_RGB.T
                change = np.stack([shrunk(planes[:, :, i], limits) - planes[:, :, i] for i in range(3)], axis=2)
                changed = padded + change @ _TO_RGB.T
            result[top : top + _STRIP] = blended(seen, changed[:height, :width], self._strength)
        return image.with_pixels(result)
