"""From a frozen model and pictures to the weights of a preprocessor: stages two and three of section 4.1.

Stage one, the proxy codec, is a training of its own (`training.minnen`, `training.simulator`), since one proxy serves
many tasks.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from kcompress.codecs import CODECS
from kcompress.errors import InputError
from kcompress.images import Image, Pixels, read_canonical
from kcompress.inference.batches import tensor
from kcompress.inference.engine import TorchEngine
from kcompress.machine.folders import class_folders
from kcompress.machine.tasks import Task
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.loading import wrapped
from kcompress.networks.npp import LEVELS, Npp
from kcompress.setting import Setting
from kcompress.training.data import prefetched
from kcompress.training.loop import Prepared
from kcompress.training.npp.judge import NAMES, Filter, Judge
from kcompress.training.npp.objective import Batch, Objective, Proxy
from kcompress.training.npp.recipe import NppRecipe
from kcompress.training.photographs import Lessons, PhotoTraining, Shipping
from kcompress.training.publishing import encoder
from kcompress.training.squares import random_square, shrunk, square

NETWORK = "npp"

_BEHIND = 1000.0
_ROOM = 1.15
"""Of what is kept of a picture, to the side that is cut from it."""


@dataclass
class NppTraining(PhotoTraining):
    """Of pictures that the model is made for.

    Attributes:
        task: that judges, by a frozen model.
        proxy: of the codec.
    """

    recipe: NppRecipe
    task: Task = field(kw_only=True)
    proxy: Proxy = field(kw_only=True)

    def fresh(self) -> Objective:
        return Objective(Npp(self.recipe.width), self.task, self.proxy, self.recipe, self.jobs)

    def network(self, model: Objective) -> Npp:
        return model.network

    def rate(self, step: int) -> float:
        return self.recipe.rate(step)

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        classes = class_folders(self.photos.names())[1] if self.recipe.labelled else None
        pictures: dict[str, Pixels] = {}
        for number, name in enumerate([*kept, *judged]):
            pixels = shrunk(read_canonical(self.photos.read(name), name).pixels, round(self.recipe.side * _ROOM))
            if min(pixels.shape[:2]) >= self.recipe.side:
                pictures[name] = pixels
            yield Prepared(number + 1, len(kept) + len(judged))
        kept, judged = ([name for name in names if name in pictures] for names in (kept, judged))
        if not kept or not judged:
            raise InputError(
                f"{self.photos.location} has too few pictures of {self.recipe.side} pixels a side. "
                "Give larger ones, or a smaller --patch."
            )
        self.trained_on, self.held_out = len(kept), len(judged)
        whole = [square(pictures[name], self.recipe.side) for name in judged]
        judge = Judge(
            self.recipe.codec, self.recipe.qualities, self.task, whole,
            None if classes is None else [classes[name] for name in judged], self.jobs,
        )  # fmt: skip
        told = None if classes is None else [classes[name] for name in kept]
        return Lessons(
            lambda first: batches([pictures[name] for name in kept], told, self.recipe, first),
            lambda network: judge(filtering(network, self.recipe, self.device)), NAMES,
            f"{self.task.name} by {self.task.model.name}, {self.recipe.codec}",
            ["bd_rate_loss_percent", "size_change_percent"],
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float | None]) -> float:
        """BD-rate at equal loss; where it is not defined, the change of the cost, behind all that have one."""
        found = figures.get("bd_rate_loss_percent")
        if found is not None:
            return found
        size, loss = figures["size_change_percent"], figures["loss_change"]
        assert size is not None and loss is not None  # both are always there
        return _BEHIND + size / 100 + self.recipe.trade(self.recipe.fixed) * loss

    def shipping(self, figures: Mapping[str, float]) -> Shipping:
        recipe, module = self.recipe, Npp(self.recipe.width)
        return Shipping(
            module,
            {"width": recipe.width},
            {
                "summary": f"keeps what {recipe.task} needs",
                "network": NETWORK,
                "codec": recipe.codec,
                "encoder": encoder(recipe.codec),
                "gflop_at_1920x1080": round(_gflop(module), 1),
            },
            {**trained(recipe).to_recipe(), "loss": "bits + lambda * task + beta * MSE"},
            {"against_the_plain_codec": figures},
            pictures="pictures",
            multiple=2**LEVELS,
            more=(torch.zeros(1, 1),),
        )


def trained(recipe: NppRecipe) -> TrainingDomain:
    """What a network of this recipe knows."""
    qualities = sorted((recipe.finest, recipe.coarsest) if recipe.adaptive_steps else (recipe.fixed, recipe.fixed))
    finest, coarsest = sorted(CODECS[recipe.codec].quality.coarseness(quality) for quality in qualities)
    return TrainingDomain(NETWORK, recipe.codec, (qualities[0], qualities[1]), (finest, coarsest))


def filtering(network: Npp, recipe: NppRecipe, device: str = "cpu") -> Filter:
    """A network under training as what encodes take."""
    preprocessor = wrapped(NETWORK, TorchEngine(network, device), trained(recipe))

    def filtered(pictures: Sequence[Pixels], setting: Setting) -> list[Pixels]:
        return [preprocessor(Image(pixels), setting).pixels for pixels in pictures]

    return filtered


def batches(
    pictures: Sequence[Pixels], classes: Sequence[int] | None, recipe: NppRecipe, first: int
) -> Iterator[Batch]:
    """Endless, from a number on; a batch follows from its number alone."""

    def made(number: int) -> Batch:
        random = np.random.default_rng([recipe.seed, number])
        chosen = random.integers(len(pictures), size=recipe.batch)
        adaptive = number >= recipe.fixed_steps
        low, high = sorted((recipe.finest, recipe.coarsest))
        qualities = random.integers(low, high + 1, size=recipe.batch) if adaptive else [recipe.fixed] * recipe.batch
        squares = [random_square(pictures[each], recipe.side, random) for each in chosen]
        told = None if classes is None else [classes[each] for each in chosen]
        return Batch(tensor(squares), told, [int(quality) for quality in qualities], adaptive)

    return prefetched(made, 2, first)


def _gflop(network: Npp) -> float:
    """Of one 1920x1080 picture."""
    from torch.utils.flop_counter import FlopCounterMode

    side = 64
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, side, side), torch.zeros(1, 1))
    operations: int = counter.get_total_flops()
    return operations / side**2 * 1920 * 1080 / 1e9
