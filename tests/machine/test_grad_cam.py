"""The figure of what a preprocessor takes and where a classifier looks: maps that mean something, and a picture."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks import grad_cam as figure
from PIL import Image as PillowImage
from torch import nn

from kcompress.codecs import CODECS
from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.machine.classification import Classification
from kcompress.machine.input_transform import InputTransform
from kcompress.machine.model import LoadedModel, Model
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task
from kcompress.networks.loading import load

pytestmark = pytest.mark.usefixtures("one_thread")


def judge_of(network: nn.Module) -> Classification:
    return Classification(Model("made", LoadedModel("made", network, lambda: ""), InputTransform()), 3)


@pytest.fixture(scope="module")
def judge() -> Classification:
    found = task("classification", open_model("classifier-residual"))
    assert isinstance(found, Classification)
    return found


class Reds(nn.Module):
    """Class 0 counts what is red, class 1 what is blue, on 8x8 cells; class 2 knows no picture."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.AvgPool2d(8)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        seen = self.cells(picture)
        red, blue = (seen[:, each].flatten(1).mean(1) for each in (0, 2))
        return torch.stack([red, blue, 0 * red], dim=1)


def test_a_map_is_where_the_class_is() -> None:
    picture = torch.zeros(1, 3, 32, 32)
    picture[:, 0, :16, :16] = 1
    picture[:, 2, 16:, 16:] = 1
    red, blue, none = figure.grad_cam(judge_of(Reds()), picture.expand(3, -1, -1, -1), [0, 1, 2])
    assert red[4, 4] == 1 and red[28, 28] == 0 and blue[4, 4] == 0 and blue[28, 28] == 1 and none.max() == 0


def test_maps_are_shares_that_depend_on_class_and_picture(judge: Classification, lake: Image, balloons: Image) -> None:
    both = tensor([np.ascontiguousarray(each.pixels[:160, :160]) for each in (lake, balloons)])
    likeliest, second_choice = judge.pseudo_labels(both).topk(2).indices.T.tolist()
    first, second = figure.grad_cam(judge, both, likeliest)
    assert first.shape == (160, 160) and not torch.equal(first, second)
    (other,) = figure.grad_cam(judge, both[:1], second_choice[:1])
    for found in (first, second, other):
        assert found.min() >= 0 and 0.5 < found.max() <= 1
    assert not torch.equal(first, other)
    (alone,) = figure.grad_cam(judge, both[1:], likeliest[1:])
    assert torch.allclose(alone, second, atol=1e-4), "pictures do not know of each other"


def test_a_model_without_feature_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="--model made shows no feature maps"):
        figure.grad_cam(judge_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3))), torch.rand(1, 3, 8, 8), [0])


def test_the_residual_is_grey_where_nothing_changes(lake: Image) -> None:
    assert (figure.residual(lake.pixels, lake.pixels) == 128).all()
    changed = lake.pixels.copy()
    changed[0, 0], changed[0, 1] = lake.pixels[0, 0] + 1, lake.pixels[0, 1] - 1
    found = figure.residual(lake.pixels, changed, 5)
    assert found[0, 0].tolist() == [133] * 3 and found[0, 1].tolist() == [123] * 3 and (found[1:] == 128).all()


def test_a_row_shows_what_the_network_does(judge: Classification, lake: Image) -> None:
    image = Image(np.ascontiguousarray(lake.pixels[:96, :112]))
    setting = CODECS["jpeg"].setting(30)
    plain = figure.row(image, setting, None, judge, 4)
    original, same, nothing, one, two = plain.panels
    assert np.array_equal(original, same) and (nothing == 128).all() and np.array_equal(one, two)
    assert plain.sizes[0] == plain.sizes[1]
    changed = figure.row(image, setting, load("shrink"), judge, 4)
    assert changed.sizes[0] == plain.sizes[0] > changed.sizes[1]
    assert (changed.panels[2] != 128).mean() > 0.3 and not np.array_equal(*changed.panels[3:])


def test_the_figure_is_drawn(lake: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    PillowImage.fromarray(lake.pixels[:96, :112]).save(tmp_path / "a.png")
    options = ["--model", "classifier-residual", "--codec", "jpeg", "--network", "shrink", "-q", "30"]
    monkeypatch.setattr(sys, "argv", ["", *[str(tmp_path / "a.png")] * 2, *options, "-o", str(tmp_path / "figure.png")])
    figure.main()
    with PillowImage.open(tmp_path / "figure.png") as drawn:
        assert drawn.size == (1200, 520)
