"""The beginnings of training: data, loop, and the whole way to weights that encode uses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Pil

from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.networks import load
from kcompress.networks.kuchen import Kuchen
from kcompress.training import kuchen
from kcompress.training.data import Pair, batches, corners, is_held_out
from kcompress.training.loop import train
from kcompress.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = Recipe(width=4, steps=60, patch_width=32, patch_height=20, stride=16, learning_rate=3e-3, validate_every=30)


@pytest.fixture
def pair(balloons: Image) -> Pair:
    original = balloons.pixels[:100, :120]
    return Pair(original, original // 2)  # easily learned


def test_the_papers_patches() -> None:
    recipe = Recipe()
    assert (recipe.patch_width, recipe.patch_height, recipe.stride) == (320, 180, 160)
    assert (recipe.batch, recipe.learning_rate) == (4, 1e-4)
    assert corners(340, 640, recipe) == [(y, x) for y in (0, 160) for x in (0, 160, 320)]


def test_every_patch_is_seen_once_an_epoch_and_the_seed_decides_the_order(pair: Pair) -> None:
    count = len(corners(100, 120, TINY))
    recipe = replace(TINY, batch=1)

    def epoch(recipe: Recipe) -> list[float]:
        stream = batches([pair], recipe)
        return [float(next(stream)[0].sum()) for _ in range(count)]

    assert len(set(epoch(recipe))) == count
    assert epoch(recipe) == epoch(recipe)
    assert epoch(recipe) != epoch(replace(recipe, seed=1))
    assert sorted(epoch(recipe)) == sorted(epoch(replace(recipe, seed=1)))


def test_originals_and_targets_are_cut_alike(pair: Pair) -> None:
    original, target = next(batches([Pair(pair.original, pair.original)], TINY))
    assert original.shape == (4, 3, 20, 32)
    assert torch.equal(original, target)
    assert float(original.min()) >= 0 and 0.5 < float(original.max()) <= 1


def test_too_little_data(pair: Pair) -> None:
    with pytest.raises(ValueError, match="fewer than one batch"):
        next(batches([pair], replace(TINY, patch_width=120, patch_height=100)))


def test_held_out_is_decided_by_the_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(300)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number % 256, number // 256]))
    held_out = [is_held_out(path, 0.1) for path in paths]
    assert 10 < sum(held_out) < 55
    renamed = paths[0].rename(tmp_path / "other")
    assert is_held_out(renamed, 0.1) == held_out[0]


def test_training_lowers_the_error(pair: Pair, tmp_path: Path) -> None:
    torch.manual_seed(0)
    states = list(train(Kuchen(4), TINY, [pair], [pair], tmp_path))
    assert [state.step for state in states] == [30, 60]
    assert states[-1].error < 0.5 * states[-1].identity_error
    assert all(state.checkpoint.is_file() for state in states)


def test_a_diverging_loss_stops_and_keeps_the_checkpoints(pair: Pair, tmp_path: Path) -> None:
    torch.manual_seed(0)
    run = train(Kuchen(2), replace(TINY, learning_rate=1e30, validate_every=1), [pair], [pair], tmp_path)
    with pytest.raises(FloatingPointError, match="at step"):
        list(run)
    assert list(tmp_path.glob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_from_photographs_to_weights(lake: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(24):
        Pil.fromarray(lake.pixels[number : number + 64, :96]).save(photos / f"{number:02}.jpg", quality=90 + number % 9)
    monkeypatch.setattr(kuchen, "Recipe", lambda: replace(TINY, held_out=0.3, validation_pictures=2))
    kuchen.main(photos, tmp_path / "small", steps=15, checkpoints=tmp_path / "checkpoints")
    weights = weight_files.open_weights(tmp_path / "small.safetensors", "kuchen")
    card = weight_files.card(weights)
    assert card["recipe"]["steps"] == 15 and card["best_step"] == 15
    assert card["held_out_pictures"] == 2
    assert set(card["at_default_quality"]) == {"jpeg", "webp", "hevc", "bpg"}
    preprocessor = load("kuchen", device="cpu", weights=weights.path)
    assert preprocessor is not None and preprocessor.name == "small"
