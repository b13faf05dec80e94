"""Initial transforms of a learned codec: the Karhunen-Loeve transform (KLT) of a model of photographs.

From random weights it takes days to learn that neighbouring pixels are alike. The model of that is a first-order Markov
field, as behind the DCT (Jain, "Fundamentals of Digital Image Processing", section 5.6). Stage by stage it becomes
weights that take 2x2 vectors to a shorter one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_CORRELATION = 0.95
"""Correlation of neighbouring pixels; at distance d it is this to the power d."""

_DEVIATION = 0.25
"""Standard deviation of grey, range 0..1."""

_COLOURS = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
_ENERGIES = 3 * _DEVIATION**2 * np.array([1, 0.08, 0.03])
"""Energies of brightness and of two colour differences."""


@dataclass(frozen=True)
class Stage:
    """One stage of the transform.

    Attributes:
        basis: (K, C, 2, 2), orthonormal: K numbers for 2x2 vectors of C.
        deviations: (K,), standard deviations that the model expects, largest first.
    """

    basis: Tensor
    deviations: Tensor


def stages(widths: Sequence[int]) -> list[Stage]:
    """KLT of RGB pictures, 0..1, in stages of at most these widths."""
    side = 2 ** len(widths)
    place = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), axis=-1).reshape(-1, 2)
    distance = np.linalg.norm(place[:, None] - place[None], axis=-1).reshape(side, side, side, side)
    colours = _COLOURS.T @ np.diag(_ENERGIES) @ _COLOURS
    covariance = np.einsum("ab,yxvu->ayxbvu", colours, _CORRELATION**distance)
    found = []
    for width in widths:
        channels, side = covariance.shape[0], covariance.shape[1] // 2
        split = covariance.reshape(channels, side, 2, side, 2, channels, side, 2, side, 2)
        vectors = split.transpose(0, 2, 4, 1, 3, 5, 7, 9, 6, 8).reshape(4 * channels, side**2, 4 * channels, side**2)
        energies, basis = np.linalg.eigh(np.einsum("apbp->ab", vectors) / side**2)
        kept = slice(None, -width - 1, -1)
        energies, basis = energies[kept], basis[:, kept]
        basis = basis * np.where(basis.sum(0) < 0, -1, 1)
        weights = torch.from_numpy(basis.T.reshape(-1, channels, 2, 2).copy()).float()
        found.append(Stage(weights, torch.from_numpy(energies.copy()).clamp(min=1e-6).sqrt().float()))
        covariance = np.einsum("apbq,ai,bj->ipjq", vectors, basis, basis, optimize=True)
        covariance = covariance.reshape(basis.shape[1], side, side, basis.shape[1], side, side)
    return found
