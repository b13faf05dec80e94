"""From labelled pictures to a small classifier: something to compress for, where nobody brings a model."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.images import Pixels, read_canonical
from kcompress.inference.batches import tensor
from kcompress.machine.classifiers import Classifier
from kcompress.machine.folders import class_folders
from kcompress.training.classifier_recipe import ClassifierRecipe
from kcompress.training.data import prefetched
from kcompress.training.loop import Prepared
from kcompress.training.photographs import Lessons, PhotoTraining, Shipping
from kcompress.training.squares import shrunk, square

NETWORK = "classifier"
"""What its weights are called."""

_ROOM = 1.15
"""Of what is kept of a picture, to the side that is trained on: for crops of other sizes and places."""


class Lesson(NamedTuple):
    """A batch.

    Attributes:
        pictures: (N, 3, side, side), RGB 0..1.
        classes: (N,), from 0.
    """

    pictures: Tensor
    classes: Tensor


class Errors(nn.Module):
    """A batch -> the cross entropy of each picture, (N,)."""

    def __init__(self, network: Classifier, smoothing: float) -> None:
        super().__init__()
        self.network = network
        self._smoothing = smoothing

    def forward(self, lesson: Lesson) -> Tensor:
        logits = self.network(lesson.pictures).float()
        return F.cross_entropy(logits, lesson.classes, reduction="none", label_smoothing=self._smoothing)


@dataclass
class ClassifierTraining(PhotoTraining):
    """Of pictures in one folder a class.

    Attributes:
        classes: names, in the order of the outputs.
    """

    recipe: ClassifierRecipe
    classes: list[str] = field(default_factory=list)
    _class_of: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Find the classes.

        Raises:
            InputError: pictures do not lie in folders.
        """
        self.classes, self._class_of = class_folders(self.photos.names())

    def fresh(self) -> Errors:
        return Errors(self._classifier(), self.recipe.smoothing)

    def network(self, model: Errors) -> Classifier:
        return model.network

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        side = self.recipe.side
        pictures: list[Pixels] = []
        for number, name in enumerate(kept):
            pictures.append(shrunk(read_canonical(self.photos.read(name), name).pixels, round(side * _ROOM)))
            yield Prepared(number + 1, len(kept))
        whole = [square(read_canonical(self.photos.read(name), name).pixels, side) for name in judged]
        classes = np.array([self._class_of[name] for name in kept])
        truth = torch.tensor([self._class_of[name] for name in judged])
        return Lessons(
            lambda first: batches(pictures, classes, self.recipe, first),
            lambda network: _accuracy(network, whole, truth),
            ["accuracy_percent", "cross_entropy"], f"classifier ({self.recipe.architecture})", ["accuracy_percent"],
            "of held-out pictures",
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float]) -> float:
        return figures["cross_entropy"]

    def shipping(self, figures: Mapping[str, float]) -> Shipping:
        recipe = self.recipe
        return Shipping(
            self._classifier(),
            {"architecture": recipe.architecture, "width": recipe.width, "classes": len(self.classes)},
            {
                "summary": f"tells {len(self.classes)} classes apart: something to compress pictures for",
                "network": NETWORK,
                "classes": self.classes,
            },
            {"loss": "cross entropy"},
            {"on_held_out_pictures": {name: round(value, 3) for name, value in figures.items()}},
            pictures="labelled pictures",
            graph=False,
        )

    def _classifier(self) -> Classifier:
        return Classifier(self.recipe.architecture, self.recipe.width, len(self.classes))


def batches(
    pictures: Sequence[Pixels], classes: "np.typing.NDArray[np.int64]", recipe: ClassifierRecipe, first: int
) -> Iterator[Lesson]:
    """Endless, from a number on: every picture comes once before any comes again, in other crops."""
    return prefetched(lambda number: _lesson(pictures, classes, recipe, number), 3, first)


def _lesson(pictures: Sequence[Pixels], classes: "np.typing.NDArray[np.int64]", recipe: ClassifierRecipe,
            number: int) -> Lesson:  # fmt: skip
    """The batch of a number."""
    epoch, place = divmod(number * recipe.batch, len(pictures))
    order = np.concatenate(
        [np.random.default_rng([recipe.seed, epoch + each]).permutation(len(pictures))
         for each in range(2 + recipe.batch // len(pictures))]
    )  # fmt: skip
    chosen = order[place : place + recipe.batch]
    random = np.random.default_rng([recipe.seed, number, 1])
    return Lesson(tensor([_varied(pictures[each], recipe, random) for each in chosen]),
                  torch.from_numpy(classes[chosen]))  # fmt: skip


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


@torch.no_grad()
def _accuracy(network: Classifier, pictures: Sequence[Pixels], classes: Tensor) -> dict[str, float]:
    logits = torch.cat([network(tensor(pictures[first : first + 16])) for first in range(0, len(pictures), 16)])
    return {
        "accuracy_percent": 100 * float((logits.argmax(1) == classes).float().mean()),
        "cross_entropy": float(F.cross_entropy(logits, classes)),
    }
