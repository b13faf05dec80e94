"""Interrupted trainings: they go on as if nothing had happened."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from training.test_trainer import LONG, alike
from training.toy import ToyTask, of, stopped, trained

from kcompress.training.checkpoint import STATE, Checkpoint
from kcompress.training.events import Finished, Step, Validation
from kcompress.training.learner import Learner
from kcompress.training.log import FILE, Log
from kcompress.training.trainer import Trainer, accelerator

pytestmark = pytest.mark.usefixtures("one_thread")
WEIGHTS = ("step-000020", "step-000040", "step-000060", "best")


def assert_ends_alike(whole: Path, parts: Path) -> None:
    assert all(alike(whole / f"{name}.safetensors", parts / f"{name}.safetensors") for name in WEIGHTS)
    assert (whole / FILE).read_text() == (parts / FILE).read_text()


def without_paths(events: list[Any]) -> list[Validation]:
    return [replace(state, checkpoint=Path()) for state in of(Validation, events)]


@pytest.mark.parametrize(
    ("step", "averaging"), [(7, 0.5), (20, 0.5), (33, 0.5), (33, 0.0), (60, 0.5)],
    ids=["before the first validation", "when one is due", "later", "without an average", "at the end"],
)  # fmt: skip
def test_going_on_after_an_interruption_equals_never_having_stopped(
    tmp_path: Path, step: int, averaging: float
) -> None:
    """Noise of the loss included: the state of the random numbers is kept. The last step comes once more."""
    task = ToyTask(replace(LONG, noise=0.1, averaging=averaging))
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    events = trained(task, whole)
    stopped(task, parts, step)
    torch.rand(5)  # what else is drawn does not matter
    rest = trained(task, parts, resume=True)
    assert of(Step, rest) == of(Step, events)[step - 1 :]
    assert without_paths(rest) == without_paths(events)[(step - 1) // 20 :]
    assert_ends_alike(whole, parts)
    assert rest[-1].entries == events[-1].entries
    (again,) = of((Step, Validation, Finished), trained(task, parts, resume=True))
    assert again.entries == rest[-1].entries and again.seconds == rest[-1].seconds, "nothing is left to do"


def test_interrupted_again_and_again_it_ends_the_same(tmp_path: Path) -> None:
    task = ToyTask(replace(LONG, noise=0.1))
    trained(task, tmp_path / "whole")
    for step in (3, 4, 20, 21, 59):
        trainer = Trainer(task, tmp_path / "parts", accelerator("cpu"))
        events = trainer.run(resume=True)
        assert trainer.kept is None
        while not (isinstance(event := next(events), Step) and event.number == step):
            pass
        events.close()
        assert trainer.kept == step
    trained(task, tmp_path / "parts", resume=True)
    assert_ends_alike(tmp_path / "whole", tmp_path / "parts")


def test_an_interruption_within_a_step_keeps_those_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights have moved already."""
    task = ToyTask(replace(LONG, noise=0.1))
    trained(task, tmp_path / "whole")
    take = Learner.step

    def interrupted(self: Learner, number: int, *arguments: Any) -> dict[str, float]:
        found = take(self, number, *arguments)
        if number == 13:
            raise KeyboardInterrupt
        return found

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Learner, "step", interrupted)
        trained(task, tmp_path / "parts")
    state = Checkpoint.read(tmp_path / "parts")
    assert state is not None and state.step == 13
    trained(task, tmp_path / "parts", resume=True)
    assert_ends_alike(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("place", ["validate", "plot"])
def test_an_interrupted_validation_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Its row is in the log already, or not."""
    task = ToyTask(replace(LONG, noise=0.1))
    trained(task, tmp_path / "whole")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    stopped(task, tmp_path / "parts", 25)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(*((ToyTask, "validate") if place == "validate" else (Log, "keep")), interrupted)
        trained(task, tmp_path / "parts", resume=True)
    rest = trained(task, tmp_path / "parts", resume=True)
    assert [state.step for state in of(Validation, rest)] == [40, 60]
    assert_ends_alike(tmp_path / "whole", tmp_path / "parts")


def test_going_on_after_a_kill_begins_behind_the_last_validation(tmp_path: Path) -> None:
    task = ToyTask(replace(LONG, noise=0.1))
    trained(task, tmp_path / "whole")
    for event in (events := Trainer(task, tmp_path / "parts", accelerator("cpu")).run()):
        if isinstance(event, Step) and event.number == 33:
            shutil.copytree(tmp_path / "parts", tmp_path / "killed")
            break
    events.close()
    rest = trained(task, tmp_path / "killed", resume=True)
    assert [step.number for step in of(Step, rest)] == list(range(21, 61))
    assert_ends_alike(tmp_path / "whole", tmp_path / "killed")


def test_a_state_from_before_steps_were_kept(tmp_path: Path) -> None:
    trained(ToyTask(), tmp_path)
    raw = torch.load(tmp_path / STATE, weights_only=True)
    del raw["unvalidated"]
    torch.save(raw, tmp_path / STATE)
    (ended,) = of((Step, Validation, Finished), trained(ToyTask(), tmp_path, resume=True))
    assert [entry.step for entry in ended.entries] == [4, 6]
