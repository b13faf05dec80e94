"""The U-Net of the Kuchen paper, section 3.3."""

import pytest
import torch
from torch import nn

from kcompress.networks import NETWORKS
from kcompress.networks.kuchen import Kuchen


@pytest.fixture
def network() -> Kuchen:
    torch.manual_seed(0)
    module = Kuchen(4)
    nn.init.normal_(module.last.weight, std=0.05)
    return module.double().eval()


def test_starts_as_the_identity() -> None:
    image = torch.rand(1, 3, 24, 40)
    assert torch.equal(Kuchen(4)(image), image)


def test_global_residual(network: Kuchen) -> None:
    """Equation 7: what the last layer gives is subtracted from the input."""
    seen: list[torch.Tensor] = []
    network.last.register_forward_hook(lambda module, inputs, output: seen.append(output))
    image = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    assert torch.equal(network(image), image - seen[0])


def test_three_levels_of_stride_two_and_two_by_two_up_convolutions(network: Kuchen) -> None:
    strided = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)]
    upward = [layer for layer in network.modules() if isinstance(layer, nn.ConvTranspose2d)]
    assert [layer.kernel_size for layer in strided] == [(3, 3)] * 3
    assert [(layer.kernel_size, layer.stride) for layer in upward] == [((2, 2), (2, 2))] * 3
    for up in network.up:  # the halved features and the skip have the same number of channels
        assert up.halve[0].out_channels * 2 == up.halve[0].in_channels == up.merge[0].in_channels


def test_halo_covers_the_receptive_field(network: Kuchen) -> None:
    """Gradients of one output pixel reach no further than the halo that tiles are given."""
    for layer in network.modules():  # all paths open: ReLU off, weights positive
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.constant_(layer.weight, 0.01)
    # Eight phases: the reach depends on where a pixel lies in the coarsest grid.
    reach = 0
    for phase in range(8):
        image = torch.rand(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
        place = 64 + phase
        (gradient,) = torch.autograd.grad(network(image)[0, :, place, place].sum(), image)
        rows = gradient[0].abs().sum(dim=(0, 2)).nonzero().flatten()
        reach = max(reach, place - int(rows.min()), int(rows.max()) - place)
    assert reach <= NETWORKS["kuchen"].halo
    assert NETWORKS["kuchen"].halo - reach < NETWORKS["kuchen"].multiple


@pytest.mark.parametrize("width", [0, 3, -2])
def test_odd_widths_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match="even"):
        Kuchen(width)
