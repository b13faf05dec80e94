"""Optimiser steps: averaging, pace, and several processes that train as one."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kcompress.training.steps import averaged, place, save, steps

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass(frozen=True)
class Few:
    """A pace."""

    steps: int = 6
    learning_rate: float = 0.1
    warmup: int = 2
    averaging: float = 0.5
    exact_from: float = 0.5
    validate_every: int = 4


def numbers(every: int = 1, first: int = 0) -> Iterator[Tensor]:
    """Batches of eight points; every so many of them."""
    for number in count(first, every):
        yield torch.rand((8, 3), generator=torch.Generator().manual_seed(number))


def trained(pace: Few, batches: Iterator[Tensor]) -> tuple[nn.Module, nn.Module, list[float], list[bool]]:
    """A line through points, its average, the losses, and where a validation was due."""
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    average = averaged(model)
    optimiser = torch.optim.SGD(model.parameters(), pace.learning_rate)
    taken = list(
        steps(
            model, average, optimiser, pace, batches,
            lambda batch: batch, lambda result, batch: (result[:, 0] - batch.sum(dim=1)).square().mean(),
        )
    )  # fmt: skip
    assert [step.number for step in taken] == list(range(1, pace.steps + 1))
    return model, average, [step.loss for step in taken], [step.is_judged for step in taken]


def test_steps_lower_the_loss_and_say_when_to_judge() -> None:
    model, average, losses, judged = trained(Few(), numbers())
    assert losses[-1] < 0.8 * losses[0]
    assert judged == [False, False, False, True, False, True], "every fourth and the last"
    assert model.training and not average.training
    assert not torch.equal(model.weight, average.weight)


def test_the_average_forgets_as_fast_as_it_is_told() -> None:
    model, average, *_ = trained(Few(averaging=0.0), numbers())
    assert torch.equal(model.weight, average.weight)
    _, slow, *_ = trained(Few(averaging=1.0), numbers())
    assert (slow.weight - model.weight).abs().max() > (average.weight - model.weight).abs().max()


def test_arithmetic_is_exact_at_the_end() -> None:
    exact, *_ = trained(Few(exact_from=0.0), numbers())
    rough, *_ = trained(Few(exact_from=1.0), numbers())
    assert not torch.equal(exact.weight, rough.weight)
    assert torch.allclose(exact.weight, rough.weight, atol=0.02)


def test_a_checkpoint_holds_the_whole_module(tmp_path: Path) -> None:
    module = nn.Linear(3, 1)
    path = save(module, tmp_path / "new", 12)
    assert path.name == "step-000012.safetensors"
    assert all(torch.equal(value, load_file(path)[name]) for name, value in module.state_dict().items())


def _one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    assert place() == (rank, 2)
    model, average, *_ = trained(Few(exact_from=0.0), numbers(2, rank))
    torch.save((model.state_dict(), average.state_dict()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_batches_of_both(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    turns = numbers()
    alone = trained(Few(exact_from=0.0), (torch.cat([next(turns), next(turns)]) for _ in count()))
    for expected, one, other in zip(alone[:2], first, second, strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(one[name], other[name])
            assert torch.allclose(one[name], value, atol=1e-6)
    assert place() == (0, 1)
