"""The trainer: takes a task's steps, validates, keeps what it takes to go on; yields events, draws nothing."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from kcompress.errors import InputError, OutputError, UsageError
from kcompress.inference.engine import resolve_device
from kcompress.training.checkpoint import STATE, Checkpoint, load_best, save
from kcompress.training.events import Event, Finished, Step, Validation
from kcompress.training.export import described, publish
from kcompress.training.learner import Learner
from kcompress.training.log import Log
from kcompress.training.recipe import Recipe
from kcompress.training.task import Task, TrainingData


class Trainer:
    """One training, with a folder for checkpoints, state, log, and what the task keeps there.

    Args:
        task: that is learned.
        folder: made where it is not there.
        accelerator: device and processes.
        minutes: after which it ends, preparation included. The learning rate then falls by the clock where that is
            faster than the steps, so that it has come down by the end; the result depends on the machine.

    Attributes:
        kept: step after which the state was written last; None before.

    Raises:
        UsageError: a limit for several processes, whose clocks differ.
    """

    def __init__(
        self, task: Task[Any, Any, Any], folder: Path, accelerator: Accelerator, minutes: float | None = None
    ) -> None:
        self.task, self.folder, self.accelerator, self.minutes = task, folder, accelerator, minutes
        self.kept: int | None = None
        if minutes is not None and accelerator.num_processes > 1:
            raise UsageError(f"--minutes {minutes:g} is for one process. Give --steps instead.")

    def run(self, *, resume: bool = False) -> Generator[Event, None, None]:
        """Train; the last event is `Finished`. ``resume`` goes on with the state in the folder, if there is one.

        Where it is broken off, by `close` or an exception such as Ctrl-C, the state after the last step is written.

        Raises:
            FloatingPointError: the loss is no longer finite; the checkpoints so far stay.
            InputError: no pictures, or one that cannot be read; a state that is none.
            OutputError: the folder holds another training already.
            ProgramError: an encoder failed.
            UsageError: the state belongs to another recipe; a batch cannot be shared among the processes.
        """
        began = time.perf_counter()
        task, accelerator = self.task, self.accelerator
        before = self._begin(resume=resume)
        split = task.split()
        learner = Learner(task, accelerator)
        if before is not None:
            before.check(task.recipe, split.digest, task.free_on_resume)
            learner.load(before)
            began -= before.seconds
        with accelerator.main_process_first():  # the others find what it keeps in the folder
            data = yield from task.prepare(split, self.folder)
        if accelerator.is_main_process:
            yield from self._with_validations(learner, data, split.digest, before, began)
            return
        yield from self._steps(learner, data, before.step if before else 0, _Clock(began, None))
        yield Finished((), data, time.perf_counter() - began)

    def export(self, finished: Finished, stem: Path, about: str) -> dict[str, Any]:
        """Write the best checkpoint's weights, graph and card; returns the card.

        ``about`` are the user's words on the pictures, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        if not finished.entries:
            raise InputError(f"{self.folder} holds no checkpoint yet. Train at least up to the first validation.")
        task = self.task
        best = min(finished.entries, key=lambda entry: task.objective(entry.metrics))
        spec = task.export(best, finished.data)
        network = task.network_type(**task.arguments)
        load_best(network, self.folder)
        card = {
            "summary": spec.summary,
            "network": task.network_name,
            **spec.card,
            "recipe": {**asdict(task.recipe), **spec.recipe},
            "data": described(spec.data, about),
            **spec.details,
            "training_minutes": round(finished.seconds / 60),
            "held_out_pictures": finished.data.held_out,
            "best_step": best.step,
            **spec.metrics,
        }
        return publish(stem, card, network, task.arguments, spec)

    def _begin(self, *, resume: bool) -> Checkpoint | None:
        """Make the folder; returns the state to go on from."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists() and not resume:
            raise OutputError(f"{self.folder} holds a training. Give --resume to go on, or another --checkpoints.")
        self.accelerator.wait_for_everyone()
        return Checkpoint.read(self.folder)

    def _with_validations(
        self, learner: Learner, data: TrainingData, digest: str, before: Checkpoint | None, began: float
    ) -> Generator[Event, None, None]:
        """Take the steps that are left, validate, and keep the state, also on the way out of an interruption."""
        task = self.task
        past = [Step(**each) for each in before.unvalidated] if before else []
        done, best, seconds = (before.step, before.best, before.seconds) if before else (0, math.inf, 0.0)
        losses, clock, state = past[:-1], _Clock(began, self.minutes), None

        def after(step: Step) -> Checkpoint:
            passed, unvalidated = time.perf_counter() - began, [vars(each) for each in losses]
            return Checkpoint(
                step.number, asdict(task.recipe), digest, passed, best, **learner.state(), unvalidated=unvalidated
            )

        with closing(Log(self.folder, data.metrics, task.parts, done - len(past))) as log:
            try:
                # The last step comes once more, as its validation may be due still.
                for step in chain(past[-1:], self._steps(learner, data, done, clock)):
                    losses.append(step)
                    state = after(step)
                    yield step
                    if not self._is_due(step.number) and not clock.is_over:
                        continue
                    event = self._validated(learner, data, losses, best)
                    best = task.objective(event.metrics) if event.is_best else best
                    log.append(event)
                    log.keep(event, data.heading, data.shown, data.axis)
                    losses.clear()
                    state = after(step)
                    seconds = state.seconds
                    self._keep(state)
                    yield event
            except FloatingPointError:
                raise  # weights that diverge are not worth going on from
            except BaseException:
                if state is not None:
                    self._keep(state)
                raise
            yield Finished(tuple(log.entries), data, seconds)

    def _keep(self, state: Checkpoint) -> None:
        state.write(self.folder)
        self.kept = state.step

    def _steps(self, learner: Learner, data: TrainingData, done: int, clock: "_Clock") -> Iterator[Step]:
        """Take the steps that are left in the time; all processes wait for the first one's validations."""
        steps = self.task.recipe.steps
        with closing(self.task.batches(data, done)) as batches:
            for step in range(done, steps):
                place = max(step, min(steps - 1, int(steps * clock.share)))
                losses = learner.step(step, next(batches), place)
                loss = losses.pop("loss")
                clock.look()
                yield Step(step + 1, loss, losses)
                if self._is_due(step + 1):
                    self.accelerator.wait_for_everyone()
                if clock.is_over:
                    return

    def _is_due(self, step: int) -> bool:
        """Whether a validation follows a step, from 1."""
        recipe: Recipe = self.task.recipe
        return step % recipe.validate_every == 0 or step == recipe.steps

    def _validated(self, learner: Learner, data: TrainingData, steps: Sequence[Step], best: float) -> Validation:
        """Validate the averaged module, and keep its weights."""
        with torch.no_grad():
            metrics = dict(self.task.validate(learner.average.eval(), data))
        learner.module.train()
        error, identity_error = metrics.pop("error", None), metrics.pop("identity_error", None)
        number = steps[-1].number
        path = save(self.task.network(learner.average), self.folder, number)
        loss = float(np.mean([step.loss for step in steps]))
        parts = {name: float(np.mean([step.parts[name] for step in steps])) for name in steps[0].parts}
        is_best = self.task.objective(metrics) < best
        return Validation(number, loss, parts, error, identity_error, metrics, path, is_best)


