"""Training of small classifiers: its loss, its batches, what ships."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeling.tools import save
from safetensors.torch import load_file
from training.toy import exported, of, trained

from kcompress.dataset import DataSet
from kcompress.errors import InputError
from kcompress.images import Image, Pixels
from kcompress.training.events import Prepared, Validation
from kcompress.training.tasks.classifier.recipe import ClassifierRecipe
from kcompress.training.tasks.classifier.task import Batch, ClassifierData, ClassifierLoss, ClassifierTask
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = ClassifierRecipe(width=4, side=32, steps=8, batch=4, warmup=2, validate_every=4, split=0.6, averaging=0.8)


@pytest.fixture(scope="module")
def classes(lake: Image, balloons: Image, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Six crops in each of two classes."""
    folder = tmp_path_factory.mktemp("classes")
    for name, image in (("lake", lake), ("balloons", balloons)):
        for number in range(6):
            crop = image.pixels[12 * number : 12 * number + 40, 9 * number : 9 * number + 48]
            save(np.ascontiguousarray(crop), folder / name / f"{number}.png")
    return DataSet(str(folder))


def of_pictures(pictures: list[Pixels]) -> ClassifierData:
    return ClassifierData(
        trained_on=len(pictures), held_out=0, metrics=[], heading="", pictures=pictures,
        classes=torch.arange(len(pictures)), squares=[], truth=torch.zeros(0),
    )  # fmt: skip


def test_smoothing_is_the_floor_of_the_error() -> None:
    """Cross entropy with (1 - s) of the truth on the label and s spread over all classes."""
    logits = torch.tensor([[3.0, 0.0, -1.0]])

    class Fixed(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return logits

    batch = Batch(torch.zeros(1, 3, 8, 8), torch.tensor([0]))
    told = -logits.log_softmax(1)[0]
    assert torch.allclose(ClassifierLoss(Fixed(), 0.0)(batch)["loss"], told[:1])  # type: ignore[arg-type]
    smooth = ClassifierLoss(Fixed(), 0.3)(batch)["loss"]  # type: ignore[arg-type]
    assert torch.allclose(smooth, 0.7 * told[:1] + 0.3 * told.mean())


def test_every_picture_comes_once_before_any_comes_again(classes: DataSet) -> None:
    data = of_pictures([np.full((40, 40, 3), 10 * number, np.uint8) for number in range(10)])
    task = ClassifierTask(classes, replace(TINY, batch=5))
    first, second, third, fourth = (task.batch(data, number).classes.tolist() for number in range(4))
    assert sorted(first + second) == list(range(10)) == sorted(third + fourth)
    assert first + second != third + fourth
    assert task.batch(data, 2).classes.tolist() == third
    assert torch.equal(task.batch(data, 2).pictures, task.batch(data, 2).pictures)


def test_crops_vary_and_keep_their_size(classes: DataSet) -> None:
    gradient = np.linspace(0, 255, 48 * 64 * 3).reshape(48, 64, 3).astype(np.uint8)
    pictures = ClassifierTask(classes, replace(TINY, batch=6)).batch(of_pictures([gradient]), 0).pictures
    assert pictures.shape == (6, 3, 32, 32) and len({float(picture.mean()) for picture in pictures}) == 6


def test_classes_are_those_of_the_folders(classes: DataSet, photos: DataSet, tmp_path: Path) -> None:
    task = ClassifierTask(classes, TINY)
    split = task.split()
    data = drained(task.prepare(split, tmp_path))
    assert task.classes == ["balloons", "lake"] and data.trained_on == len(split.train) == len(data.pictures)
    assert data.classes.tolist() == [int(name.startswith("lake")) for name in split.train]
    with pytest.raises(InputError, match="lies in no folder"):
        ClassifierTask(photos, TINY)


def test_what_ships(classes: DataSet, tmp_path: Path) -> None:
    task = ClassifierTask(classes, replace(TINY, exact_from=0.5))
    events = trained(task, tmp_path / "checkpoints")
    found = of(Validation, events)
    assert of(Prepared, events) and [state.step for state in found] == [4, 8]
    card = exported(task, tmp_path / "checkpoints", events[-1], tmp_path / "small", "crops")
    best = min(found, key=lambda state: state.metrics["cross_entropy"])
    assert card["best_step"] == best.step and card["classes"] == ["balloons", "lake"]
    assert card["on_held_out_pictures"] == {name: round(value, 3) for name, value in best.metrics.items()}
    assert card["data"].endswith("labelled pictures, crops") and card["recipe"]["loss"] == "cross entropy"
    assert json.loads((tmp_path / "small.json").read_text()) == card
    one, other = load_file(tmp_path / "small.safetensors"), load_file(best.checkpoint)
    assert all(torch.equal(one[name], other[name]) for name in other)
