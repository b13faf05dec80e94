"""Training of the closed loop's gains: the estimate of the gradient, what trials cost, and the way of all trainings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector
from training import toy
from training.toy import exported, stopped, validations

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.encoding import Session, encode, round_trip
from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks.feedback import GAINS, SLOPES, Feedback
from kcompress.networks.loading import load
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.training.tasks.feedback.loss import FeedbackLoss, Patch, Trial, closed_loop, trained
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.tasks.feedback.task import FeedbackTask
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = FeedbackRecipe(
    "webp", 40, 80, passes=2, steps=4, batch=2, patches=3, side=96, warmup=1, validate_every=2, split=0.6,
    validation_pictures=1, objective={"ssimulacra2": 0.5, "psnr": 0.5},
)  # fmt: skip


@pytest.fixture
def patch(lake: Image) -> Patch:
    image = Image(np.ascontiguousarray(lake.pixels[100:196, 200:328]))
    setting = CODECS["webp"].setting(60)
    return Patch(image, setting, RateDistortionCost(*Session.of(image, CODECS["webp"], setting), TINY.objective))


def signs(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (count, SLOPES * GAINS))).float()


def test_the_estimate_is_the_gradient_on_average(patch: Patch) -> None:
    slopes = torch.linspace(-0.01, 0.02, SLOPES * GAINS)
    costs = FeedbackLoss(Feedback(), TINY, 1, lambda patch, weights: (float(weights @ slopes), 0.0))
    found = costs(Trial([patch] * 400, signs(400)))["loss"]
    assert torch.allclose(found, (parameters_to_vector(costs.network.parameters()) @ slopes).expand(400), atol=1e-5)
    found.mean().backward()
    (gradient,) = (each.grad.flatten() for each in costs.network.parameters() if each.grad is not None)
    assert torch.allclose(gradient, slopes, atol=0.01) and torch.corrcoef(torch.stack([gradient, slopes]))[0, 1] > 0.9


def test_a_trial_costs_what_the_encoder_says(patch: Patch) -> None:
    network = Feedback()
    moves = signs(1)
    parts = FeedbackLoss(network, TINY, jobs=2)(Trial([patch], moves))
    found = parts["loss"].item()
    expected, sizes = [], []
    for way in (1, -1):
        moved = Feedback()
        with torch.no_grad():
            moved.gains += way * TINY.perturbation * moves.view(SLOPES, GAINS)
        data = encode(patch.image, CODECS["webp"], patch.setting, closed_loop(moved, TINY)).data
        cost, rate = patch.cost(data), np.log(len(data) / len(patch.cost.plain.data))
        worst = max(rate - gain for gain in patch.cost.gains(cost.scores).values())
        expected.append(cost.cost + TINY.penalty * max(0, worst))
        sizes.append(len(data) / len(patch.cost.plain.data))
    assert found == pytest.approx(np.mean(expected), abs=1e-6) and expected[0] != expected[1]
    assert parts["rate"].item() == pytest.approx(np.mean(np.log(sizes)), abs=1e-6)
    assert found == pytest.approx(parts["rate"].item() + parts["distortion"].item(), abs=1e-6)
    assert torch.equal(network.gains, Feedback().gains)


def test_a_score_that_loses_costs_more(patch: Patch) -> None:
    with torch.no_grad():
        blurring = Feedback()
        blurring.gains[0] = -9.0
    lenient, strict = (
        FeedbackLoss(blurring, replace(TINY, penalty=penalty, limit=9.0, perturbation=1e-6), jobs=1)
        for penalty in (0.0, 1.0)
    )
    losses = [each(Trial([patch], signs(1)))["loss"].item() for each in (lenient, strict)]
    assert losses[1] > losses[0] + 0.01


def test_no_patch_is_believed_more_than_the_limit(patch: Patch) -> None:
    strict = FeedbackLoss(Feedback(), replace(TINY, limit=1e-4), jobs=1)
    assert abs(strict(Trial([patch], signs(1)))["loss"].item()) <= 1.0001e-4


def test_it_knows_its_qualities() -> None:
    known = trained(TINY)
    assert known.qualities == (40, 80) and known.coarseness == pytest.approx((0.2, 0.6))
    assert trained(replace(TINY, codec="hevc", lowest=18, highest=42)).coarseness == pytest.approx((18 / 51, 42 / 51))


def test_a_trial_follows_from_its_number(photos: DataSet, tmp_path: Path) -> None:
    task = FeedbackTask(photos, TINY)
    data = drained(task.prepare(task.split(), tmp_path))
    first, second, again = (task.batch(data, number) for number in (0, 1, 1))
    assert torch.equal(second.signs, again.signs) and not torch.equal(first.signs, second.signs)
    assert second.patches == again.patches and first.signs.shape == (2, SLOPES * GAINS)
    assert data.trained_on == 3 and data.held_out == 1


def test_it_goes_on_where_it_stopped_whatever_the_jobs(photos: DataSet, tmp_path: Path) -> None:
    assert [state.step for state in validations(FeedbackTask(photos, TINY, jobs=2), tmp_path / "whole")] == [2, 4]
    stopped(FeedbackTask(photos, TINY), tmp_path / "parted", 3)
    assert [state.step for state in validations(FeedbackTask(photos, TINY), tmp_path / "parted", resume=True)] == [4]
    one, other = (load_file(tmp_path / name / "step-000004.safetensors") for name in ("whole", "parted"))
    assert torch.equal(one["gains"], other["gains"])
    assert not torch.equal(one["gains"], Feedback().gains)


@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_what_ships(photos: DataSet, tmp_path: Path, lake: Image) -> None:
    task = FeedbackTask(photos, TINY)
    events = toy.trained(task, tmp_path / "checkpoints")
    card = exported(task, tmp_path / "checkpoints", events[-1], tmp_path / "mine", "a lake, CC0")
    assert json.loads(json.dumps(card)) == json.loads((tmp_path / "mine.json").read_text())
    assert card["network"] == "feedback" and card["codec"] == "webp" and card["recipe"]["passes"] == 2
    assert card["recipe"]["strength"] == TINY.strength
    weights = weight_files.open_weights(tmp_path / "mine.safetensors", "feedback")
    webp = CODECS["webp"]
    shipped = load("feedback", device="cpu", weights=weights.path, codec="webp", round_trip=round_trip(webp))
    module = Feedback()
    module.load_state_dict(weights.tensors())
    setting = webp.setting(60)
    assert shipped is not None
    through_onnx, through_torch = (each(lake, setting).pixels for each in (shipped, closed_loop(module, TINY)))
    assert (through_onnx == through_torch).mean() > 0.999 and not np.array_equal(through_onnx, lake.pixels)


def test_it_goes_on_from_other_weights(photos: DataSet, tmp_path: Path) -> None:
    start = weight_files.open_weights(weight_files.folder() / "feedback-webp.safetensors", "feedback")
    started = FeedbackTask(photos, TINY, start=start).build()
    assert isinstance(started, FeedbackLoss)
    assert torch.equal(started.network.gains, start.tensors()["gains"])


def test_a_part_of_the_change_is_made(patch: Patch) -> None:
    whole, part, none = (
        closed_loop(Feedback(), replace(TINY, strength=strength))(patch.image, patch.setting).pixels.astype(float)
        for strength in (1.0, 0.5, 1e-6)
    )
    assert np.array_equal(none, patch.image.pixels) and not np.array_equal(whole, part)
    assert np.abs(part - (whole + none) / 2).max() <= 1


def test_pictures_must_hold_a_patch(photos: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture of 400 pixels a side"):
        validations(FeedbackTask(photos, replace(TINY, side=400)), tmp_path / "large")
