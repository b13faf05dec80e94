"""What is saved by a level that falls: the difference of the model's bits before and after."""

import pytest
import torch

from kcompress.networks.jpeg_rate import PROGRESSIVE, SEQUENTIAL, bits_saved
from kcompress.proxies.jpeg import bits_per_pixel, unpack_levels

PIXELS = 48 * 32
AC = [channel for channel in range(4, 384) if channel not in (256, 320)]


def levels() -> torch.Tensor:
    """Of 3x2 MCUs: many at low frequencies, few at high ones, and blocks with none or a single one."""
    torch.manual_seed(0)
    found = (torch.randn(1, 384, 3, 2) * torch.linspace(2.5, 0.4, 384)[None, :, None, None]).round()
    found[:, :, 1, 1] = 0
    found[:, 40, 1, 1] = 1
    return found


@pytest.mark.parametrize("model", [SEQUENTIAL, PROGRESSIVE])
def test_it_is_the_difference_of_bits(model) -> None:
    before = levels()
    found = bits_saved(before, model)

    def bits(packed: torch.Tensor) -> float:
        return PIXELS * float(
            bits_per_pixel(unpack_levels(packed.double(), (48, 32)), progressive=model is PROGRESSIVE)
        )

    places = [place for place in before.nonzero().tolist() if place[1] in AC]
    alone = [0, 40, 1, 1]
    for place in [alone, *places[:: len(places) // 40]]:
        after = before.clone()
        after[tuple(place)] -= after[tuple(place)].sign()
        assert float(found[tuple(place)]) == pytest.approx(bits(before) - bits(after), abs=1e-3)


def test_zeros_and_dc_levels_save_nothing() -> None:
    before = levels()
    found = bits_saved(before)
    assert not found[before == 0].any()
    assert not found[:, [0, 1, 2, 3, 256, 320]].any()
    assert not bits_saved(torch.zeros_like(before)).any()


def test_a_fall_that_lengthens_a_run_may_cost() -> None:
    assert bits_saved(levels()).min() < bits_saved(levels()).max() / 4
