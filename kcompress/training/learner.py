"""State that changes in a training: the loss module, its moving average and the optimiser; and its steps."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor, nn

from kcompress.errors import UsageError
from kcompress.training.checkpoint import Checkpoint
from kcompress.training.task import Task


class Learner:
    """A task's loss module in training.

    Several processes take the same steps: each sees its share of a batch, and all follow the mean gradient.

    Attributes:
        module: in training.
        average: exponential moving average of its weights; the module itself where the recipe wants none.

    Raises:
        UsageError: weights to start from that do not fit, or a batch that cannot be shared.
    """

    def __init__(self, task: Task[Any, Any, Any], accelerator: Accelerator) -> None:
        recipe = self._recipe = task.recipe
        processes = accelerator.num_processes
        if recipe.batch % processes:
            raise UsageError(f"--batch {recipe.batch} is no multiple of {processes} processes. Give another.")
        self._task, self._accelerator = task, accelerator
        torch.manual_seed(recipe.seed)
        self.module = task.build().to(accelerator.device).train()  # as it says itself, such as with batch norm at rest
        if task.channels_last:
            self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.module).eval() if recipe.averaging else self.module
        self._optimiser = torch.optim.AdamW(
            self.module.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._draw_apart(0)
        self._full_precision = task.full_precision_from(accelerator.device) * recipe.steps
        self._forward, self._stepper = accelerator.prepare(self.module, self._optimiser)

    def load(self, checkpoint: Checkpoint) -> None:
        """Take over the state of a checkpoint."""
        self.module.load_state_dict(checkpoint.model)
        if self.average is not self.module and checkpoint.average is not None:
            self.average.load_state_dict(checkpoint.average)
        self._optimiser.load_state_dict(checkpoint.optimiser)
        if checkpoint.random is not None:
            torch.set_rng_state(checkpoint.random)
        if checkpoint.random_cuda is not None and self._accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(checkpoint.random_cuda, self._accelerator.device)
        self._draw_apart(checkpoint.step)

    def state(self) -> dict[str, Any]:
        """Return the fields of `Checkpoint` that are this object's, as copies that no step changes."""
        device = self._accelerator.device
        found = {
            "model": self.module.state_dict(),
            "average": None if self.average is self.module else self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }
        return copy.deepcopy(found)

    def step(self, number: int, batch: Any, place: int | None = None) -> dict[str, float]:
        """Take a step, from 0; returns the loss and its parts, means over the batch.

        ``place`` is the step whose learning rate and precision are taken, by default this one's.

        Raises:
            FloatingPointError: the loss is no longer finite.
        """
        accelerator, recipe = self._accelerator, self._recipe
        batch = send_to_device(share(batch, accelerator.process_index, accelerator.num_processes), accelerator.device)
        place = number if place is None else place
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.rate(place)
        with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=place < self._full_precision):
            losses = self._forward(batch)
        means = {name: value.float().mean() for name, value in losses.items()}
        self._stepper.zero_grad()
        accelerator.backward(means["loss"])
        if self._task.clip is not None:
            accelerator.clip_grad_norm_(self.module.parameters(), self._task.clip)
        self._stepper.step()
        values = accelerator.reduce(torch.stack([value.detach() for value in means.values()]), "mean").tolist()
        found = dict(zip(means, values, strict=True))
        if not math.isfinite(found["loss"]):
            raise FloatingPointError(f"the loss is {found['loss']} at step {number + 1}")
        if self.average is not self.module:
            approach(self.average, self.module, ema_decay(recipe.averaging, number))
        return found

    def _draw_apart(self, step: int) -> None:
        """Let all processes but the first, whose noise the state keeps, draw noise of their own."""
        process = self._accelerator.process_index
        if process:
            torch.manual_seed(self._recipe.seed + step * self._accelerator.num_processes + process)


def ema_decay(highest: float, step: int) -> float:
    """Decay of the moving average at a step, from 0: min(highest, step / (step + 10)).

    The first steps, which change most, are forgotten soon.
    """
    return min(highest, step / (step + 10))


@torch.no_grad()
def approach(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move an average towards a module: average = decay * average + (1 - decay) * module."""
    state = module.state_dict()
    for name, old in average.state_dict().items():
        if old.is_floating_point():
            old.lerp_(state[name], 1 - decay)
        else:
            old.copy_(state[name])  # batch norm counts its batches


def share(batch: Any, process: int, processes: int) -> Any:
    """Part of a batch for one of several processes: of N samples, N / processes that follow each other."""
    if processes == 1:
        return batch
    if isinstance(batch, Mapping):
        return {name: share(value, process, processes) for name, value in batch.items()}
    if isinstance(batch, tuple):
        return type(batch)(*(share(value, process, processes) for value in batch))
    if isinstance(batch, Tensor | list):
        part = len(batch) // processes
        return batch[process * part : (process + 1) * part]
    return batch
