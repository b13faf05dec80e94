"""From a frozen model and pictures to the weights of a preprocessor: stages two and three of section 4.1.

Stage one, the proxy codec, is a training of its own (`training.tasks.proxies`), since one proxy serves many tasks.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from kcompress.errors import InputError
from kcompress.images import Image, Pixels
from kcompress.inference.batches import tensor
from kcompress.inference.weights import Weights
from kcompress.machine.folders import class_folders
from kcompress.machine.tasks import Task as MachineTask
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.npp import LEVELS, Npp
from kcompress.setting import Setting
from kcompress.training.crops import holds, random_square, shrunk, square
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder, gflop
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, shrunk_pictures
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.npp.loss import Batch, NppLoss, Proxy
from kcompress.training.tasks.npp.recipe import NppRecipe
from kcompress.training.tasks.npp.validation import NAMES, Filter, TaskValidator
from kcompress.training.validation import under_training

NETWORK = "npp"

_BEHIND = 1000.0


@dataclass(frozen=True, kw_only=True)
class NppData(TrainingData):
    """Pictures, their classes where there are labels, and what compares a network with the plain codec."""

    pictures: Sequence[Pixels]
    classes: Sequence[int] | None
    validator: TaskValidator


@dataclass(frozen=True)
class NppTask(PhotoTask[NppRecipe, NppData, Batch]):
    """Learns from pictures that models are made for: their mean loss counts, and gradients come from a proxy codec."""

    network_type = Npp
    network_name = NETWORK
    sizes = ("width",)
    parts: ClassVar = ("rate", "task", "closeness")
    prefetch: ClassVar = 2
    start: Weights | None = None
    judges: tuple[MachineTask, ...] = field(kw_only=True)
    proxy: Proxy = field(kw_only=True)

    def loss(self, network: Npp) -> NppLoss:
        return NppLoss(network, self.judges, self.proxy, self.recipe, self.jobs)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, NppData]:
        recipe, names = self.recipe, [*split.train, *split.validation]
        classes = class_folders(self.photos.names())[1] if recipe.labelled else None
        found = yield from shrunk_pictures(self.photos, names, round(recipe.side * recipe.zoom))
        pictures = {name: pixels for name, pixels in found.items() if holds(pixels, recipe.side)}
        train, validation = ([name for name in part if name in pictures] for part in (split.train, split.validation))
        if not train or not validation:
            raise InputError(
                f"{self.photos.location} has too few pictures of {recipe.side} pixels a side. "
                "Give larger ones, or a smaller --patch."
            )
        truths = [None if classes is None else [classes[name] for name in part] for part in (train, validation)]
        squares = [square(pictures[name], recipe.side) for name in validation]
        return NppData(
            trained_on=len(train),
            held_out=len(validation),
            metrics=NAMES,
            heading=f"{recipe.task} by {', '.join(each.model.name for each in self.judges)}, {recipe.codec}",
            shown=["bd_rate_loss_percent", "size_change_percent"],
            pictures=[pictures[name] for name in train],
            classes=truths[0],
            validator=TaskValidator(recipe.codec, recipe.qualities, self.judges, squares, truths[1], self.jobs),
        )

    def batch(self, data: NppData, number: int) -> Batch:
        recipe = self.recipe
        random = np.random.default_rng([recipe.seed, number])
        chosen = random.integers(len(data.pictures), size=recipe.batch)
        adaptive = number >= recipe.fixed_steps
        low, high = sorted((recipe.finest, recipe.coarsest))
        qualities = random.integers(low, high + 1, size=recipe.batch) if adaptive else [recipe.fixed] * recipe.batch
        if recipe.mosaic:
            qualities = [qualities[0]] * recipe.batch
        squares = [self._square(data.pictures[each], random) for each in chosen]
        classes = None if data.classes is None else [data.classes[each] for each in chosen]
        judges = None
        if recipe.drawn:
            judges = frozenset(random.permutation(len(self.judges))[: recipe.drawn].tolist())
        return Batch(tensor(squares), classes, [int(quality) for quality in qualities], adaptive, judges)

    def _square(self, pixels: Pixels, random: np.random.Generator) -> Pixels:
        """A square from anywhere in a picture, of a random size up to the zoom."""
        side, zoom = self.recipe.side, self.recipe.zoom
        if zoom == 1:
            return random_square(pixels, side, random)
        cut = min(round(side * random.uniform(1, zoom)), *pixels.shape[:2])
        return shrunk(random_square(pixels, cut, random), side)

    def validate(self, module: NppLoss, data: NppData) -> Metrics:
        return data.validator(filtering(module.network, self.recipe))

    def objective(self, metrics: Metrics) -> float:
        """BD-rate at equal loss; where it is not defined, the change of the cost, behind all that have one."""
        found = metrics.get("bd_rate_loss_percent")
        if found is not None:
            return found
        size, loss = metrics["size_change_percent"], metrics["loss_change"]
        assert size is not None and loss is not None  # both are always there
        return _BEHIND + size / 100 + self.recipe.trade(self.recipe.fixed) * loss

    def export(self, best: Entry, data: NppData) -> ExportSpec:
        recipe = self.recipe
        operations = gflop(Npp(recipe.width), [torch.zeros(1, 3, 64, 64), torch.zeros(1, 1)])
        return ExportSpec(
            summary=f"keeps what {recipe.task} needs",
            card={
                "codec": recipe.codec,
                "encoder": encoder(recipe.codec),
                "gflop_at_1920x1080": round(operations, 1),
            },
            recipe={
                **trained(recipe).to_recipe(),
                "loss": "bits + lambda * task + beta * MSE",
                "optimiser": "AdamW",
            },
            data=f"{data.trained_on} pictures",
            metrics={"against_the_plain_codec": best.metrics},
            multiple=2**LEVELS,
            inputs=(torch.zeros(1, 1),),
        )


def trained(recipe: NppRecipe) -> TrainingDomain:
    """Training domain of a network of this recipe."""
    qualities = sorted((recipe.finest, recipe.coarsest) if recipe.adaptive_steps else (recipe.fixed, recipe.fixed))
    return TrainingDomain.between(NETWORK, recipe.codec, (qualities[0], qualities[1]))


def filtering(network: Npp, recipe: NppRecipe) -> Filter:
    """Filter of pictures by a network under training."""
    preprocessor = under_training(network, trained(recipe))

    def filtered(pictures: Sequence[Pixels], setting: Setting) -> list[Pixels]:
        return [preprocessor(Image(pixels), setting).pixels for pixels in pictures]

    return filtered
