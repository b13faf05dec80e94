"""Training of the closed loop's gains: the estimate of the gradient, what trials cost, and the way of all trainings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeling.tools import save
from safetensors.torch import load_file
from torch.nn.utils import parameters_to_vector

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.encoding import Session, encode, round_trip
from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks.feedback import GAINS, Feedback
from kcompress.networks.loading import load
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.training.feedback.recipe import FeedbackRecipe
from kcompress.training.feedback.training import FeedbackTraining
from kcompress.training.feedback.trials import Costs, Patch, Trial, closed_loop, trained
from kcompress.training.loop import Validation

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = FeedbackRecipe(
    "webp", 40, 80, passes=2, steps=4, batch=2, patches=3, side=96, warmup=1, validate_every=2, split=0.6,
    validation_pictures=1, objective={"ssimulacra2": 0.5, "psnr": 0.5},
)  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, lake: Image) -> DataSet:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        save(lake.pixels[20 * number : 20 * number + 112, 30 * number : 30 * number + 128], folder / f"{number}.png")
    return DataSet(str(folder))


@pytest.fixture
def patch(lake: Image) -> Patch:
    image = Image(np.ascontiguousarray(lake.pixels[100:196, 200:328]))
    setting = CODECS["webp"].setting(60)
    return Patch(image, setting, RateDistortionCost(*Session.of(image, CODECS["webp"], setting), TINY.objective))


def signs(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).choice([-1.0, 1.0], (count, 3 * GAINS))).float()


def test_the_estimate_is_the_gradient_on_average(patch: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    slopes = torch.linspace(-0.01, 0.02, 3 * GAINS)
    monkeypatch.setattr(Costs, "_cost", lambda self, patch, weights: float(weights @ slopes))
    costs = Costs(Feedback(), TINY, jobs=1)
    found = costs(Trial([patch] * 400, signs(400)))
    assert torch.allclose(found, (parameters_to_vector(costs.network.parameters()) @ slopes).expand(400), atol=1e-5)
    found.mean().backward()
    (gradient,) = (each.grad.flatten() for each in costs.network.parameters() if each.grad is not None)
    assert torch.allclose(gradient, slopes, atol=0.01) and torch.corrcoef(torch.stack([gradient, slopes]))[0, 1] > 0.9


def test_a_trial_costs_what_the_encoder_says(patch: Patch) -> None:
    network = Feedback()
    costs = Costs(network, TINY, jobs=2)
    moves = signs(1)
    (found,) = costs(Trial([patch], moves)).tolist()
    expected = []
    for way in (1, -1):
        moved = Feedback()
        with torch.no_grad():
            moved.gains += way * TINY.perturbation * moves.view(3, GAINS)
        data = encode(patch.image, CODECS["webp"], patch.setting, closed_loop(moved, TINY)).data
        expected.append(patch.judge(data).cost)
    assert found == pytest.approx(np.mean(expected), abs=1e-6) and expected[0] != expected[1]
    assert torch.equal(network.gains, Feedback().gains)


def test_no_patch_is_believed_more_than_the_limit(patch: Patch) -> None:
    strict = Costs(Feedback(), replace(TINY, limit=1e-4), jobs=1)
    assert abs(strict(Trial([patch], signs(1))).item()) <= 1.0001e-4


def test_it_knows_its_qualities() -> None:
    known = trained(TINY)
    assert known.qualities == (40, 80) and known.coarseness == pytest.approx((0.2, 0.6))
    assert trained(replace(TINY, codec="hevc", lowest=18, highest=42)).coarseness == pytest.approx((18 / 51, 42 / 51))


def states(training: FeedbackTraining, *, resume: bool = False) -> list[Validation]:
    return [event for event in training.run(resume=resume) if isinstance(event, Validation)]


def test_it_goes_on_where_it_stopped_whatever_the_jobs(photos: DataSet, tmp_path: Path) -> None:
    whole = FeedbackTraining(photos, TINY, tmp_path / "whole", jobs=2)
    assert [state.step for state in states(whole)] == [2, 4]
    parted = FeedbackTraining(photos, TINY, tmp_path / "parted")
    for event in parted.run():
        if isinstance(event, Validation):
            break
    assert [state.step for state in states(parted, resume=True)] == [4]
    one, other = (load_file(tmp_path / name / "step-000004.safetensors") for name in ("whole", "parted"))
    assert torch.equal(one["gains"], other["gains"])
    assert not torch.equal(one["gains"], Feedback().gains)


def test_what_ships(photos: DataSet, tmp_path: Path, lake: Image) -> None:
    training = FeedbackTraining(photos, TINY, tmp_path / "checkpoints")
    states(training)
    card = training.export(tmp_path / "mine", "a lake, CC0")
    assert json.loads(json.dumps(card)) == json.loads((tmp_path / "mine.json").read_text())
    assert card["network"] == "feedback" and card["codec"] == "webp" and card["recipe"]["passes"] == 2
    weights = weight_files.open_weights(tmp_path / "mine.safetensors", "feedback")
    webp = CODECS["webp"]
    shipped = load("feedback", device="cpu", weights=weights.path, codec="webp", round_trip=round_trip(webp))
    module = Feedback()
    module.load_state_dict(weights.tensors())
    setting = webp.setting(60)
    assert shipped is not None
    through_onnx, through_torch = (each(lake, setting).pixels for each in (shipped, closed_loop(module, TINY)))
    assert (through_onnx == through_torch).mean() > 0.999 and not np.array_equal(through_onnx, lake.pixels)


def test_pictures_must_hold_a_patch(photos: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture of 400 pixels a side"):
        states(FeedbackTraining(photos, replace(TINY, side=400), tmp_path / "large"))
