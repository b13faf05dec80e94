"""From a frozen model and pictures to the weights of a preprocessor: stages two and three of section 4.1.

Stage one, the proxy codec, is a training of its own (`training.tasks.proxies`), since one proxy serves many tasks.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from kcompress.codecs import CODECS
from kcompress.errors import InputError
from kcompress.images import Image, Pixels, read_canonical
from kcompress.inference.batches import tensor
from kcompress.inference.engine import TorchEngine
from kcompress.machine.folders import class_folders
from kcompress.machine.tasks import Task as MachineTask
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.loading import wrapped
from kcompress.networks.npp import LEVELS, Npp
from kcompress.setting import Setting
from kcompress.training.crops import holds, random_square, shrunk, square
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder, gflop
from kcompress.training.log import Entry
from kcompress.training.task import PhotoTask, Split, TrainingData
from kcompress.training.tasks.npp.loss import Batch, NppLoss, Proxy
from kcompress.training.tasks.npp.recipe import NppRecipe
from kcompress.training.tasks.npp.validation import NAMES, Filter, TaskValidator

NETWORK = "npp"

_BEHIND = 1000.0
_KEPT = 1.15
"""Shorter side of the pictures in memory, in units of the side that is cut from them."""


@dataclass(frozen=True, kw_only=True)
class NppData(TrainingData):
    """Pictures, their classes where there are labels, and what compares a network with the plain codec."""

    pictures: Sequence[Pixels]
    classes: Sequence[int] | None
    validator: TaskValidator


@dataclass(frozen=True)
class NppTask(PhotoTask[NppRecipe, NppData, Batch]):
    """Learns from pictures that a model is made for.

    Attributes:
        task: whose loss counts, by a frozen model.
        proxy: of the codec.
    """

    parts: ClassVar = ("rate", "task", "closeness")
    prefetch: ClassVar = 2
    task: MachineTask = field(kw_only=True)
    proxy: Proxy = field(kw_only=True)

    def build(self) -> NppLoss:
        return NppLoss(Npp(self.recipe.width), self.task, self.proxy, self.recipe, self.jobs)

    def network(self, module: NppLoss) -> Npp:
        return module.network

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, NppData]:
        recipe, names = self.recipe, [*split.train, *split.validation]
        classes = class_folders(self.photos.names())[1] if recipe.labelled else None
        pictures: dict[str, Pixels] = {}
        for number, name in enumerate(names):
            pixels = shrunk(read_canonical(self.photos.read(name), name).pixels, round(recipe.side * _KEPT))
            if holds(pixels, recipe.side):
                pictures[name] = pixels
            yield Prepared(number + 1, len(names))
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
            heading=f"{self.task.name} by {self.task.model.name}, {recipe.codec}",
            shown=["bd_rate_loss_percent", "size_change_percent"],
            pictures=[pictures[name] for name in train],
            classes=truths[0],
            validator=TaskValidator(recipe.codec, recipe.qualities, self.task, squares, truths[1], self.jobs),
        )

    def batch(self, data: NppData, number: int) -> Batch:
        recipe = self.recipe
        random = np.random.default_rng([recipe.seed, number])
        chosen = random.integers(len(data.pictures), size=recipe.batch)
        adaptive = number >= recipe.fixed_steps
        low, high = sorted((recipe.finest, recipe.coarsest))
        qualities = random.integers(low, high + 1, size=recipe.batch) if adaptive else [recipe.fixed] * recipe.batch
        squares = [random_square(data.pictures[each], recipe.side, random) for each in chosen]
        classes = None if data.classes is None else [data.classes[each] for each in chosen]
        return Batch(tensor(squares), classes, [int(quality) for quality in qualities], adaptive)

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
        recipe, module = self.recipe, Npp(self.recipe.width)
        return ExportSpec(
            module=module,
            arguments={"width": recipe.width},
            card={
                "summary": f"keeps what {recipe.task} needs",
                "network": NETWORK,
                "codec": recipe.codec,
                "encoder": encoder(recipe.codec),
                "gflop_at_1920x1080": round(gflop(module, [torch.zeros(1, 3, 64, 64), torch.zeros(1, 1)]), 1),
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
    """What a network of this recipe knows."""
    qualities = sorted((recipe.finest, recipe.coarsest) if recipe.adaptive_steps else (recipe.fixed, recipe.fixed))
    finest, coarsest = sorted(CODECS[recipe.codec].quality.coarseness(quality) for quality in qualities)
    return TrainingDomain(NETWORK, recipe.codec, (qualities[0], qualities[1]), (finest, coarsest))


def filtering(network: Npp, recipe: NppRecipe) -> Filter:
    """A network under training as a filter of pictures; it runs where it is."""
    engine = TorchEngine(network, str(next(network.parameters()).device))
    preprocessor = wrapped(NETWORK, engine, trained(recipe))

    def filtered(pictures: Sequence[Pixels], setting: Setting) -> list[Pixels]:
        return [preprocessor(Image(pixels), setting).pixels for pixels in pictures]

    return filtered
