"""Training of the codec simulators: pairs by the real encoder, a cost that falls, a training that goes on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeling.tools import save
from safetensors.torch import load_file

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.errors import InputError, OutputError, UsageError, WeightsError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks.loading import load
from kcompress.proxies import straight_through as real
from kcompress.proxies.simulator import Simulator, load_simulator
from kcompress.training.loop import Prepared, Step, Validation
from kcompress.training.simulator.accuracy import FIGURES, accuracy, exact_jpeg
from kcompress.training.simulator.pairs import PLACE, Pairs, all_encoded, batch, batches, encoded, preprocessed
from kcompress.training.simulator.recipe import RANGES, SimulatorRecipe
from kcompress.training.simulator.training import Errors, SimulatorTraining

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = SimulatorRecipe(
    "jpeg", *RANGES["jpeg"], width=16, depth=1, steps=16, batch=3, versions=2, patches=12, side=64, warmup=3,
    validate_every=8, averaging=0.8, split=0.6, validation_pictures=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, lake: Image) -> DataSet:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(6):
        save(lake.pixels[20 * number : 20 * number + 112, 30 * number : 30 * number + 128], folder / f"{number}.png")
    return DataSet(str(folder))


def finished(photos: DataSet, recipe: SimulatorRecipe, folder: Path, jobs: int = 1) -> Pairs:
    return all_encoded(photos, photos.names(), 2, recipe, folder, jobs)


@pytest.fixture(scope="module")
def pairs(photos: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return finished(photos, TINY, tmp_path_factory.mktemp("pairs"))


def states(training: SimulatorTraining, *, resume: bool = False) -> list[Validation]:
    return [event for event in training.run(resume=resume) if isinstance(event, Validation)]


def test_pairs_are_what_the_encoder_made(pairs: Pairs) -> None:
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


def test_jobs_change_nothing(photos: DataSet, pairs: Pairs, tmp_path: Path) -> None:
    other = finished(photos, TINY, tmp_path, 2)
    assert all(torch.equal(getattr(other, part), getattr(pairs, part)) for part in ("pictures", "decoded", "bpp"))


def test_an_interruption_costs_no_picture_that_was_done(
    photos: DataSet, pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    monkeypatch.setattr("kcompress.training.simulator.pairs.encode_decode", None)  # nothing is encoded any more
    assert torch.equal(finished(photos, TINY, tmp_path).decoded, pairs.decoded)


def test_another_recipe_has_other_pairs(photos: DataSet, pairs: Pairs, tmp_path: Path) -> None:
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


def test_a_batch_follows_from_its_number(pairs: Pairs) -> None:
    stream = batches(pairs, TINY)
    first, second = next(stream), next(stream)
    again = next(batches(pairs, TINY, 1))
    assert torch.equal(second.pictures, again.pictures) and not torch.equal(first.pictures, second.pictures)
    assert first.pictures.shape == (6, 3, 64, 64) and first.bpp.shape == first.coarseness.shape == (6,)
    assert first.coarseness[0] == first.coarseness[1]


def test_a_cost_of_nothing_is_perfection(pairs: Pairs) -> None:
    seen = batch(pairs, "jpeg", np.arange(3))

    class Perfect(torch.nn.Module):
        def forward(self, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return seen.decoded, seen.bpp

    model = Errors(Simulator(16, 1), 2.0)
    usual = model(seen)
    model.simulator = Perfect()  # type: ignore[assignment]
    assert torch.allclose(model(seen), torch.full((6,), -6.0), atol=1e-4) and (usual > -5.5).all()  # 60 dB


def test_the_exact_proxy_is_nearly_perfect(pairs: Pairs) -> None:
    found = accuracy(exact_jpeg, pairs, "jpeg")
    assert found.keys() == FIGURES.keys()
    assert found["psnr_to_the_decoder_db"] > 59.9 and found["ln_bpp_difference_correlation"] > 0.9


def test_the_cost_falls(photos: DataSet, tmp_path: Path) -> None:
    """In seconds: it beats predicting no distortion."""
    recipe = replace(TINY, steps=60, validate_every=20, learning_rate=1e-2)
    events = list(SimulatorTraining(photos, recipe, tmp_path).run())
    prepared = [event for event in events if isinstance(event, Prepared)]
    assert Prepared(4, 4) in prepared and prepared[-1] == Prepared(1, 1)
    found = [event for event in events if isinstance(event, Validation)]
    assert [state.step for state in found] == [20, 40, 60]
    assert found[2].loss < found[1].loss < found[0].loss
    assert found[2].figures.keys() == FIGURES.keys()
    assert (found[2].figures["psnr_gain_db"] or 0) > 0.3
    assert [event.number for event in events if isinstance(event, Step)] == list(range(1, 61))
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")


def test_going_on_equals_never_having_stopped(photos: DataSet, tmp_path: Path) -> None:
    whole = states(SimulatorTraining(photos, TINY, tmp_path / "whole"))
    shutil.copytree(tmp_path / "whole" / PLACE, tmp_path / "parts" / PLACE)
    other = shutil.copytree(photos.location, tmp_path / "photos")
    shutil.copy(other / "0.png", other / "more.png")
    stopped = SimulatorTraining(photos, TINY, tmp_path / "parts").run()
    for event in stopped:
        if isinstance(event, Step) and event.number == 11:
            break
    stopped.close()  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="Give --resume"):
        states(SimulatorTraining(photos, TINY, tmp_path / "parts"))
    with pytest.raises(UsageError, match="width was 16 before and is 8 now"):
        states(SimulatorTraining(photos, replace(TINY, width=8), tmp_path / "parts"), resume=True)
    with pytest.raises(UsageError, match="pictures are others than before"):
        states(SimulatorTraining(DataSet(str(other)), TINY, tmp_path / "parts"), resume=True)
    rest = states(SimulatorTraining(photos, TINY, tmp_path / "parts"), resume=True)
    assert [state.step for state in rest] == [16]
    assert rest[0].figures == whole[1].figures
    one, two = (load_file(tmp_path / part / "step-000016.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_nothing_to_validate_with(photos: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leaves none to validate with"):
        states(SimulatorTraining(photos, replace(TINY, split=0.9999999), tmp_path))


def test_from_photographs_to_weights(photos: DataSet, tmp_path: Path) -> None:
    training = SimulatorTraining(photos, TINY, tmp_path / "checkpoints")
    with pytest.raises(InputError, match="holds no checkpoint yet"):
        training.export(tmp_path / "small", "")
    found = states(training)
    card = training.export(tmp_path / "small", "crops of a lake")
    assert card["best_step"] in [state.step for state in found] and card["codec"] == "jpeg"
    assert card["data"] == "4 photographs, crops of a lake"
    assert sorted(path.name for path in tmp_path.glob("small*")) == ["small.json", "small.safetensors"]
    assert json.loads((tmp_path / "small.json").read_text()) == card
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "simulator")
    assert json.loads(weights.metadata["recipe"])["codec"] == "jpeg"
    simulator = load_simulator(weights.path)
    kept = load_file(training.folder / "best.safetensors")
    assert all(torch.equal(values, kept[name]) for name, values in simulator.state_dict().items())
    with pytest.raises(WeightsError, match="are simulator weights; kuchen was asked for"):
        load("kuchen", device="cpu", weights=weights.path)
    begun = SimulatorTraining(photos, replace(TINY, start="small"), tmp_path / "on", start=weights).run()
    next(event for event in begun if isinstance(event, Step))
    begun.close()  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match=r"has width 16\. Give --width 16"):
        states(SimulatorTraining(photos, replace(TINY, width=8), tmp_path / "other", start=weights))
