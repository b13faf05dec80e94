"""Optimiser steps of the trainings whose weights are averaged: warm-up and cosine, bfloat16 first, float32 last."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from kcompress.training.schedule import cosine

BatchT = TypeVar("BatchT")
ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Pace(Protocol):
    """The part of a recipe that says how fast to go; `ArtifactRecipe` explains each number."""

    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def warmup(self) -> int: ...
    @property
    def averaging(self) -> float: ...
    @property
    def exact_from(self) -> float: ...
    @property
    def validate_every(self) -> int: ...


@dataclass(frozen=True)
class Step(Generic[BatchT]):
    """State after a step.

    Attributes:
        number: of the step, from 1.
        loss: of its batch.
        batch: that it saw.
        is_judged: a validation is due.
    """

    number: int
    loss: float
    batch: BatchT
    is_judged: bool


def steps(
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    pace: Pace,
    batches: Iterator[BatchT],
    inputs: Callable[[BatchT], Any],
    objective: Callable[[Tensor, BatchT], Tensor],
    first: int = 0,
    rate: Callable[[int], float] | None = None,
) -> Iterator[Step[BatchT]]:
    """Train; where torch.distributed is at work, all processes take the same steps, by their mean gradient.

    Args:
        model: in training.
        average: a copy of it, which becomes the exponential average of its weights.
        optimiser: of the model's parameters.
        pace: of the recipe.
        batches: endless.
        inputs: what the model sees of a batch.
        objective: of the model's output (float32) and the batch.
        first: number of steps that were taken before.
        rate: learning rate of a step, from 0. [default: the pace's, by half a cosine]

    Raises:
        FloatingPointError: the loss is no longer finite.
    """
    forward = nn.parallel.DistributedDataParallel(model) if place()[1] > 1 else model
    kind = next(model.parameters()).device.type
    for step in range(first, pace.steps):
        batch = next(batches)
        for group in optimiser.param_groups:
            group["lr"] = rate(step) if rate else falling(pace, step)
        with torch.autocast(kind, torch.bfloat16, enabled=step < pace.exact_from * pace.steps):
            result = forward(inputs(batch))
        loss = objective(result.float(), batch)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step + 1}")
        _approach(average, model, min(pace.averaging, step / (step + 10)))
        number = step + 1
        yield Step(number, loss.item(), batch, number % pace.validate_every == 0 or number == pace.steps)


def falling(pace: Pace, step: int) -> float:
    """Learning rate of a step, from 0: a warm-up, then half a cosine down to nothing."""
    return cosine(step, steps=pace.steps, highest=pace.learning_rate, warmup=pace.warmup)


def place() -> tuple[int, int]:
    """Which process this is, and of how many."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def averaged(model: ModuleT) -> ModuleT:
    """A copy to average into, never in training itself."""
    return copy.deepcopy(model).eval()


@torch.no_grad()
def _approach(average: nn.Module, model: nn.Module, keep: float) -> None:
    state = model.state_dict()
    for name, old in average.state_dict().items():
        if old.is_floating_point():
            old.lerp_(state[name], 1 - keep)
        else:
            old.copy_(state[name])  # batch norm counts its batches


def save(module: nn.Module, folder: Path, step: int) -> Path:
    """Write a checkpoint; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{step:06d}.safetensors"
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    return path
