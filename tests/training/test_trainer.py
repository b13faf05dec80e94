"""The training loop, with a task of milliseconds: it learns, goes on as if nothing had happened, keeps what is good."""

import json
import socket
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training.toy import Batch, ToyRecipe, ToyTask, exported, of, one_of_two, trained, validations

from kcompress.csv_rows import Rows
from kcompress.errors import InputError, OutputError, UsageError, WeightsError
from kcompress.inference.weights import Weights, open_weights
from kcompress.training.checkpoint import STATE, Checkpoint, save, warm_start
from kcompress.training.events import Finished, Prepared, Step, Validation
from kcompress.training.learner import Learner, approach, ema_decay, share
from kcompress.training.log import FILE, Entry, Log, plot
from kcompress.training.recipe import cosine
from kcompress.training.trainer import Trainer, accelerator

pytestmark = pytest.mark.usefixtures("one_thread")
LONG = ToyRecipe(steps=60, validate_every=20, warmup=5)


def alike(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_it_learns_and_tells_what_it_does(tmp_path: Path) -> None:
    events = trained(ToyTask(LONG), tmp_path / "new/folder")
    assert events[:2] == [Prepared(1, 2), Prepared(2, 2)] and isinstance(events[-1], Finished)
    steps, found = of(Step, events), of(Validation, events)
    assert [step.number for step in steps] == list(range(1, 61)) and [state.step for state in found] == [20, 40, 60]
    assert found[2].loss < found[0].loss and steps[-1].loss < 0.8 * steps[0].loss
    assert found[1].loss == pytest.approx(np.mean([step.loss for step in steps[20:40]]))
    assert all(step.loss == pytest.approx(step.parts["error"] + step.parts["one"]) for step in steps)
    assert found[1].parts == pytest.approx({"error": np.mean([step.parts["error"] for step in steps[20:40]]), "one": 1})
    assert found[0].metrics.keys() == {"distance"} and (found[0].error, found[0].identity_error) == (0.25, 0.5)
    assert [entry.step for entry in events[-1].entries] == [20, 40, 60] and 0 < events[-1].seconds < 60
    assert (tmp_path / "new/folder/log.png").read_bytes().startswith(b"\x89PNG")
    header = (tmp_path / "new/folder/log.csv").read_text().splitlines()[0]
    assert header == "step,loss,error,identity_error,distance,error_loss,one_loss"


def test_validations_come_when_they_are_due_and_after_the_last_step(tmp_path: Path) -> None:
    assert [state.step for state in validations(ToyTask(), tmp_path)] == [4, 6]


def test_the_best_is_known_and_kept(tmp_path: Path) -> None:
    distances = iter([None, -3.0, -2.0, -5.0, -4.0])
    task = ToyTask(replace(LONG, steps=10, validate_every=2), lambda module: next(distances))
    found = validations(task, tmp_path)
    assert [state.is_best for state in found] == [False, True, False, True, False]
    assert alike(tmp_path / "best.safetensors", found[3].checkpoint)
    assert not alike(tmp_path / "best.safetensors", found[4].checkpoint)


def test_a_folder_that_holds_a_training_is_not_overwritten(tmp_path: Path) -> None:
    trained(ToyTask(), tmp_path)
    with pytest.raises(OutputError, match=r"holds a training. Give --resume"):
        trained(ToyTask(), tmp_path)


def test_another_training_does_not_go_on(tmp_path: Path) -> None:
    trained(ToyTask(), tmp_path)
    with pytest.raises(UsageError, match=r"--resume: batch was 8 before and is 2 now"):
        trained(ToyTask(ToyRecipe(batch=2)), tmp_path, resume=True)
    with pytest.raises(UsageError, match="labels or pictures are others than before"):
        trained(ToyTask(digest="other points"), tmp_path, resume=True)
    assert trained(ToyTask(ToyRecipe(validate_every=3)), tmp_path, resume=True)
    (tmp_path / STATE).write_bytes(b"spoiled")
    with pytest.raises(InputError, match=r"is no state of a training"):
        trained(ToyTask(), tmp_path, resume=True)


def test_a_state_knows_what_made_it(tmp_path: Path) -> None:
    assert Checkpoint.read(tmp_path) is None
    events = trained(ToyTask(), tmp_path)
    state = Checkpoint.read(tmp_path)
    assert state is not None and state.step == 6 and state.recipe == asdict(ToyRecipe())
    assert state.seconds == events[-1].seconds and state.best == min(
        event.metrics["distance"] for event in of(Validation, events)
    )
    raw = torch.load(tmp_path / STATE, weights_only=True)
    assert {
        "step",
        "recipe",
        "data",
        "seconds",
        "best",
        "model",
        "average",
        "optimiser",
        "random",
        "unvalidated",
    } == raw.keys()
    assert list(raw["unvalidated"]) == []


def test_a_diverging_loss_stops_and_keeps_the_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"the loss is (inf|nan) at step"):
        trained(ToyTask(ToyRecipe(learning_rate=1e30, validate_every=1, steps=40)), tmp_path)
    checkpoint = load_file(sorted(tmp_path.glob("step-*.safetensors"))[-1])
    state = Checkpoint.read(tmp_path)
    assert all(value.isfinite().all() for value in checkpoint.values()) and state is not None and state.step >= 1
    assert list(state.unvalidated) == [], "weights that diverge are not kept"


