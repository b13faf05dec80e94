"""From a folder of photographs to the weights of the RDO network."""

import math
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet, digest, is_held_out
from kcompress.errors import InputError
from kcompress.images import comparable
from kcompress.inference.engine import TorchEngine
from kcompress.metrics import METRICS
from kcompress.networks.condition import condition
from kcompress.networks.macroblocks import SIDE
from kcompress.networks.preprocessor import NetworkPreprocessor, Preprocessor
from kcompress.networks.rdo import Rdo
from kcompress.training.log import BEST, Entry, Log
from kcompress.training.loop import Prepared, Step, Validation
from kcompress.training.publishing import described, publish
from kcompress.training.rdo.bank import Bank, batches, measured
from kcompress.training.rdo.recipe import RdoRecipe
from kcompress.training.rdo.simulation import Simulation
from kcompress.training.state import STATE, begin, keep, opened, seconds_spent, steps_done
from kcompress.training.steps import averaged, save, steps
from kcompress.training.validation import Judge

QUALITY = 70
"""At which sizes are compared; the BD-rates span 40 to 82."""


@dataclass
class RdoTraining:
    """One training and what it has found so far.

    Attributes:
        photos: to learn from; clean ones.
        recipe: how.
        folder: for checkpoints, state, log, and the measured patches.
        jobs: processes that measure patches.
        entries: of the log.
        held_out: number of pictures that are validated with.
        trained_on: number of pictures.
        data: digest of all pictures.
    """

    photos: DataSet
    recipe: RdoRecipe
    folder: Path
    jobs: int = 1
    entries: list[Entry] = field(default_factory=list)
    held_out: int = 0
    trained_on: int = 0
    data: str = ""

    def worth(self, figures: Mapping[str, float | None]) -> float:
        """What decides which checkpoint is the best, the lower, the better: sizes at equal scores, as they count."""
        sizes = {name: figures[f"size_at_equal_{name}_percent"] for name in self.recipe.objective}
        return sum(share * (sizes[name] or 0.0) for name, share in self.recipe.objective.items())

    def run(self, *, resume: bool = False) -> Iterator[Prepared | Step | Validation]:
        """Train; what is yielded is for people to see.

        Raises:
            FloatingPointError: the cost is no longer finite.
            InputError: no pictures, or one that cannot be read.
            OutputError: the folder holds another training already.
            UsageError: the state belongs to another recipe.
        """
        began = time.perf_counter()
        begin(self.folder, resume=resume)
        kept, judged = self._split()
        judge = self._judge(judged)
        torch.manual_seed(self.recipe.seed)
        model = Simulation(Rdo(self.recipe.width, self.recipe.depth), self.recipe.objective)
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
        bank = yield from self._bank(kept)
        costs: list[float] = []
        log = Log(self.folder, judge.names, done)
        try:
            for step in steps(
                model, average, optimiser, self.recipe, batches(bank, self.recipe, done),
                lambda batch: batch, lambda cost, _: cost.mean(), done,
            ):  # fmt: skip
                costs.append(step.loss)
                yield Step(step.number, step.loss)
                if not step.is_judged:
                    continue
                figures = judge(preprocessor(average.network))
                value = self.worth(figures)
                is_best, best = value < best, min(value, best)
                path = save(average.network, self.folder, step.number)
                event = Validation(step.number, float(np.mean(costs)), None, None, figures, path, is_best)
                log.append(event)
                log.keep(event, judge.heading)
                state = {"best": best, "model": model.state_dict(), "average": average.state_dict(),
                         "optimiser": optimiser.state_dict(), "random": torch.get_rng_state()}  # fmt: skip
                keep(self.folder, self.recipe, step.number, self.data, time.perf_counter() - began, state)
                costs.clear()
                yield event
        finally:
            self.entries = log.entries
            log.close()

    def export(self, output: Path, about: str) -> dict[str, Any]:
        """Write weights, graph and card of the best checkpoint; returns the card.

        Args:
            output: stem of the files.
            about: what the pictures are, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        if not self.entries:
            raise InputError(f"{self.folder} holds no checkpoint yet. Train at least up to the first validation.")
        recipe = self.recipe
        module = Rdo(recipe.width, recipe.depth)
        module.load_state_dict(load_file(self.folder / BEST))
        best = min(self.entries, key=lambda entry: self.worth(entry.scores))
        card = {
            "summary": "decides which of JPEG's quantised coefficients are worth their bits",
            "network": "rdo",
            "codec": "jpeg",
            "recipe": {**asdict(recipe), "loss": "ln(rate) - slope * score", "optimiser": "AdamW"},
            "data": described(f"{self.trained_on} photographs", about),
            "gflop_at_1920x1080": round(_gflop(recipe), 1),
            "training_minutes": round(seconds_spent(self.folder) / 60),
            "held_out_pictures": self.held_out,
            "best_step": best.step,
            "against_the_plain_codec": best.scores,
        }
        example = torch.from_numpy(condition(CODECS["jpeg"].setting(QUALITY)))
        arguments = {"width": recipe.width, "depth": recipe.depth}
        return publish(output, module, arguments, card, SIDE, (example,))

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

    def _bank(self, names: list[str]) -> Generator[Prepared, None, Bank]:
        """Measured patches, kept beside the checkpoints for a training that goes on."""
        path = self.folder / "patches.safetensors"
        if steps_done(self.folder) and path.is_file():
            return Bank.load(path)
        bank = yield from measured(self.photos, names, self.recipe, self.jobs)
        bank.save(path)
        return bank

    def _judge(self, names: list[str]) -> Judge:
        pictures = [comparable(self.photos.read(name), name).pixels for name in names]
        metrics = (*self.recipe.objective, "butteraugli", "psnr")
        known = [name for name in metrics if METRICS[name].available()]
        return Judge("jpeg", QUALITY, known, pictures)


def preprocessor(network: Rdo) -> Preprocessor:
    """A network under training as what encodes take."""
    engine, halo = TorchEngine(network, "cpu"), SIDE * len(network.context.blocks)
    return NetworkPreprocessor("rdo", engine, strength=1, halo=halo, multiple=SIDE, condition=condition)


def _gflop(recipe: RdoRecipe) -> float:
    """Of one 1920x1080 picture: the convolutions, and the DCT there and back."""
    width, depth = recipe.width, recipe.depth
    of_mcu = 2 * (3 * 384 * width + depth * (9 * width + 4 * width**2) + 384 * width)
    of_pixel = of_mcu / SIDE**2 + 2 * 1.5 * 128
    return of_pixel * 1920 * 1080 / 1e9
