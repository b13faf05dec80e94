"""FastestDet: the same numbers as its authors' graph, and a task with it."""

from pathlib import Path

import pytest
import torch

from kcompress.images import Image
from kcompress.machine.fastestdet import FastestDet
from kcompress.machine.model import Model
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"
STATE = MODELS / "FastestDet_ap0.2532_280ep.pth"
GRAPH = MODELS / "FastestDet.onnx"

pytestmark = pytest.mark.usefixtures("one_thread")
there = pytest.mark.skipif(
    not (STATE.is_file() and GRAPH.is_file()),
    reason="the published weights of FastestDet do not lie beside the checkout",
)


@pytest.fixture(scope="module")
def detector() -> Model:
    """With the weights of its authors."""
    return open_model(f"fastestdet:{STATE}")


def _tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float() / 255


@there
def test_it_is_the_graph(detector: Model, lake: Image, balloons: Image) -> None:
    graph = open_model(f"{GRAPH}:order=bgr")
    assert detector.size == graph.size == (352, 352) and detector.trainable and not graph.trainable
    question = task("detection", detector)
    pictures = torch.cat([question.resized(_tensor(image)) for image in (lake, balloons)])
    assert (detector(pictures) - graph(pictures)).abs().max() < 1e-3
    assert (detector(pictures) - open_model(f"fastestdet:{STATE}:order=rgb")(pictures)).abs().max() > 0.1


@there
def test_what_it_makes_of_worse_pictures(detector: Model, lake: Image) -> None:
    question = task("detection", detector)
    picture = _tensor(lake)
    targets = question.pseudo_labels(picture)
    assert question.score(question.judged(picture, targets)[0]) in (1.0, None)
    assert question.loss(picture, targets).item() == pytest.approx(0, abs=1e-5)
    blurred = torch.nn.functional.avg_pool2d(picture, 9, 1, 4).requires_grad_()
    loss = question.loss(blurred, targets)
    assert loss.item() > 0.01
    assert torch.autograd.grad(loss.sum(), blurred)[0].abs().sum() > 0


def test_other_sizes_and_numbers_of_classes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(FastestDet(classes=4).state_dict(), tmp_path / "four.pth")
    model = open_model(f"fastestdet:{tmp_path / 'four.pth'}:size=96x64")
    assert model(torch.rand(2, 3, 64, 96)).shape == (2, 9, 4, 6)
    assert task("detection", model).name == "detection"
