"""The training loop: yields events, draws nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.training.data import Pair, batches, tensor
from kcompress.training.recipe import Recipe
from kcompress.training.steps import save


@dataclass(frozen=True)
class Validation:
    """State after ``step`` steps: mean squared errors on the 0..1 scale, and where the weights were saved.

    ``loss`` is the mean over the steps since the last validation; ``error`` is that on the held-out
    pictures, and ``identity_error`` what an untouched picture would give there.
    """

    step: int
    loss: float
    error: float
    identity_error: float
    checkpoint: Path


def apply(model: nn.Module, image: Tensor) -> Tensor:
    """Run a network that wants multiples of 8 on any size: (N, 3, H, W) -> (N, 3, H, W)."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
    result: Tensor = model(padded)[..., :height, :width]
    return result


@torch.no_grad()
def _errors(model: nn.Module, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Mean squared error over the pictures with the network, and without it."""
    with_network, without = 0.0, 0.0
    for pair in pairs:
        original, target = tensor([pair.original]), tensor([pair.target])
        with_network += F.mse_loss(apply(model, original).clamp(0, 1), target).item()
        without += F.mse_loss(original, target).item()
    return with_network / len(pairs), without / len(pairs)


def train(
    model: nn.Module, recipe: Recipe, pairs: Sequence[Pair], held_out: Sequence[Pair], checkpoints: Path
) -> Iterator[Validation]:
    """Train with mean squared error (Kuchen paper, equation 8) and Adam.

    Raises:
        FloatingPointError: the loss is no longer finite; the checkpoints so far stay.
    """
    checkpoints.mkdir(parents=True, exist_ok=True)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(model.parameters(), recipe.learning_rate)
    losses: list[float] = []
    for step, (original, target) in enumerate(batches(pairs, recipe), start=1):
        loss = F.mse_loss(apply(model, original), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
        if losses[-1] != losses[-1] or losses[-1] == float("inf"):
            raise FloatingPointError(f"the loss is {losses[-1]} at step {step}")
        if step % recipe.validate_every == 0 or step == recipe.steps:
            error, identity = _errors(model, held_out)
            path = save(model, checkpoints, step)
            yield Validation(step, sum(losses) / len(losses), error, identity, path)
            losses.clear()
        if step == recipe.steps:
            return
