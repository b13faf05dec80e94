"""Guided filter with the picture as its own guide (He, Sun and Tang, *Guided Image Filtering*, PAMI 2013)."""

import cv2
import numpy as np
from numpy.typing import NDArray

from kcompress.pool.strips import in_strips


def guided(pixels: NDArray[np.uint8], radius: int = 2, height: float = 5.0) -> NDArray[np.uint8]:
    """Smooth, but for edges: (H, W, 3) RGB 0..255 -> the same, mirrored at the edges.

    Args:
        pixels: input and guide, in colour (section 3.5).
        radius: of the square windows, pixels.
        height: standard deviation in grey levels below which a window is smoothed; epsilon is its square.
    """

    def mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (2 * radius + 1, 2 * radius + 1)))

    def work(picture: NDArray[np.float32]) -> NDArray[np.float32]:
        # Equations 19 to 21 with p = I: a = S (S + eps)^-1 = 1 - k for the covariance S of a window, and b = k m for
        # its mean m, where k = eps (S + eps)^-1. So the output is I - mean(k) I + mean(k m).
        picture = picture - 128  # products of smaller numbers are more exact
        mu = mean(picture)
        k = np.empty((*picture.shape, 3), np.float32)
        for row, column in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)):
            covariance = mean(picture[..., row] * picture[..., column]) - mu[..., row] * mu[..., column]
            k[..., row, column] = k[..., column, row] = covariance
        eps = np.float32(height**2)
        k = eps * np.linalg.inv(k + eps * np.eye(3, dtype=np.float32))
        change = mean(np.einsum("...ij,...j->...i", k, mu))
        for row in range(3):
            for column in range(3):
                change[..., row] -= mean(np.asarray(k[..., row, column])) * picture[..., column]
        return picture + change + 128

    return in_strips(pixels, 2 * radius, work)
