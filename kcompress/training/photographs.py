"""A training from a folder of photographs: split, steps, validations, and all that lets it go on after an end."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kcompress.dataset import DataSet, digest, is_held_out
from kcompress.errors import InputError
from kcompress.training.log import Entry, Log, load_best, require
from kcompress.training.loop import Prepared, Step, Validation
from kcompress.training.publishing import described, publish
from kcompress.training.state import STATE, begin, keep, opened, seconds_spent
from kcompress.training.steps import averaged, falling, save, steps


@dataclass(frozen=True)
class Lessons:
    """What a training learns from, and is judged by.

    Attributes:
        batches: endless, from a number on.
        judge: the figures of a network under training.
        names: of the figures.
        heading: of the plot.
        shown: figures in the plot. [default: those of size]
        about: them.
    """

    batches: Callable[[int], Iterator[Any]]
    judge: Callable[[Any], Mapping[str, float | None]]
    names: Sequence[str]
    heading: str
    shown: Sequence[str] = ()
    about: str = "against the plain codec"


@dataclass(frozen=True)
class Shipping:
    """What a training has made, for `training.publishing.publish`.

    Attributes:
        module: as it is built, to be given the best weights.
        arguments: that it was built with.
        card: what it is.
        recipe: what the card says beside the training's recipe.
        figures: what the card says that it does.
        pictures: it was trained on, in a word.
        multiple: the network's input sizes are multiples of it.
        more: examples of what it takes beside the picture.
        channels: of the picture, or of all pictures that it takes at once.
        graph: whether an ONNX graph is written too; what serves in trainings alone needs none.
    """

    module: nn.Module
    arguments: Mapping[str, Any]
    card: Mapping[str, Any]
    recipe: Mapping[str, Any]
    figures: Mapping[str, Any]
    pictures: str = "photographs"
    multiple: int = 8
    more: Sequence[Tensor] = ()
    channels: int = 3
    graph: bool = True


@dataclass
class PhotoTraining(ABC):
    """One training and what it has found so far.

    Attributes:
        photos: to learn from.
        recipe: how; a dataclass.
        folder: for checkpoints, state, log, and what is prepared before the first step.
        jobs: processes that prepare it.
        device: ``cpu`` or ``cuda:N``, of the model; batches and figures are the subclass's to bring there.
        entries: of the log.
        held_out: number of pictures that are validated with.
        trained_on: number of pictures.
        data: digest of all pictures.
    """

    photos: DataSet
    recipe: Any
    folder: Path
    jobs: int = 1
    device: str = "cpu"
    entries: list[Entry] = field(default_factory=list)
    held_out: int = 0
    trained_on: int = 0
    data: str = ""

    @abstractmethod
    def fresh(self) -> nn.Module:
        """A batch -> costs, before the first step."""

    @abstractmethod
    def network(self, model: Any) -> nn.Module:
        """The part of it that ships."""

    @abstractmethod
    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        """Prepare these pictures to learn from, and those to validate with; yields progress."""

    @abstractmethod
    def shipping(self, figures: Mapping[str, float]) -> Shipping:
        """What ships, and what only this kind of training says of it, given the figures of the best checkpoint."""

    @abstractmethod
    def worth(self, figures: Mapping[str, Any]) -> float:
        """What decides which checkpoint is the best: the lower, the better."""

    def rate(self, step: int) -> float:
        """Learning rate of a step, from 0."""
        return falling(self.recipe, step)

    def run(self, *, resume: bool = False) -> Iterator[Prepared | Step | Validation]:
        """Train; what is yielded is for people to see.

        Raises:
            FloatingPointError: the cost is no longer finite.
            InputError: no pictures, or one that cannot be read.
            OutputError: the folder holds another training already.
            ProgramError: an encoder failed.
            UsageError: the state belongs to another recipe.
        """
        began = time.perf_counter()
        begin(self.folder, resume=resume)
        kept, judged = self._split()
        torch.manual_seed(self.recipe.seed)
        model = self.fresh().to(self.device)
        average = averaged(model)
        optimiser = torch.optim.AdamW(model.parameters(), self.recipe.learning_rate, weight_decay=1e-4)
        done, best = 0, math.inf
        if resume and (self.folder / STATE).is_file():
            state = opened(self.folder, self.recipe, self.data, ("validate_every",))
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["random"])
            done, best, began = state["step"], state["best"], began - state["seconds"]
        lessons = yield from self.lessons(kept, judged)
        costs: list[float] = []
        log = Log(self.folder, lessons.names, done)
        try:
            for step in steps(
                model, average, optimiser, self.recipe, lessons.batches(done),
                lambda batch: batch, lambda cost, _: cost.mean(), done, self.rate,
            ):  # fmt: skip
                costs.append(step.loss)
                yield Step(step.number, step.loss)
                if not step.is_judged:
                    continue
                network = self.network(average)
                figures = lessons.judge(network)
                value = self.worth(figures)
                is_best, best = value < best, min(value, best)
                path = save(network, self.folder, step.number)
                event = Validation(step.number, float(np.mean(costs)), None, None, dict(figures), path, is_best)
                log.append(event)
                log.keep(event, lessons.heading, lessons.shown, lessons.about)
                state = {"best": best, "model": model.state_dict(), "average": average.state_dict(),
                         "optimiser": optimiser.state_dict(), "random": torch.get_rng_state()}  # fmt: skip
                keep(self.folder, self.recipe, step.number, self.data, time.perf_counter() - began, state)
                costs.clear()
                yield event
        finally:
            self.entries = log.entries
            log.close()

    def export(self, output: Path, about: str) -> dict[str, Any]:
        """Write what ships of the best checkpoint, and its card; returns the card.

        Args:
            output: stem of the files.
            about: what the pictures are, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        require(self.entries, self.folder)
        best = min(self.entries, key=lambda entry: self.worth(entry.scores))
        ships = self.shipping(best.scores)
        load_best(ships.module, self.folder, self.entries)
        card = {
            **ships.card,
            "recipe": {**asdict(self.recipe), **ships.recipe, "optimiser": "AdamW"},
            "data": described(f"{self.trained_on} {ships.pictures}", about),
            "training_minutes": round(seconds_spent(self.folder) / 60),
            "held_out_pictures": self.held_out,
            "best_step": best.step,
            **ships.figures,
        }
        return publish(
            output, ships.module, ships.arguments, card, ships.multiple, ships.more, graph=ships.graph,
            channels=ships.channels,
        )  # fmt: skip

    def _split(self) -> tuple[list[str], list[str]]:
        """Names of the pictures to train on, and of some that are held out.

        Raises:
            InputError: one of the two is empty.
        """
        names = self.photos.names()
        digests = [digest(self.photos.read(name)) for name in names]
        self.data = digest("".join(digests).encode())
        out = [is_held_out(each, 1 - self.recipe.split) for each in digests]
        kept = [name for name, held in zip(names, out, strict=True) if not held]
        judged = [name for name, held in zip(names, out, strict=True) if held][: self.recipe.validation_pictures]
        if not kept or not judged:
            purpose = "validate with" if kept else "train on"
            raise InputError(
                f"{self.photos.location} has {len(names)} pictures: split {self.recipe.split:g} : "
                f"{1 - self.recipe.split:g} leaves none to {purpose}. Give more pictures, or another --split."
            )
        self.trained_on, self.held_out = len(kept), len(judged)
        return kept, judged
