"""A small training that several processes can share: they import it by its name."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from kcompress.training.steps import averaged, place, steps


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


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    assert place() == (rank, 2)
    model, average, *_ = trained(Few(exact_from=0.0), numbers(2, rank))
    torch.save((model.state_dict(), average.state_dict()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()
