"""Optimiser steps: averaging, pace, and several processes that train as one."""

from itertools import count
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training.together import Few, numbers, one_of_two, trained

from kcompress.training.steps import place, save

pytestmark = pytest.mark.usefixtures("one_thread")


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


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_batches_of_both(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    turns = numbers()
    alone = trained(Few(exact_from=0.0), (torch.cat([next(turns), next(turns)]) for _ in count()))
    for expected, one, other in zip(alone[:2], first, second, strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(one[name], other[name])
            assert torch.allclose(one[name], value, atol=1e-6)
    assert place() == (0, 1)
