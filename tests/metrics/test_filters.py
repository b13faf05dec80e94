"""Symmetric filters: against convolutions, and their gradients."""

import pytest
import torch
from torch.nn import functional as F

from kcompress.metrics.filters import filtered, gaussian, mirrored, windowed


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("reach", [1, 4])
def test_filters_are_convolutions_and_know_their_gradients(axis: int, reach: int) -> None:
    taps = gaussian(reach / 2, reach)
    assert 2 * sum(taps) - taps[-1] == pytest.approx(1)
    planes = torch.rand(2, 3, 11, 13, dtype=torch.float64, requires_grad=True)
    kernel = torch.tensor([*taps, *taps[-2::-1]], dtype=torch.float64)
    kernel = kernel.view(1, 1, -1, 1) if axis == 2 else kernel.view(1, 1, 1, -1)
    expected = F.conv2d(planes.flatten(0, 1)[:, None], kernel).view(2, 3, *filtered(planes, axis, taps).shape[2:])
    torch.testing.assert_close(filtered(planes, axis, taps), expected)
    assert torch.autograd.gradcheck(
        lambda values: filtered(values, axis, taps), planes[:1, :1].detach().requires_grad_()
    )


def test_windows_and_mirrors() -> None:
    taps, planes = (0.25, 0.5), torch.rand(1, 2, 6, 7, dtype=torch.float64)
    inside = windowed(planes, taps)
    assert inside.shape == (1, 2, 4, 5)
    whole = mirrored(planes, taps)
    assert whole.shape == planes.shape
    torch.testing.assert_close(whole[..., 1:-1, 1:-1], inside)
    row = 0.5 * planes[..., 0, :] + 0.5 * planes[..., 1, :]
    torch.testing.assert_close(whole[..., 0, 2], 0.25 * (row[..., 1] + row[..., 3]) + 0.5 * row[..., 2])
