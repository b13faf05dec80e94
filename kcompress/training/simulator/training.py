"""From a folder of photographs to the weights of a codec simulator."""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet, digest, is_held_out
from kcompress.errors import InputError, UsageError
from kcompress.inference.weights import Weights
from kcompress.training.log import BEST, Entry, Log
from kcompress.training.loop import Prepared, Step, Validation
from kcompress.training.proxies.learned import NETWORK, Simulator
from kcompress.training.publishing import described, publish
from kcompress.training.simulator.accuracy import FIGURES, accuracy, changes, decibels, logarithm
from kcompress.training.simulator.pairs import PLACE, Batch, Pairs, batches, encoded
from kcompress.training.simulator.recipe import SimulatorRecipe
from kcompress.training.state import STATE, begin, keep, opened, seconds_spent
from kcompress.training.steps import averaged, save, steps

OF_A_JUDGED_PICTURE = 4
"""Patches."""


class Errors(nn.Module):
    """A batch -> what the simulator gets wrong of it: a cost for every patch, (M,).

    The squared error of the decoded picture in dB / 10, so that every quality counts alike, the error of ln(bpp), and
    that of its change between versions.
    """

    def __init__(self, simulator: Simulator, difference: float) -> None:
        super().__init__()
        self.simulator = simulator
        self._difference = difference

    def forward(self, batch: Batch) -> Tensor:
        decoded, bpp = self.simulator(batch.pictures, batch.coarseness)
        error = logarithm(bpp) - logarithm(batch.bpp)
        change = changes(error, batch.versions)
        of_change = nn.functional.pad(change, (1, 0)).flatten()
        return -decibels(decoded, batch.decoded) / 10 + _charbonnier(error) + self._difference * _charbonnier(of_change)


def _charbonnier(error: Tensor) -> Tensor:
    """|error|, round below 0.02."""
    return (error.square() + 0.02**2).sqrt() - 0.02


@dataclass
class SimulatorTraining:
    """One training and what it has found so far.

    Attributes:
        photos: to learn from.
        recipe: how.
        folder: for checkpoints, state, log, and the encoded patches.
        jobs: processes that encode.
        start: weights to begin with, of this codec or another.
        entries: of the log.
        held_out: number of pictures that are validated with.
        trained_on: number of pictures.
        data: digest of all pictures.
    """

    photos: DataSet
    recipe: SimulatorRecipe
    folder: Path
    jobs: int = 1
    start: Weights | None = None
    entries: list[Entry] = field(default_factory=list)
    held_out: int = 0
    trained_on: int = 0
    data: str = ""

    def run(self, *, resume: bool = False) -> Iterator[Prepared | Step | Validation]:
        """Train; what is yielded is for people to see.

        Raises:
            FloatingPointError: the cost is no longer finite.
            InputError: no pictures, or one that cannot be read.
            OutputError: the folder holds another training already.
            ProgramError: the encoder failed.
            UsageError: the state belongs to another recipe.
        """
        began = time.perf_counter()
        begin(self.folder, resume=resume)
        kept, judged = self._split()
        torch.manual_seed(self.recipe.seed)
        model = Errors(self._simulator(), self.recipe.difference)
        average = averaged(model)
        optimiser = torch.optim.AdamW(model.parameters(), self.recipe.learning_rate, weight_decay=1e-4)
        done, best = 0, math.inf
        if resume and (self.folder / STATE).is_file():
            state = opened(self.folder, self.recipe, self.data, ("validate_every",))
            model.load_state_dict(state["model"])
            average.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            done, best, began = state["step"], state["best"], began - state["seconds"]
        pairs = yield from self._pairs(kept, -(-self.recipe.patches // len(kept)))
        unseen = yield from self._pairs(judged, OF_A_JUDGED_PICTURE)
        costs: list[float] = []
        log = Log(self.folder, list(FIGURES), done)
        try:
            for step in steps(
                model, average, optimiser, self.recipe, batches(pairs, self.recipe, done),
                lambda batch: batch, lambda cost, _: cost.mean(), done,
            ):  # fmt: skip
                costs.append(step.loss)
                yield Step(step.number, step.loss)
                if not step.is_judged:
                    continue
                figures = accuracy(average.simulator, unseen, self.recipe.codec)
                value = _shortfall(figures)
                is_best, best = value < best, min(value, best)
                path = save(average.simulator, self.folder, step.number)
                event = Validation(step.number, float(np.mean(costs)), None, None, figures, path, is_best)
                log.append(event)
                shown = ("psnr_gain_db", "bpp_error_percent")
                log.keep(event, f"simulator of {self.recipe.codec}", shown, "of the simulation")
                state = {"best": best, "model": model.state_dict(), "average": average.state_dict(),
                         "optimiser": optimiser.state_dict()}  # fmt: skip
                keep(self.folder, self.recipe, step.number, self.data, time.perf_counter() - began, state)
                costs.clear()
                yield event
        finally:
            self.entries = log.entries
            log.close()

    def export(self, output: Path, about: str) -> dict[str, Any]:
        """Write weights and card of the best checkpoint; returns the card.

        Args:
            output: stem of the files.
            about: what the pictures are, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        if not self.entries:
            raise InputError(f"{self.folder} holds no checkpoint yet. Train at least up to the first validation.")
        recipe = self.recipe
        module = Simulator(recipe.width, recipe.depth)
        module.load_state_dict(load_file(self.folder / BEST))
        best = min(self.entries, key=lambda entry: _shortfall(entry.scores))
        backend = CODECS[recipe.codec].backend("auto")
        card = {
            "summary": f"simulates {recipe.codec} for training: what its decoder shows, and bits per pixel",
            "network": NETWORK,
            "codec": recipe.codec,
            "encoder": f"{backend.name} {backend.version()}",
            "recipe": {**asdict(recipe), "loss": "ln(MSE) of pixels, Charbonnier of ln(bpp)", "optimiser": "AdamW"},
            "data": described(f"{self.trained_on} photographs", about),
            "training_minutes": round(seconds_spent(self.folder) / 60),
            "held_out_pictures": self.held_out,
            "best_step": best.step,
            "on_held_out_patches": {name: round(value, 4) for name, value in best.scores.items()},
        }
        return publish(output, module, {"width": recipe.width, "depth": recipe.depth}, card, graph=False)

    def _simulator(self) -> Simulator:
        """The networks before the first step.

        Raises:
            UsageError: the weights to begin with are of other sizes.
        """
        simulator = Simulator(self.recipe.width, self.recipe.depth)
        if self.start is not None:
            if self.start.arguments != {"width": self.recipe.width, "depth": self.recipe.depth}:
                raise UsageError(
                    f"--start: {self.start.path} has width {self.start.arguments['width']}, not {self.recipe.width}. "
                    "Give others, or another --width."
                )
            simulator.load_state_dict(self.start.tensors())
        return simulator

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

    def _pairs(self, names: list[str], each: int) -> Generator[Prepared, None, Pairs]:
        return encoded(self.photos, names, each, self.recipe, self.folder / PLACE, self.jobs)


def _shortfall(figures: dict[str, float]) -> float:
    """By what the best checkpoint is known, the lower the better: in nepers, as the loss counts."""
    pixels = -figures["psnr_to_the_decoder_db"] / 10
    return pixels + figures["bpp_error_percent"] / 100 + 2 * figures["ln_bpp_difference_error"]
