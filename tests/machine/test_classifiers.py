"""Small classifiers: shapes, architectures, and how they are taught."""

import numpy as np
import pytest
import torch

from kcompress.machine.classifiers import ARCHITECTURES, Classifier
from kcompress.training.classifier import ClassifierRecipe, Errors, Lesson, batches


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


def test_smoothing_is_the_floor_of_the_error() -> None:
    """Cross entropy with (1 - s) of the truth on the label and s spread over all classes."""
    logits = torch.tensor([[3.0, 0.0, -1.0]])

    class Fixed(torch.nn.Module):
        def forward(self, pictures):
            return logits

    lesson = Lesson(torch.zeros(1, 3, 8, 8), torch.tensor([0]))
    told = -logits.log_softmax(1)[0]
    assert torch.allclose(Errors(Fixed(), 0.0)(lesson), told[:1])
    assert torch.allclose(Errors(Fixed(), 0.3)(lesson), 0.7 * told[:1] + 0.3 * told.mean())


def test_every_picture_comes_once_before_any_comes_again() -> None:
    pictures = [np.full((40, 40, 3), 10 * number, np.uint8) for number in range(10)]
    recipe = ClassifierRecipe(side=32, batch=5)
    made = batches(pictures, np.arange(10), recipe, 0)
    first, second, third, fourth = (next(made).classes.tolist() for _ in range(4))
    assert sorted(first + second) == list(range(10)) == sorted(third + fourth)
    assert first + second != third + fourth
    again = batches(pictures, np.arange(10), recipe, 2)
    assert next(again).classes.tolist() == third


def test_crops_vary_and_keep_their_size() -> None:
    gradient = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    made = batches([gradient], np.zeros(1, np.int64), ClassifierRecipe(side=32, batch=6), 0)
    pictures = next(made).pictures
    assert pictures.shape == (6, 3, 32, 32) and len({float(picture.mean()) for picture in pictures}) == 6