def test_what_ships_is_the_best(tmp_path: Path) -> None:
    task = ToyTask(LONG)
    events = trained(task, tmp_path / "run")
    card = exported(task, tmp_path / "run", events[-1], tmp_path / "line", "made up")
    assert list(card) == [
        "summary", "network", "codec", "recipe", "data", "between", "training_minutes", "held_out_pictures",
        "best_step", "found", "licence", "parameters",
    ]  # fmt: skip
    assert card["data"] == "2 points, made up" and card["recipe"] == {**asdict(LONG), "loss": "squares"}
    best = min(of(Validation, events), key=lambda state: state.metrics["distance"])
    assert card["best_step"] == best.step and card["found"] == best.metrics and card["held_out_pictures"] == 1
    assert json.loads((tmp_path / "line.json").read_text()) == card
    assert alike(tmp_path / "line.safetensors", best.checkpoint)
    assert json.loads(open_weights(tmp_path / "line.safetensors").metadata["recipe"]) == card["recipe"]


def test_without_a_validation_there_is_nothing_to_export(tmp_path: Path) -> None:
    finished = replace(trained(ToyTask(), tmp_path)[-1], entries=())
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        exported(ToyTask(), tmp_path, finished, tmp_path / "line", "")


def test_the_average_forgets_as_fast_as_it_is_told() -> None:
    assert [ema_decay(0.9, step) for step in (0, 10, 90, 1000)] == [0, 0.5, 0.9, 0.9]
    module, average = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    with torch.no_grad():
        module.weight.fill_(2.0)
    module(torch.rand(4, 2))
    approach(average, module, 0.75)
    assert average.weight.tolist() == [1.25, 1.25] and average.num_batches_tracked == 1, "batches are counted"


def learner(recipe: ToyRecipe, clip: float | None = 1.0) -> tuple[Learner, list[float]]:
    """After all steps, and its losses."""

    @dataclass(frozen=True)
    class Clipped(ToyTask):
        pass

    Clipped.clip = clip  # type: ignore[misc]
    task = Clipped(recipe)
    found = Learner(task, accelerator("cpu"))
    return found, [found.step(number, task.batch(None, number))["loss"] for number in range(recipe.steps)]  # type: ignore[arg-type]


def test_an_average_of_the_weights_or_none() -> None:
    usual, slow, none = (learner(ToyRecipe(averaging=averaging))[0] for averaging in (0.1, 0.9, 0.0))
    assert none.average is none.module and usual.module.training and not usual.average.training
    apart = [
        float((each.average.line.weight - each.module.line.weight).detach().abs().max())  # type: ignore[union-attr]
        for each in (none, usual, slow)
    ]
    assert 0 == apart[0] < apart[1] < apart[2]


def test_arithmetic_is_exact_at_the_end() -> None:
    exact, rough = (learner(ToyRecipe(exact_from=share))[0].module.line.weight for share in (0.0, 1.0))  # type: ignore[union-attr]
    assert not torch.equal(exact, rough) and torch.allclose(exact, rough, atol=0.02)


