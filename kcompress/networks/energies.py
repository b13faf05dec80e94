"""Band energies of DCT blocks, and maps over all frequencies from few numbers, as torch modules."""

import torch
from torch import Tensor, nn

from kcompress.networks.mcu import join_planes, pointwise, split_planes

BANDS = 11
"""Bands of a block: the lowest octave horizontal and vertical, three more also diagonal."""

TERMS = 6
"""Terms of a polynomial of second degree in the two frequencies."""

_OCTAVES = (2, 4, 7)
"""Octaves are ranges of the sum of both frequencies: here the second, third and last begin."""

_NOISE_ENERGY = 16.0
"""Energy below which the log of a band flattens, squared grey levels: differences there hardly matter."""


class Energies(nn.Module):
    """Log energy of every band of every block: coefficients (N, 384, h, w), grey levels -> (N, 66, h, w).

    Energy, not sign, tells how well a block masks errors.
    """

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", _bands(), persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        energy = _per_block(self.bands, coefficients * coefficients)
        return torch.log1p(energy / _NOISE_ENERGY) / 3


class ThresholdMap(nn.Module):
    """Polynomials of the frequencies: weights (N, 36, h, w), 6 a block -> values (N, 384, h, w)."""

    terms: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("terms", _terms(), persistent=False)

    def forward(self, weights: Tensor) -> Tensor:
        return _per_block(self.terms, weights)


def _per_block(matrix: Tensor, values: Tensor) -> Tensor:
    """Product of a matrix (D, C) with every block of C numbers: (N, 6 C, h, w) -> (N, 6 D, h, w)."""
    luma, chroma = split_planes(values)
    of_luma = pointwise(matrix, luma.flatten(2, 3)).reshape(len(values), -1, *luma.shape[2:])
    of_chroma = pointwise(matrix, chroma.flatten(0, 1)).reshape(len(values), 2, -1, *chroma.shape[3:])
    return join_planes(of_luma, of_chroma)


def _bands() -> Tensor:
    """Membership (BANDS, 64): 1 where a coefficient, in row order, belongs to a band."""
    rows, columns = _frequencies()
    flat, steep = columns > 2 * rows, rows > 2 * columns
    of_direction = [flat, steep, ~(flat | steep)]
    octave = torch.bucketize(rows + columns, torch.tensor([1, *_OCTAVES]), right=True)
    found = [(octave == number) & direction for number in (1, 2, 3, 4) for direction in of_direction]
    del found[2]  # the lowest octave has no diagonal
    return torch.stack(found).float()


def _terms() -> Tensor:
    """Polynomial terms (64, TERMS) of the frequencies 0..1."""
    rows, columns = (each / 7 for each in _frequencies())
    return torch.stack([torch.ones(64), rows, columns, rows**2, columns**2, rows * columns], dim=1)


def _frequencies() -> tuple[Tensor, Tensor]:
    """Vertical and horizontal frequency of each coefficient, 0..7, (64,) each."""
    return torch.arange(64) // 8, torch.arange(64) % 8
