"""Small classifiers: shapes and architectures."""

import pytest
import torch

from kcompress.machine.classifiers import ARCHITECTURES, Classifier


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_of_any_size(architecture: str) -> None:
    torch.manual_seed(0)
    network = Classifier(architecture, 4, 7).eval()
    for height, width in ((32, 32), (64, 96)):
        assert network(torch.rand(2, 3, height, width)).shape == (2, 7)


def test_architectures_differ() -> None:
    layers = [
        sum(isinstance(layer, torch.nn.Conv2d) and layer.groups > 1 for layer in Classifier(name, 4, 2).modules())
        for name in ARCHITECTURES
    ]
    assert layers[0] == 0 and layers[1] > 3  # depthwise ones
    with pytest.raises(ValueError, match="wide is not known"):
        Classifier("wide", 4, 2)