class _Clock:
    """Time of a training that may be limited.

    ``began`` is of `time.perf_counter`, ``minutes`` the limit or None. ``is_over`` is as it was at the last `look`.
    """

    def __init__(self, began: float, minutes: float | None) -> None:
        self._from, self.is_over = time.perf_counter(), False
        self._end = math.inf if minutes is None else began + 60 * minutes

    def look(self) -> None:
        """See whether the time is over."""
        self.is_over = time.perf_counter() >= self._end

    @property
    def share(self) -> float:
        """Share of the time for steps that is over, 0..1; 0 without a limit."""
        return min(1.0, (time.perf_counter() - self._from) / max(self._end - self._from, 1e-9))


def accelerator(device: str) -> Accelerator:
    """Device and processes of a training, as ``accelerate launch`` or ``torchrun`` started them.

    Precision is the recipe's affair, not accelerate's; ``device`` is as ``--device`` takes it.

    Raises:
        UsageError: no such device here.
    """
    place = resolve_device(device)
    if ":" in place:
        torch.cuda.set_device(place)
    handlers = [
        DistributedDataParallelKwargs(find_unused_parameters=True),  # a stage may leave a part of a network alone
        InitProcessGroupKwargs(timeout=timedelta(days=1)),  # the others wait while the first one prepares
    ]
    return Accelerator(mixed_precision="no", cpu=place == "cpu", kwargs_handlers=handlers)
