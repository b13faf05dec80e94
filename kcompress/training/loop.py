"""The training loop: yields events, draws nothing."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference.batches import tensor
from kcompress.training.data import Batches, Pair, prefetched
from kcompress.training.recipe import Recipe
from kcompress.training.schedule import cosine
from kcompress.training.state import STATE, keep, opened
from kcompress.training.steps import save


@dataclass(frozen=True)
class Prepared:
    """Pictures that were looked at before the first step, of how many."""

    done: int
    total: int


@dataclass(frozen=True)
class Step:
    """A step that is done: its number from 1, and its loss."""

    number: int
    loss: float


@dataclass(frozen=True)
class Validation:
    """State after some steps.

    Attributes:
        step: number.
        loss: mean over the steps since the last validation.
        error: mean squared error against the labels of the held-out pictures, 0..1 scale; None without labels.
        identity_error: what an untouched picture would give there.
        figures: with the real encoder; the first process alone knows them.
        checkpoint: where the weights were saved.
        is_best: better than all before.
    """

    step: int
    loss: float
    error: float | None
    identity_error: float | None
    figures: Mapping[str, float | None]
    checkpoint: Path
    is_best: bool


def apply(model: nn.Module, image: Tensor) -> Tensor:
    """Run a network that wants multiples of 8 on any size: (N, 3, H, W) -> (N, 3, H, W)."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
    result: Tensor = model(padded)[..., :height, :width]
    return result


@torch.no_grad()
def errors(model: nn.Module, pairs: Sequence[Pair], device: torch.device) -> tuple[float, float]:
    """Mean squared error over the pictures with the network, and without it."""
    with_network, without = 0.0, 0.0
    for pair in pairs:
        original, target = (tensor([pixels]).to(device) for pixels in (pair.original, pair.target))
        with_network += F.mse_loss(apply(model, original).clamp(0, 1), target).item()
        without += F.mse_loss(original, target).item()
    return with_network / len(pairs), without / len(pairs)


def train(
    accelerator: Accelerator,
    model: nn.Module,
    recipe: Recipe,
    pairs: Sequence[Pair],
    held_out: Sequence[Pair],
    folder: Path,
    judge: Callable[[nn.Module], Mapping[str, float | None]],
    decides: str,
    data: str = "",
    *,
    resume: bool = False,
) -> Iterator[Step | Validation]:
    """Train with mean squared error (Kuchen paper, equation 8) and Adam.

    Args:
        accelerator: device, precision, and the other processes.
        model: from its start.
        recipe: how.
        pairs: to train on.
        held_out: to validate with.
        folder: for checkpoints; exists.
        judge: figures of a network with the real encoder.
        decides: the figure by which the best checkpoint is known, the lower the better.
        data: digest of the pairs' source.
        resume: go on with the state in the folder, if there is one.

    Raises:
        FloatingPointError: the loss is no longer finite; the checkpoints so far stay.
        InputError: too few patches; a state that is none.
        UsageError: the state belongs to another recipe; a batch cannot be shared.
    """
    batches = Batches(pairs, recipe, accelerator.process_index, accelerator.num_processes)
    model.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate)
    done, best, before = 0, math.inf, time.perf_counter()
    losses: list[float] = []
    if resume and (folder / STATE).is_file():
        # A cosine's rates depend on where it ends.
        free = ("validate_every", "steps") if recipe.schedule == "constant" else ("validate_every",)
        state = opened(folder, recipe, data, free)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        done, best, before = state["step"], state["best"], before - state["seconds"]
    seen, prepared = accelerator.prepare(model, optimiser)
    stream = prefetched(batches.__getitem__, 3, done)
    for step in range(done, recipe.steps):
        originals, targets = (part.to(accelerator.device) for part in next(stream))
        for group in optimiser.param_groups:
            group["lr"] = _rate(recipe, step)
        loss = F.mse_loss(apply(seen, originals).float(), targets)
        prepared.zero_grad()
        accelerator.backward(loss)
        prepared.step()
        losses.append(float(accelerator.reduce(loss.detach(), "mean")))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss is {losses[-1]} at step {step + 1}")
        number = step + 1
        yield Step(number, losses[-1])
        if number % recipe.validate_every and number != recipe.steps:
            continue
        if accelerator.is_main_process:
            figures = judge(model)
            value = figures[decides]
            is_best = value is not None and value < best
            best = value if is_best and value is not None else best
            path = save(model, folder, number)
            yield Validation(
                number, sum(losses) / len(losses), *errors(model, held_out, accelerator.device), figures, path, is_best
            )
            state = {"best": best, "model": model.state_dict(), "optimiser": optimiser.state_dict()}
            keep(folder, recipe, number, data, time.perf_counter() - before, state)
        losses.clear()
        accelerator.wait_for_everyone()


def _rate(recipe: Recipe, step: int) -> float:
    """The learning rate of a step, from 0."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return cosine(step, steps=recipe.steps, highest=recipe.learning_rate, warmup=0)
