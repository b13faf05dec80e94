"""Training of the codec simulators: pairs by the real encoder, a cost that falls, a training that goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.toy import exported, of, trained

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.errors import InputError, UsageError, WeightsError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module
from kcompress.networks.loading import load
from kcompress.proxies import straight_through as real
from kcompress.proxies.simulator import Simulator
from kcompress.training.events import Prepared, Validation
from kcompress.training.tasks.proxies.accuracy import METRICS, accuracy, exact_jpeg
from kcompress.training.tasks.proxies.coded_patches import CodedPatches, encoded, preprocessed
from kcompress.training.tasks.proxies.recipe import RANGES, SimulatorRecipe
from kcompress.training.tasks.proxies.simulator import SimulatorLoss, SimulatorTask
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = SimulatorRecipe(
    "jpeg", *RANGES["jpeg"], width=16, depth=1, steps=16, batch=3, versions=2, patches=12, side=64, warmup=3,
    validate_every=8, averaging=0.8, split=0.6, validation_pictures=1,
)  # fmt: skip


def finished(photos: DataSet, recipe: SimulatorRecipe, folder: Path, jobs: int = 1) -> CodedPatches:
    return drained(encoded(photos, photos.names(), 2, recipe, folder, jobs))


@pytest.fixture(scope="module")
def pairs(photos: DataSet, tmp_path_factory: pytest.TempPathFactory) -> CodedPatches:
    return finished(photos, TINY, tmp_path_factory.mktemp("pairs"))


def test_pairs_are_what_the_encoder_made(pairs: CodedPatches) -> None:
    assert pairs.pictures.shape == pairs.decoded.shape == (12, 2, 64, 64, 3) and pairs.bpp.shape == (12, 2)
    assert pairs.qualities.min() >= 20 and pairs.qualities.max() <= 97 and len(set(pairs.qualities.tolist())) > 6
    for number in (0, 7):
        setting = CODECS["jpeg"].setting(int(pairs.qualities[number]))
        for version in range(2):
            shown, bits = real.encode_decode(pairs.pictures[number, version].numpy(), setting)
            assert np.array_equal(shown, pairs.decoded[number, version]) and bits == pytest.approx(
                pairs.bpp[number, version].item()
            )
    changes = (pairs.pictures[:, 1].float() - pairs.pictures[:, 0].float()).abs().flatten(1).mean(1)
    assert (changes > 0).all() and changes.max() < 25


def test_jobs_change_nothing(photos: DataSet, pairs: CodedPatches, tmp_path: Path) -> None:
    other = finished(photos, TINY, tmp_path, 2)
    assert all(torch.equal(getattr(other, part), getattr(pairs, part)) for part in ("pictures", "decoded", "bpp"))


def test_an_interruption_costs_no_picture_that_was_done(
    photos: DataSet, pairs: CodedPatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = encoded(photos, photos.names(), 2, TINY, tmp_path, 1)
    for _ in range(4):
        next(stopped)
    stopped.close()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(before) >= 4
    again = finished(photos, TINY, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert torch.equal(again.pictures, pairs.pictures) and torch.equal(again.bpp, pairs.bpp)
    monkeypatch.setattr(
        "kcompress.training.tasks.proxies.coded_patches.encode_decode", None
    )  # nothing is encoded any more
    assert torch.equal(finished(photos, TINY, tmp_path).decoded, pairs.decoded)


def test_another_recipe_has_other_pairs(photos: DataSet, pairs: CodedPatches, tmp_path: Path) -> None:
    finished(photos, TINY, tmp_path)
    for other in (replace(TINY, seed=1), replace(TINY, highest=40)):
        assert not torch.equal(finished(photos, other, tmp_path).pictures, pairs.pictures)


def test_preprocessing_has_all_kinds(lake: Image) -> None:
    patch = np.ascontiguousarray(lake.pixels[100:228, 100:228])
    random = np.random.default_rng(0)
    setting = CODECS["webp"].setting(60)
    plain = real.encode_decode(patch, setting, "pillow")[1]
    sizes = [real.encode_decode(preprocessed(patch, 0.4, random), setting, "pillow")[1] / plain for _ in range(40)]
    assert sum(size < 0.97 for size in sizes) > 10 and sum(size > 1.02 for size in sizes) > 4


def test_pictures_too_small_for_a_patch(photos: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no picture of 128 pixels a side"):
        finished(photos, replace(TINY, side=128), tmp_path)


def test_a_batch_follows_from_its_number(photos: DataSet, tmp_path: Path) -> None:
    task = SimulatorTask(photos, TINY)
    data = drained(task.prepare(task.split(), tmp_path))
    first, second, again = (task.batch(data, number) for number in (0, 1, 1))
    assert torch.equal(second.pictures, again.pictures) and not torch.equal(first.pictures, second.pictures)
    assert first.pictures.shape == (6, 3, 64, 64) and first.bpp.shape == first.coarseness.shape == (6,)
    assert first.coarseness[0] == first.coarseness[1]


def test_a_cost_of_nothing_is_perfection(pairs: CodedPatches) -> None:
    seen = pairs.batch("jpeg", np.arange(3))

    class Perfect(torch.nn.Module):
        def forward(self, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return seen.decoded, seen.bpp

    model = SimulatorLoss(Simulator(16, 1), 2.0)
    found = model(seen)
    usual = found["loss"]
    assert torch.equal(usual, found["distortion"] + found["rate"] + found["difference"])
    model.simulator = Perfect()  # type: ignore[assignment]
    assert torch.allclose(model(seen)["loss"], torch.full((6,), -6.0), atol=1e-4) and (usual > -5.5).all()  # 60 dB


def test_the_exact_proxy_is_nearly_perfect(pairs: CodedPatches) -> None:
    found = accuracy(exact_jpeg, pairs, "jpeg")
    assert found.keys() == METRICS.keys()
    assert found["psnr_to_the_decoder_db"] > 59.9 and found["ln_bpp_difference_correlation"] > 0.9


def test_the_cost_falls(photos: DataSet, tmp_path: Path) -> None:
    """In seconds: it beats predicting no distortion."""
    recipe = replace(TINY, steps=60, validate_every=20, learning_rate=1e-2)
    events = trained(SimulatorTask(photos, recipe), tmp_path)
    prepared, found = of(Prepared, events), of(Validation, events)
    assert Prepared(4, 4) in prepared and prepared[-1] == Prepared(1, 1)
    assert found[2].loss < found[1].loss < found[0].loss
    assert found[2].metrics.keys() == METRICS.keys()
    assert (found[2].metrics["psnr_gain_db"] or 0) > 0.3
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")


def test_from_photographs_to_weights(photos: DataSet, tmp_path: Path) -> None:
    task = SimulatorTask(photos, TINY)
    events = trained(task, tmp_path / "checkpoints")
    card = exported(task, tmp_path / "checkpoints", events[-1], tmp_path / "small", "crops of a lake")
    assert card["best_step"] in [state.step for state in of(Validation, events)] and card["codec"] == "jpeg"
    assert card["data"] == "4 photographs, crops of a lake"
    assert sorted(path.name for path in tmp_path.glob("small*")) == ["small.json", "small.safetensors"]
    assert json.loads((tmp_path / "small.json").read_text()) == card
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "simulator")
    assert json.loads(weights.metadata["recipe"])["codec"] == "jpeg"
    simulator = torch_module(weights, Simulator)
    best = load_file(tmp_path / "checkpoints/best.safetensors")
    assert all(torch.equal(values, best[name]) for name, values in simulator.state_dict().items())
    with pytest.raises(WeightsError, match="are simulator weights; kuchen was asked for"):
        load("kuchen", device="cpu", weights=weights.path)
    begun = SimulatorTask(photos, replace(TINY, start="small"), start=weights).build().simulator.state_dict()
    assert all(torch.equal(values, begun[name]) for name, values in simulator.state_dict().items())
    with pytest.raises(UsageError, match=r"has width 16\. Give --width 16"):
        SimulatorTask(photos, replace(TINY, width=8), start=weights).build()
