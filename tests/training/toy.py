"""A line through points: a task whose training takes milliseconds; processes import it by its name."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kcompress.training.events import Finished, Prepared, Step, Validation
from kcompress.training.export import ExportSpec
from kcompress.training.recipe import Recipe
from kcompress.training.task import Split, Task, TrainingData
from kcompress.training.trainer import Trainer, accelerator


@dataclass(frozen=True)
class ToyRecipe(Recipe):
    steps: int = 6
    batch: int = 8
    learning_rate: float = 0.1
    warmup: int = 2
    averaging: float = 0.5
    exact_from: float = 0.0
    validate_every: int = 4
    validation_pictures: int = 1
    split: float = 0.5
    seed: int = 0
    noise: float = 0.0


class Batch(NamedTuple):
    points: Tensor
    sums: list[float]


class ToyLoss(nn.Module):
    def __init__(self, line: nn.Linear, noise: float) -> None:
        super().__init__()
        self.line = line
        self.noise = noise

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        drawn = self.noise * torch.randn(len(batch.points), device=batch.points.device)
        sums = torch.tensor(batch.sums, device=batch.points.device)
        error = (self.line(batch.points)[:, 0].float() - sums + drawn).square()
        return {"loss": error + 1, "error": error.detach(), "one": torch.ones_like(error)}


def _distance(module: ToyLoss) -> float:
    return float((module.line.weight - 1).square().sum())


@dataclass(frozen=True)
class ToyTask(Task[ToyRecipe, TrainingData, Batch]):
    recipe: ToyRecipe = field(default_factory=ToyRecipe)
    distance: Callable[[ToyLoss], float | None] = _distance
    digest: str = "points"
    network_type = nn.Linear
    network_name = "toy"
    parts = ("error", "one")

    @property
    def arguments(self) -> dict[str, int]:
        return {"in_features": 3, "out_features": 1}

    def loss(self, network: nn.Linear) -> ToyLoss:
        return ToyLoss(network, self.recipe.noise)

    def network(self, module: ToyLoss) -> nn.Module:
        return module.line

    def split(self) -> Split:
        return Split(["a", "b"], ["c"], self.digest)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, TrainingData]:
        yield Prepared(1, 2)
        yield Prepared(2, 2)
        return TrainingData(trained_on=2, held_out=1, metrics=["distance"], heading="a line", shown=["distance"])

    def batch(self, data: TrainingData, number: int) -> Batch:
        points = torch.rand((self.recipe.batch, 3), generator=torch.Generator().manual_seed(number))
        return Batch(points, points.sum(1).tolist())

    def validate(self, module: ToyLoss, data: TrainingData) -> Mapping[str, float | None]:
        assert not module.training
        return {"error": 0.25, "identity_error": 0.5, "distance": self.distance(module)}

    def objective(self, metrics: Mapping[str, float | None]) -> float:
        found = metrics.get("distance")
        return float("inf") if found is None else found

    def export(self, best: Any, data: TrainingData) -> ExportSpec:
        return ExportSpec(
            summary="a line", card={"codec": "jpeg"},
            recipe={"loss": "squares"}, data=f"{data.trained_on} points", metrics={"found": best.metrics},
            details={"between": 1}, graph=False,
        )  # fmt: skip


def trained(task: Task[Any, Any, Any], folder: Path, *, resume: bool = False, device: str = "cpu") -> list[Any]:
    """All events of a training."""
    return list(Trainer(task, folder, accelerator(device)).run(resume=resume))


def of(kind: Any, events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def validations(task: Task[Any, Any, Any], folder: Path, *, resume: bool = False) -> list[Validation]:
    return of(Validation, trained(task, folder, resume=resume))


def stopped(task: Task[Any, Any, Any], folder: Path, step: int, device: str = "cpu") -> None:
    """A training that is interrupted after a step."""
    events = Trainer(task, folder, accelerator(device)).run()
    for event in events:
        if isinstance(event, Step) and event.number == step:
            break
    events.close()  # type: ignore[attr-defined]


def exported(task: Task[Any, Any, Any], folder: Path, finished: Finished, stem: Path, about: str) -> dict[str, Any]:
    return Trainer(task, folder, accelerator("cpu")).export(finished, stem, about)


def one_of_two(rank: int, folder: str, port: int) -> None:
    import os

    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    events = trained(ToyTask(), Path(folder) / "two")
    kinds = [type(event).__name__ for event in events]
    torch.save({"kinds": kinds, "losses": [(step.loss, dict(step.parts)) for step in of(Step, events)]},
               f"{folder}/{rank}.pt")  # fmt: skip
    torch.distributed.destroy_process_group()
