"""The network that decides thresholds: it starts as the rule, and its own word counts."""

import numpy as np
import pytest
import torch
from torch import nn

from kcompress.blockdct import strips_shrunk
from kcompress.codecs import CODECS
from kcompress.images import Image
from kcompress.inference.engine import TorchEngine
from kcompress.networks import shrink
from kcompress.networks.condition import condition
from kcompress.networks.macroblocks import SIDE
from kcompress.networks.preprocessor import NetworkPreprocessor
from kcompress.networks.soft_rdo import SoftRdo
from kcompress.training.data import tensor

pytestmark = pytest.mark.usefixtures("one_thread")
WEBP = CODECS["webp"]


@pytest.fixture
def network() -> SoftRdo:
    """It decides by its context, at random."""
    torch.manual_seed(0)
    module = SoftRdo(width=16, depth=2)
    for block in module.context.blocks:
        nn.init.normal_(block.narrow.weight, std=0.1)
    nn.init.normal_(module.context.leave.weight, std=0.2)
    return module.eval()


@pytest.fixture
def photo(lake: Image) -> Image:
    return Image(np.ascontiguousarray(lake.pixels[:160, :208]))


def told(quality: int) -> torch.Tensor:
    return torch.from_numpy(condition(WEBP.setting(quality)))


def changed(module: SoftRdo, photo: Image, quality: int) -> torch.Tensor:
    with torch.no_grad():
        result: torch.Tensor = module(tensor([photo.pixels]), told(quality))
    return result


def test_it_starts_as_the_rule_on_luma(photo: Image) -> None:
    grey = Image(np.repeat(photo.pixels[:, :, 1:2], 3, axis=2), grey=True)
    found = changed(SoftRdo(16, 1), grey, 60)[0].permute(1, 2, 0).numpy() * 255
    ((_, expected),) = strips_shrunk(grey.pixels, shrink.limits(WEBP.setting(60), 4), grey=True)
    assert np.abs(found - expected).max() < 0.01
    assert np.abs(found - grey.pixels).max() > 2


def test_the_quality_matters_and_the_finest_leaves_all_alone(network: SoftRdo, photo: Image) -> None:
    original = tensor([photo.pixels])
    changes = [float((changed(network, photo, quality) - original).abs().mean()) for quality in (40, 80, 100)]
    assert changes[0] > changes[1] > changes[2] and changes[2] < 1e-5


def test_the_context_decides_how_much_is_taken(network: SoftRdo, photo: Image) -> None:
    original, rule = tensor([photo.pixels]), changed(SoftRdo(16, 2), photo, 60)
    assert (changed(network, photo, 60) - rule).abs().max() > 2 / 255
    nn.init.constant_(network.context.leave.bias, -100)
    assert (changed(network, photo, 60) - original).abs().mean() < (rule - original).abs().mean() / 10
    nn.init.constant_(network.context.leave.bias, 100)
    assert (changed(network, photo, 60) - original).abs().mean() > (rule - original).abs().mean() * 2


def test_gradients_reach_every_weight(network: SoftRdo, photo: Image) -> None:
    network(tensor([photo.pixels]), told(60)).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_tiles_are_invisible(network: SoftRdo, photo: Image) -> None:
    def result(**size: int) -> np.ndarray:
        engine = TorchEngine(network, "cpu")
        chosen = NetworkPreprocessor(
            "rdo", engine, strength=1, halo=2 * SIDE, multiple=SIDE, condition=condition, **size
        )  # fmt: skip
        return chosen(photo, WEBP.setting(60)).pixels.astype(int)

    assert np.abs(result() - result(whole_pixels=1, tile_side=96)).max() <= 1