def test_gradients_are_clipped_or_left_alone() -> None:
    norms = []
    for clip in (0.1, None):
        module = learner(ToyRecipe(steps=1), clip)[0].module
        norms.append(float(torch.cat([each.grad.flatten() for each in module.parameters()]).norm()))  # type: ignore[union-attr]
    assert norms[0] == pytest.approx(0.1, rel=1e-3) and norms[1] > 0.5


def test_a_linear_warm_up_then_a_cosine_down_to_nothing() -> None:
    rates = [cosine(step, steps=1000, highest=0.1, warmup=100) for step in range(1000)]
    assert rates[0] == pytest.approx(0.001) and rates[49] == pytest.approx(0.05)
    assert rates[99] == rates[100] == max(rates) == 0.1
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx(0.05)
    assert 0 < rates[999] < 1e-5 * 0.1
    recipe = ToyRecipe(steps=1000, warmup=100)
    assert [recipe.rate(step) for step in range(1000)] == rates


def test_a_training_that_ends_in_its_warm_up() -> None:
    assert [cosine(step, steps=4, highest=1, warmup=4) for step in range(4)] == [0.25, 0.5, 0.75, 1]
    assert cosine(2, steps=3, highest=1, warmup=10) == pytest.approx(0.3)


def test_without_a_warm_up() -> None:
    assert cosine(0, steps=10, highest=0.2, warmup=0) == 0.2


def test_the_rate_is_the_recipes(tmp_path: Path) -> None:
    """At the end of the cosine hardly anything moves any more."""
    trained(ToyTask(ToyRecipe(steps=40, validate_every=1, averaging=0.0)), tmp_path)
    steps = [load_file(tmp_path / f"step-{number:06d}.safetensors") for number in (20, 21, 39, 40)]
    moved = [max(float((a[key] - b[key]).abs().max()) for key in a) for a, b in (steps[:2], steps[2:])]
    assert 0 < moved[1] < 0.1 * moved[0]


def test_a_checkpoint_holds_the_whole_module(tmp_path: Path) -> None:
    module = nn.Linear(3, 1)
    path = save(module, tmp_path, 12)
    assert path.name == "step-000012.safetensors"
    assert all(torch.equal(value, load_file(path)[name]) for name, value in module.state_dict().items())


def test_a_start_from_weights_of_the_same_sizes_alone(tmp_path: Path) -> None:
    given = nn.Linear(3, 1)
    weights = Weights(save(given, tmp_path, 1), {"arguments": '{"width": 16, "depth": 2}'})
    module = nn.Linear(3, 1)
    warm_start(module, None, {"width": 8})
    warm_start(module, weights, {"width": 16, "depth": 2})
    assert torch.equal(module.weight, given.weight)
    with pytest.raises(UsageError, match=r"has width 16\. Give --width 16"):
        warm_start(module, weights, {"width": 8, "depth": 2})
    with pytest.raises(UsageError, match=r"has depth 2\. Give weights with depth 3"):
        warm_start(module, weights, {"width": 16, "depth": 3})


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_a_start_from_a_file_that_is_none_is_told(tmp_path: Path, content: bytes | None) -> None:
    start = tmp_path / "old.safetensors"
    if content is not None:
        start.write_bytes(content)
    with pytest.raises(WeightsError, match=r"old\.safetensors cannot be read .*\. Give a \.safetensors file"):
        warm_start(nn.Linear(3, 1), start, {})


