"""Energies of blocks by band, and polynomials of the frequencies."""

import pytest
import torch

from kcompress.networks.energies import BANDS, TERMS, Energies, ThresholdMap
from kcompress.networks.mcu import join_planes, split_planes


def placed(block: int, row: int, column: int, value: float) -> torch.Tensor:
    """One coefficient of one of six blocks, in 2x3 MCUs."""
    packed = torch.zeros(1, 384, 2, 3)
    index = 8 * row + column
    packed[0, 4 * index + block if block < 4 else 64 * block + index, 1, 2] = value
    return packed


def test_every_ac_coefficient_has_one_band() -> None:
    bands = Energies().bands
    assert bands.shape == (BANDS, 64)
    assert bands[:, 0].sum() == 0 and (bands[:, 1:].sum(0) == 1).all()


@pytest.mark.parametrize("block", range(6))
def test_an_energy_is_of_its_block_and_has_no_sign(block: int) -> None:
    energies = Energies()
    seen = set()
    for row, column in ((0, 1), (1, 0), (0, 3), (2, 2), (7, 1), (6, 6)):
        found = energies(placed(block, row, column, -40.0))
        assert torch.equal(found, energies(placed(block, row, column, 40.0)))
        (place,) = found.nonzero().tolist()
        assert place[2:] == [1, 2]
        assert float(found[tuple(place)]) == pytest.approx(torch.log1p(torch.tensor(1600 / 16)).item() / 3)
        seen.add(place[1])
        luma, chroma = split_planes(found)
        of_block = luma[:, :, block] if block < 4 else chroma[:, block - 4]
        assert (of_block > 0).sum() == 1
    assert len(seen) == 6


def test_energies_of_a_band_add_up() -> None:
    energies = Energies()
    found = energies(placed(1, 0, 2, 12.0) + placed(1, 0, 3, 5.0))
    assert torch.allclose(found.max(), torch.log1p(torch.tensor((144 + 25) / 16)) / 3)


def test_a_surface_is_a_polynomial_of_the_frequencies() -> None:
    torch.manual_seed(0)
    weights = torch.randn(2, 6 * TERMS, 3, 2)
    luma, chroma = split_planes(ThresholdMap()(weights))
    of_luma, of_chroma = split_planes(weights)
    for row, column in ((0, 0), (3, 5), (7, 7)):
        y, x = row / 7, column / 7
        terms = torch.tensor([1, y, x, y * y, x * x, x * y])
        expected = torch.einsum("k,nkbhw->nbhw", terms, of_luma), torch.einsum("k,nckhw->nchw", terms, of_chroma)
        assert torch.allclose(luma[:, 8 * row + column], expected[0], atol=1e-5)
        assert torch.allclose(chroma[:, :, 8 * row + column], expected[1], atol=1e-5)


def test_apart_and_together_again() -> None:
    values = torch.arange(384.0).reshape(1, 384, 1, 1)
    assert torch.equal(join_planes(*split_planes(values)), values)
