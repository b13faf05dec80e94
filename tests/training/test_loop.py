"""The training loop: it learns, goes on as if nothing had happened, and keeps what is good."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import nn

from kcompress.csv_rows import Rows
from kcompress.errors import InputError, UsageError
from kcompress.images import Image
from kcompress.networks.kuchen import Kuchen
from kcompress.training.data import Pair
from kcompress.training.log import FILE, Entry, Log, plot
from kcompress.training.loop import Step, Validation, train
from kcompress.training.recipe import Recipe
from kcompress.training.state import STATE, opened, seconds_spent, steps_done

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = Recipe(width=4, steps=60, patch_width=32, patch_height=20, stride=16, learning_rate=3e-3, validate_every=20)
Judged = Callable[[nn.Module], Mapping[str, float | None]]


@pytest.fixture
def pair(balloons: Image) -> Pair:
    original = balloons.pixels[:100, :120]
    return Pair(original, original // 2)  # easily learned


def run(
    pair: Pair, folder: Path, recipe: Recipe = TINY, *, resume: bool = False, judge: Judged = lambda module: {"size": 1}
) -> list[Step | Validation]:
    folder.mkdir(exist_ok=True)
    torch.manual_seed(recipe.seed)
    return list(train(
        Accelerator(cpu=True), Kuchen(recipe.width), recipe, [pair], [pair], folder, judge, "size", resume=resume
    ))  # fmt: skip


def validations(events: list[Step | Validation]) -> list[Validation]:
    return [event for event in events if isinstance(event, Validation)]


def test_training_lowers_the_error(pair: Pair, tmp_path: Path) -> None:
    events = run(pair, tmp_path)
    assert [event.number for event in events if isinstance(event, Step)] == list(range(1, 61))
    states = validations(events)
    assert [state.step for state in states] == [20, 40, 60]
    assert states[-1].error < 0.5 * states[-1].identity_error
    identity = np.square(pair.original / 255 - pair.target / 255).mean()
    assert states[0].identity_error == pytest.approx(identity)
    losses = [event.loss for event in events if isinstance(event, Step)]
    assert states[1].loss == pytest.approx(np.mean(losses[20:40]))


def test_the_best_is_known(pair: Pair, tmp_path: Path) -> None:
    figures = iter([None, -3.0, -2.0, -5.0])
    states = validations(run(pair, tmp_path, replace(TINY, steps=8, validate_every=2),
                             judge=lambda module: {"size": next(figures)}))  # fmt: skip
    assert [state.is_best for state in states] == [False, True, False, True]


def test_going_on_equals_never_having_stopped(pair: Pair, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=200, validate_every=100)
    whole = run(pair, tmp_path / "whole", recipe)
    first = run(pair, tmp_path / "parts", replace(recipe, steps=100))
    assert steps_done(tmp_path / "parts") == 100
    second = run(pair, tmp_path / "parts", recipe, resume=True)
    assert [event for event in [*first, *second] if isinstance(event, Step)] == [
        event for event in whole if isinstance(event, Step)
    ]
    names = ["step-000100.safetensors", "step-000200.safetensors"]
    for name in names:
        one, other = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert run(pair, tmp_path / "parts", recipe, resume=True) == []


def test_a_cosine_ends_in_nothing_and_knows_its_end(pair: Pair, tmp_path: Path) -> None:
    recipe = replace(TINY, schedule="cosine", steps=40, validate_every=1)
    run(pair, tmp_path, recipe)
    steps = [load_file(tmp_path / f"step-{number:06d}.safetensors") for number in (20, 21, 39, 40)]
    moved = [max(float((a[key] - b[key]).abs().max()) for key in a) for a, b in (steps[:2], steps[2:])]
    assert 0 < moved[1] < 0.05 * moved[0]
    with pytest.raises(UsageError, match=r"--resume: steps was 40 before and is 80 now"):
        run(pair, tmp_path, replace(recipe, steps=80), resume=True)


def test_going_on_after_a_kill_repeats_the_steps_since_the_last_state(pair: Pair, tmp_path: Path) -> None:
    torch.manual_seed(0)
    stream = train(Accelerator(cpu=True), Kuchen(4), TINY, [pair], [pair], tmp_path, lambda module: {"size": 1}, "size")
    for event in stream:
        if isinstance(event, Step) and event.number == 33:
            break
    stream.close()
    rest = run(pair, tmp_path, resume=True)
    assert isinstance(rest[0], Step) and rest[0].number == 21
    whole = run(pair, tmp_path / "whole")
    assert validations(rest)[-1].error == validations(whole)[-1].error


def test_a_diverging_loss_stops_and_keeps_the_checkpoints(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="at step"):
        run(pair, tmp_path, replace(TINY, learning_rate=1e30, validate_every=1))
    kept = load_file(sorted(tmp_path.glob("*.safetensors"))[-1])
    assert all(value.isfinite().all() for value in kept.values()) and steps_done(tmp_path) >= 1


def test_another_recipe_does_not_go_on(pair: Pair, tmp_path: Path) -> None:
    run(pair, tmp_path, replace(TINY, steps=2))
    with pytest.raises(UsageError, match=r"--resume: batch was 4 before and is 2 now"):
        run(pair, tmp_path, replace(TINY, batch=2), resume=True)
    with pytest.raises(UsageError, match="labels or pictures are others than before"):
        opened(tmp_path, replace(TINY, steps=2), "other pictures", ())
    assert 0 < seconds_spent(tmp_path) < 60
    (tmp_path / STATE).write_bytes(b"spoiled")
    with pytest.raises(InputError, match=r"is no state of a training"):
        run(pair, tmp_path, resume=True)


def _state(step: int, **figures: float | None) -> Validation:
    return Validation(step, 0.1 / step, 0.2 / step, 0.3, figures, Path("x"), True)


def test_the_log_goes_on_where_the_training_does(tmp_path: Path) -> None:
    log = Log(tmp_path, ["size", "bd"])
    for step in (10, 20, 30):
        log.append(_state(step, size=-step, bd=None if step == 20 else 1.5))
    log.close()
    later = Log(tmp_path, ["size", "bd"], after=20)
    later.append(_state(40, size=-4, bd=2))
    later.close()
    rows = Rows(Entry, ["size", "bd"]).read(tmp_path / FILE)
    assert [row.step for row in rows] == [10, 20, 40] and rows == later.entries
    assert [row.scores for row in rows] == [{"size": -10, "bd": 1.5}, {"size": -20}, {"size": -4, "bd": 2}]
    Log(tmp_path, ["size", "bd"]).close()
    assert Rows(Entry, ["size", "bd"]).read(tmp_path / FILE) == []


def test_the_plot_shows_what_is_there() -> None:
    entries = [Entry(step, 1 / step, 2 / step, 3.0, {"size": -1.0}) for step in (1, 2, 3)]
    shown = plot(entries, ["size", "bd"], "jpeg 75")
    assert shown.startswith(b"\x89PNG") and shown != plot(entries, [], "jpeg 75") != plot(entries[:2], [], "jpeg 75")
