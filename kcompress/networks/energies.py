"""What goes on in blocks by direction and scale, and few numbers that stand for many coefficients, as torch modules."""

import torch
from torch import Tensor, nn

from kcompress.networks.mcu import joined, mixed, parted

BANDS = 11
"""Of a block: horizontal and vertical of the lowest frequency; of three more octaves horizontal, vertical, slanting."""

TERMS = 6
"""Of a polynomial of second degree in the two frequencies."""

_OCTAVES = (2, 4, 7)
"""Sums of the two frequencies where the second, third and last octave begin."""

_SILENT = 16.0
"""Of a band's energy, squared grey levels: what is below hardly matters."""


class Energies(nn.Module):
    """Coefficients (N, 384, h, w) in grey levels -> (N, 66, h, w): a logarithm of the energy in every band of a block.

    The transform's signs say nothing of how much goes on, which is what hides errors.
    """

    bands: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", _bands(), persistent=False)

    def forward(self, coefficients: Tensor) -> Tensor:
        found = _by_blocks(self.bands, coefficients * coefficients)
        return torch.log1p(found / _SILENT) / 3


class Surface(nn.Module):
    """Polynomials (N, 36, h, w) of the frequencies, one a block -> their values (N, 384, h, w) at every coefficient."""

    terms: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("terms", _terms(), persistent=False)

    def forward(self, weights: Tensor) -> Tensor:
        return _by_blocks(self.terms, weights)


def _by_blocks(matrix: Tensor, values: Tensor) -> Tensor:
    """Of every block (C numbers) the product with a matrix (D, C): (N, 6 C, h, w) -> (N, 6 D, h, w)."""
    luma, chroma = parted(values)
    of_luma = mixed(matrix, luma.flatten(2, 3)).reshape(len(values), -1, *luma.shape[2:])
    of_chroma = mixed(matrix, chroma.flatten(0, 1)).reshape(len(values), 2, -1, *chroma.shape[3:])
    return joined(of_luma, of_chroma)


def _bands() -> Tensor:
    """(BANDS, 64): 1 where a coefficient belongs to a band, in row order."""
    rows, columns = _frequencies()
    flat, steep = columns > 2 * rows, rows > 2 * columns
    of_direction = [flat, steep, ~(flat | steep)]
    octave = torch.bucketize(rows + columns, torch.tensor([1, *_OCTAVES]), right=True)
    found = [(octave == number) & direction for number in (1, 2, 3, 4) for direction in of_direction]
    return torch.stack([band for band in found if band.any()]).float()


def _terms() -> Tensor:
    """(64, TERMS), of the frequencies 0..1."""
    rows, columns = (each / 7 for each in _frequencies())
    return torch.stack([torch.ones(64), rows, columns, rows**2, columns**2, rows * columns], dim=1)


def _frequencies() -> tuple[Tensor, Tensor]:
    """Vertical and horizontal one of each coefficient, 0..7."""
    return torch.arange(64) // 8, torch.arange(64) % 8