def test_processes_share_a_batch() -> None:
    numbers = torch.arange(6)
    whole = (Batch(numbers, [*range(6)]), {"one": numbers}, "all")
    assert share(whole[0], 0, 1) is whole[0]
    parts = [share(whole[0], process, 3) for process in range(3)]
    assert [part.points.tolist() for part in parts] == [part.sums for part in parts] == [[0, 1], [2, 3], [4, 5]]
    assert all(isinstance(part, Batch) for part in parts)
    assert share(whole[1], 1, 2)["one"].tolist() == [3, 4, 5] and share("all", 1, 2) == "all"


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """By the mean gradient of their shares; the first alone validates."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    alone = trained(ToyTask(), tmp_path / "one")
    losses = [step.loss for step in of(Step, alone)]
    for found in (first, second):
        assert [loss for loss, _ in found["losses"]] == pytest.approx(losses, rel=1e-5)
        assert [parts["error"] for _, parts in found["losses"]] == pytest.approx(
            [loss - 1 for loss in losses], rel=1e-4
        )
    assert first["kinds"] == [type(event).__name__ for event in alone]
    assert second["kinds"] == [kind for kind in first["kinds"] if kind != "Validation"]
    for name in ("step-000004", "step-000006", "best"):
        one, two = (load_file(tmp_path / place / f"{name}.safetensors") for place in ("one", "two"))
        assert all(torch.allclose(one[key], two[key], atol=1e-6) for key in one)


def test_a_batch_that_cannot_be_shared() -> None:
    class Three:
        num_processes = 3

    with pytest.raises(UsageError, match=r"--batch 8 is no multiple of 3 processes"):
        Learner(ToyTask(), Three())  # type: ignore[arg-type]


def _state(step: int, **metrics: float | None) -> Validation:
    return Validation(step, 0.1 / step, {"part": 0.5}, 0.2 / step, 0.3, metrics, Path("x"), True)


def test_the_log_goes_on_where_the_training_does(tmp_path: Path) -> None:
    log = Log(tmp_path, ["size", "bd"], ["part"])
    for step in (10, 20, 30):
        log.append(_state(step, size=-step, bd=None if step == 20 else 1.5))
    log.close()
    later = Log(tmp_path, ["size", "bd"], ["part"], after=20)
    later.append(_state(40, size=-4, bd=2))
    later.close()
    rows = Rows(Entry, ["size", "bd", "part_loss"]).read(tmp_path / FILE)
    assert [row.step for row in rows] == [10, 20, 40] and rows == later.entries
    assert [row.metrics for row in rows] == [{"size": -10, "bd": 1.5}, {"size": -20}, {"size": -4, "bd": 2}]
    assert [row.scores["part_loss"] for row in rows] == [0.5] * 3
    Log(tmp_path, ["size", "bd"]).close()
    assert Rows(Entry, ["size", "bd"]).read(tmp_path / FILE) == []


def test_a_log_without_columns_for_parts_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("step,loss,error,identity_error,size\n10,0.5,,,-1.5\n20,0.4,,,-2.0\n")
    log = Log(tmp_path, ["size"], ["part"], after=10)
    log.append(_state(20, size=-3.0))
    log.close()
    assert (tmp_path / FILE).read_text().splitlines() == [
        "step,loss,error,identity_error,size,part_loss", "10,0.5,,,-1.5,", "20,0.005,0.01,0.3,-3.0,0.5",
    ]  # fmt: skip
    with pytest.raises(InputError, match="has other columns"):
        Log(tmp_path, ["other"], ["part"], after=10)


def test_the_plot_shows_what_is_there() -> None:
    entries = [Entry(step, 1 / step, 2 / step, 3.0, {"size": -1.0}) for step in (1, 2, 3)]
    shown = plot(entries, ["size", "bd"], "jpeg 75")
    assert shown.startswith(b"\x89PNG") and shown != plot(entries, [], "jpeg 75") != plot(entries[:2], [], "jpeg 75")


def test_a_limit_of_time_ends_it_with_a_validation_and_a_low_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock ticks a second at each look."""
    ticks = count()
    monkeypatch.setattr("kcompress.training.trainer.time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    task = ToyTask(ToyRecipe(steps=1000, validate_every=400))
    rates: list[float] = []
    rate = ToyRecipe.rate
    monkeypatch.setattr(ToyRecipe, "rate", lambda recipe, step: rates.append(rate(recipe, step)) or rates[-1])
    events = list(Trainer(task, tmp_path, accelerator("cpu"), minutes=1).run())
    steps = of(Step, events)
    assert 10 < len(steps) < 60 and [state.step for state in of(Validation, events)] == [len(steps)]
    assert len(rates) == len(steps) and rates[-1] < 0.02 * max(rates)
    assert isinstance(events[-1], Finished) and events[-1].entries[-1].step == len(steps)
