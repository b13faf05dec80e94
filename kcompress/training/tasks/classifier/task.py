"""From labelled pictures to a small classifier: something to compress for, where nobody brings a model."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.machine.classifiers import Classifier
from kcompress.machine.folders import class_folders
from kcompress.training.crops import square
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, picture, shrunk_pictures
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.classifier.recipe import ClassifierRecipe

_AT_ONCE = 16


class Batch(NamedTuple):
    """Pictures (N, 3, side, side), RGB 0..1, of a step, and their classes (N,), from 0."""

    pictures: Tensor
    classes: Tensor


class ClassifierLoss(nn.Module):
    """A batch -> the cross entropy of each picture, (N,)."""

    def __init__(self, network: Classifier, smoothing: float) -> None:
        super().__init__()
        self.network = network
        self._smoothing = smoothing

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.pictures).float()
        loss = F.cross_entropy(logits, batch.classes, reduction="none", label_smoothing=self._smoothing)
        return {"loss": loss}


@dataclass(frozen=True, kw_only=True)
class ClassifierData(TrainingData):
    """Shrunk pictures to train on with their classes, and squares to validate with, whose classes are the truth."""

    pictures: Sequence[Pixels]
    classes: Tensor
    squares: Sequence[Pixels]
    truth: Tensor


@dataclass(frozen=True)
class ClassifierTask(PhotoTask[ClassifierRecipe, ClassifierData, Batch]):
    """Learns from pictures that lie in one folder a class."""

    network_type = Classifier
    network_name = "classifier"
    sizes = ("architecture", "width")

    def __post_init__(self) -> None:
        _ = self.classes  # pictures that do not lie in folders are refused at once

    @cached_property
    def _folders(self) -> tuple[list[str], dict[str, int]]:
        return class_folders(self.photos.names())

    @property
    def classes(self) -> list[str]:
        """Names, in the order of the outputs."""
        return self._folders[0]

    @property
    def arguments(self) -> dict[str, Any]:
        return {**super().arguments, "classes": len(self.classes)}

    def loss(self, network: Classifier) -> ClassifierLoss:
        return ClassifierLoss(network, self.recipe.smoothing)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, ClassifierData]:
        side, class_of = self.recipe.side, self._folders[1]
        pictures = yield from shrunk_pictures(self.photos, split.train, side)
        return ClassifierData(
            trained_on=len(split.train),
            held_out=len(split.validation),
            metrics=["accuracy_percent", "cross_entropy"],
            heading=f"classifier ({self.recipe.architecture})",
            shown=["accuracy_percent"],
            axis="of held-out pictures",
            pictures=list(pictures.values()),
            classes=torch.tensor([class_of[name] for name in split.train]),
            squares=[square(picture(self.photos, name), side) for name in split.validation],
            truth=torch.tensor([class_of[name] for name in split.validation]),
        )

    def batch(self, data: ClassifierData, number: int) -> Batch:
        """Every picture comes once before any comes again, in other crops."""
        recipe, count = self.recipe, len(data.pictures)
        epoch, place = divmod(number * recipe.batch, count)
        order = np.concatenate(
            [np.random.default_rng([recipe.seed, epoch + each]).permutation(count)
             for each in range(2 + recipe.batch // count)]
        )  # fmt: skip
        chosen = order[place : place + recipe.batch]
        random = np.random.default_rng([recipe.seed, number, 1])
        pictures = tensor([_varied(data.pictures[each], recipe, random) for each in chosen])
        return Batch(pictures, data.classes[torch.from_numpy(chosen)])

    def validate(self, module: ClassifierLoss, data: ClassifierData) -> Metrics:
        device = next(module.parameters()).device
        parts = [data.squares[first : first + _AT_ONCE] for first in range(0, len(data.squares), _AT_ONCE)]
        logits = torch.cat([module.network(tensor(part).to(device)).cpu() for part in parts])
        return {
            "accuracy_percent": 100 * float((logits.argmax(1) == data.truth).float().mean()),
            "cross_entropy": float(F.cross_entropy(logits, data.truth)),
        }

    def objective(self, metrics: Metrics) -> float:
        found = metrics["cross_entropy"]
        assert found is not None  # it always is there
        return found

    def export(self, best: Entry, data: ClassifierData) -> ExportSpec:
        return ExportSpec(
            summary=f"tells {len(self.classes)} classes apart: something to compress pictures for",
            card={"classes": self.classes},
            recipe={"loss": "cross entropy", "optimiser": "AdamW"},
            data=f"{data.trained_on} labelled pictures",
            metrics={"on_held_out_pictures": {name: round(value, 3) for name, value in best.metrics.items()}},
            graph=False,
        )


def _varied(pixels: Pixels, recipe: ClassifierRecipe, random: np.random.Generator) -> Pixels:
    """A crop of another size, place and brightness, half of them mirrored."""
    import cv2

    height, width = pixels.shape[:2]
    length = min(height, width) * np.sqrt(random.uniform(recipe.smallest, 1))
    rows, columns = (int(np.clip(length * each, 8, limit)) for each, limit in
                     zip(_proportions(random), (height, width), strict=True))  # fmt: skip
    top, left = int(random.integers(height - rows + 1)), int(random.integers(width - columns + 1))
    crop = pixels[top : top + rows, left : left + columns]
    made = cv2.resize(crop, (recipe.side, recipe.side), interpolation=cv2.INTER_AREA if rows > recipe.side
                      else cv2.INTER_LINEAR).astype(np.float32)  # fmt: skip
    made = (made - 128) * random.uniform(0.75, 1.25) + 128 + random.uniform(-25, 25)
    made = np.clip(np.rint(made), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(made[:, ::-1] if random.random() < 0.5 else made)


def _proportions(random: np.random.Generator) -> tuple[float, float]:
    stretch = float(np.exp(random.uniform(-0.2, 0.2)))
    return stretch, 1 / stretch
