"""Training of the artifact removal: patches, objective, and the whole way to weights that the filter uses."""

import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import psnr, smooth
from PIL import Image as Pil
from safetensors.torch import load_file

from kcompress.dataset import digest, is_held_out
from kcompress.errors import InputError
from kcompress.images import Image, Pixels
from kcompress.inference import weights as weight_files
from kcompress.pool import filter_named
from kcompress.pool.artifacts_network import ArtifactRemoval
from kcompress.training import ar
from kcompress.training.distortions import compression
from kcompress.training.events import Finished, Prepared, Validation
from kcompress.training.learner import share
from kcompress.training.photos import REGION
from kcompress.training.task import Split
from kcompress.training.tasks.ar import patches, task
from kcompress.training.tasks.ar.patches import MARGIN, Pair, alike, hevc_bank, region
from kcompress.training.tasks.ar.recipe import ArtifactRecipe
from kcompress.training.tasks.ar.task import (
    VALIDATED,
    ArtifactData,
    ArtifactLoss,
    ArtifactTask,
    Batch,
    error,
    gains,
    restored,
)
from kcompress.training.trainer import Trainer, accelerator

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = ArtifactRecipe(
    width=4, steps=40, alike=2, kinds=2, side=32, learning_rate=3e-3, warmup=5, clean=0, twice=0, shifted=0,
    hevc_regions=4, averaging=0.9, validate_every=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def photo(lake: Image) -> Pixels:
    """(300, 320, 3): HEVC's regions fit in."""
    return np.ascontiguousarray(lake.pixels[60:360, 200:520])


@pytest.fixture(scope="module")
def bank(photo: Pixels) -> list[list[Pair]]:
    return hevc_bank([photo], TINY)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_regions_come_from_all_pictures_mirrored_or_not(photo: Pixels) -> None:
    y, x = np.mgrid[0:60, 0:70].astype(np.uint8)
    pictures = [np.dstack([y, x, np.full_like(x, number)]) for number in range(2)]
    source = random()
    seen = set()
    for _ in range(200):
        found = region(pictures, 50, source)
        assert found.shape == (50, 50, 3) and found.flags.c_contiguous
        mirrored = bool(found[0, 0, 1] > found[0, 1, 1])
        top, left = int(found[0, 0, 0]), int(found[0, -1 if mirrored else 0, 1])
        whole = pictures[found[0, 0, 2]][top : top + 50, left : left + 50]
        assert np.array_equal(found[:, ::-1] if mirrored else found, whole)
        seen.add((int(found[0, 0, 2]), mirrored))
        assert top <= 10 and left <= 20
    assert len(seen) == 4
    assert region([photo[:50, :50]], 50, source).shape == (50, 50, 3)


def test_the_bank_holds_regions_of_one_quality_each(bank: list[list[Pair]], photo: Pixels) -> None:
    assert [len(pairs) for pairs in bank] == [2, 2]
    for pair in (pair for pairs in bank for pair in pairs):
        assert pair.clean.shape == pair.compressed.shape == (288, 288, 3)
        assert 20 < psnr(pair.clean, pair.compressed) < 60
    again = hevc_bank([photo], TINY)
    assert all(
        np.array_equal(one.compressed, other.compressed)
        for pairs, others in zip(bank, again, strict=True)
        for one, other in zip(pairs, others, strict=True)
    )


def test_clean_patches_are_left_alone(photo: Pixels, bank: list[list[Pair]]) -> None:
    """What does not come from the bank and is not compressed equals its original."""
    recipe = replace(TINY, clean=1)
    equal = [
        all(np.array_equal(pair.clean, pair.compressed) for pair in alike([photo], bank, recipe, random(seed)))
        for seed in range(40)
    ]
    assert 25 <= sum(equal) < 40, "a fifth comes from the bank"


@pytest.mark.parametrize("shifted", [0, 1])
@pytest.mark.parametrize("twice", [0, 1])
def test_patches_are_cut_alike_before_and_after(
    photo: Pixels, bank: list[list[Pair]], shifted: float, twice: float
) -> None:
    recipe = replace(TINY, shifted=shifted, twice=twice)
    for seed in range(12):
        pairs = alike([photo], bank, recipe, random(seed))
        assert len(pairs) == recipe.alike
        for pair in pairs:
            assert pair.clean.shape == pair.compressed.shape == (recipe.side, recipe.side, 3)
            # A cut at another place would differ by far more than any codec changes.
            assert 12 < psnr(pair.clean, pair.compressed) < 70


def grid(pixels: Pixels) -> tuple[int, int]:
    """Row and column, 0..7, before which the steps between neighbours are largest: the corner of JPEG's blocks."""
    luma = pixels.astype(int).sum(axis=2)
    rows, columns = np.abs(np.diff(luma, axis=0)).sum(axis=1), np.abs(np.diff(luma, axis=1)).sum(axis=0)
    return tuple(  # type: ignore[return-value]
        (int(np.argmax([steps[start::8].mean() for start in range(8)])) + 1) % 8 for steps in (rows, columns)
    )


def test_blocks_begin_at_the_corner_unless_patches_are_shifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "random_compression", lambda *_: compression("jpeg", 8, "444"))
    pictures = [smooth(200, 200)]
    corners = {}
    for shifted in (0, 1):
        recipe = replace(TINY, shifted=shifted, side=64, alike=1)
        # An empty bank: seeds that would ask it are left out.
        seeds = [seed for seed in range(40) if random(seed).random() >= 0.2]
        corners[shifted] = {grid(alike(pictures, [], recipe, random(seed))[0].compressed) for seed in seeds}
    assert corners[0] == {(0, 0)}
    assert len(corners[1]) > 10


def test_twice_compresses_once_more(photo: Pixels, bank: list[list[Pair]], monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def drawn(source: np.random.Generator, codec: str) -> object:
        steps.append(codec)
        return compression("jpeg", 50)

    monkeypatch.setattr(patches, "random_compression", drawn)
    counts = {}
    for twice in (0, 1):
        counts[twice] = []
        for seed in range(30):
            steps.clear()
            alike([photo], bank, replace(TINY, twice=twice), random(seed))
            counts[twice].append(len(steps))
    assert set(counts[0]) == {0, 1}  # none: HEVC from the bank
    assert [more - less for less, more in zip(counts[0], counts[1], strict=True)] == [1] * 30


def prepared(pictures: list[Pixels], bank: list[list[Pair]], validation: list[Pixels]) -> ArtifactData:
    return ArtifactData(
        trained_on=len(pictures), held_out=len(validation), metrics=[each.name for each in task.VALIDATED], heading="",
        pictures=pictures, bank=bank, validation=validation,
    )  # fmt: skip


def test_batches_follow_the_seed_and_their_number(photo: Pixels, bank: list[list[Pair]]) -> None:
    def made(recipe: ArtifactRecipe, number: int) -> torch.Tensor:
        compressed, clean = ArtifactTask(Path(), recipe).batch(prepared([photo], bank, []), number)
        assert compressed.shape == clean.shape == (4, 3, 32, 32)
        assert 0 <= float(compressed.min()) < float(compressed.max()) <= 1
        assert not torch.equal(compressed, clean)
        return compressed

    assert all(torch.equal(made(TINY, number), made(TINY, number)) for number in range(3))
    assert not torch.equal(made(TINY, 0), made(replace(TINY, seed=1), 0))
    assert not torch.equal(made(TINY, 0), made(TINY, 1))


@torch.no_grad()
def test_processes_share_a_batch_by_kinds() -> None:
    torch.manual_seed(0)
    loss = ArtifactLoss(ArtifactRemoval(4), TINY).eval()
    batch = Batch(torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32))
    parts = [loss(share(batch, process, TINY.batch)) for process in range(TINY.batch)]
    for name, whole in loss(batch).items():
        assert float(sum(part[name] for part in parts) / TINY.batch) == pytest.approx(float(whole), rel=1e-6)


def test_the_objective_averages_decibels_over_kinds() -> None:
    recipe = replace(TINY, kinds=2, alike=2, floor=1.0)
    clean = torch.zeros(4, 3, 8, 8)
    errors = torch.tensor([3.0, 5.0, 0.0, 40.0]) / 255  # two kinds of two patches
    expected = np.mean(10 * np.log10(np.array([(9 + 25) / 2, (0 + 1600) / 2]) + 1))
    assert float(error(clean + errors[:, None, None, None], clean, recipe)) == pytest.approx(expected, rel=1e-5)
    assert float(error(clean, clean, recipe)) == pytest.approx(0)


def test_every_quality_counts_alike() -> None:
    """A tenth less error is the same gain in a bad patch and in a good one."""
    recipe = replace(TINY, kinds=2, alike=1, floor=1e-6)
    clean = torch.zeros(2, 3, 8, 8)
    base = torch.tensor([20.0, 2.0]) / 255

    def loss(first: float, second: float) -> float:
        return float(error(clean + (base * torch.tensor([first, second]))[:, None, None, None], clean, recipe))

    assert loss(0.9, 1) == pytest.approx(loss(1, 0.9), abs=1e-4)
    assert loss(0.9, 1) < loss(1, 1) - 0.4


def test_gains_are_those_of_the_network(photo: Pixels) -> None:
    picture = photo[:64, :96]
    assert np.array_equal(restored(ArtifactRemoval(2), picture), picture)
    assert gains(ArtifactRemoval(2), [picture], VALIDATED[:2]) == {"jpeg q=10": 0, "jpeg q=20": 0}
    perfect = {compression("jpeg", 10).apply(picture).tobytes(): picture}

    class Oracle(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            seen = image[0].permute(1, 2, 0).mul(255).round().byte().numpy()
            clean = perfect[seen.tobytes()].astype(np.float32) + 1  # one level too bright: 48.13 dB
            return torch.from_numpy(clean / 255).permute(2, 0, 1)[None]

    expected = 20 * np.log10(255) - psnr(picture, compression("jpeg", 10).apply(picture))
    assert gains(Oracle(), [picture], VALIDATED[:1]) == {"jpeg q=10": pytest.approx(expected, abs=0.05)}


def test_pictures_that_are_held_out_are_not_trained_on(tmp_path: Path, lake: Image) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        side = 288 + number if number else 200  # the first is too small to train on
        Pil.fromarray(lake.pixels[:side, number : number + 300]).save(photos / f"{number:02}.jpg", quality=90)
    training = ArtifactTask(photos, replace(TINY, held_out=0.5))
    split = training.split()
    out = [path for path in sorted(photos.glob("*.jpg")) if is_held_out(digest(path.read_bytes()), 0.5)]
    assert [*split.validation] == out and 0 < len(out) < 12 and sorted([*split.train, *out]) == sorted(photos.iterdir())
    events = training.prepare(split, tmp_path)
    with pytest.raises(StopIteration) as ended:
        for number in range(1, 14):
            assert next(events) == Prepared(number, 12)
    data = ended.value.value
    assert len(data.validation) == data.held_out == len(out)
    assert len(data.pictures) == data.trained_on == 12 - len({*out, photos / "00.jpg"})
    assert all(min(picture.shape[:2]) >= REGION for picture in data.pictures)
    assert all(side % 8 == 0 for picture in data.validation for side in picture.shape[:2])
    for share_held_out in (0, 1):
        with pytest.raises(InputError, match="holds 12 JPEG pictures, too few"):
            ArtifactTask(photos, replace(TINY, held_out=share_held_out)).split()
    small = [path for path in split.train if path.name == "00.jpg"] or [out[0]]
    (photos / "small.jpg").write_bytes((photos / "00.jpg").read_bytes())
    with pytest.raises(InputError, match="at least 288 pixels"):
        list(training.prepare(Split([photos / "00.jpg"], small, ""), tmp_path))


def test_the_margin_hides_the_edges_of_the_cut(photo: Pixels) -> None:
    assert MARGIN % 8 == 0 and ArtifactRecipe().side % 8 == 0
    assert ArtifactRecipe().side + 2 * MARGIN <= REGION, "HEVC's regions hold a patch with its margin"


@dataclass(frozen=True)
class OnPixels(ArtifactTask):
    """Learns from pictures in memory."""

    data: ArtifactData | None = None

    def split(self) -> Split:
        return Split((), (), "")

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, ArtifactData]:
        yield from ()
        assert self.data is not None
        return self.data


def test_training_restores_pictures(
    photo: Pixels, bank: list[list[Pair]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patches, "random_compression", lambda *_: compression("jpeg", 10, "420"))
    monkeypatch.setattr(task, "VALIDATED", VALIDATED[:1])
    training = OnPixels(Path(), TINY, prepared([photo], bank, [photo[:96, :96]]))
    events = list(Trainer(training, tmp_path, accelerator("cpu")).run())
    checked = [event for event in events if isinstance(event, Validation)]
    assert checked[-1].metrics["jpeg q=10"] > 0.05
    assert [event.checkpoint.name for event in checked] == ["step-000020.safetensors", "step-000040.safetensors"]
    network = ArtifactRemoval(TINY.width).eval()
    network.load_state_dict(load_file(checked[-1].checkpoint))
    assert checked[-1].metrics == gains(network, [photo[:96, :96]], VALIDATED[:1])
    finished = events[-1]
    assert isinstance(finished, Finished) and len(finished.entries) == 2
    assert training.export(finished.entries[-1], finished.data).metrics == {
        "psnr_gain_db_on_held_out_photographs": checked[-1].metrics
    }


def test_the_best_checkpoint_gains_most() -> None:
    training = ArtifactTask(Path(), TINY)
    assert training.objective({"jpeg q=10": 0.4, "webp q=40": 0.1}) < training.objective({"jpeg q=10": 0.4})


def test_a_diverging_loss_stops(photo: Pixels, bank: list[list[Pair]], tmp_path: Path) -> None:
    recipe = replace(TINY, learning_rate=1e30, warmup=1)
    with pytest.raises(FloatingPointError, match="at step"):
        list(Trainer(OnPixels(Path(), recipe, prepared([photo], bank, [photo[:64, :64]])), tmp_path,
                     accelerator("cpu")).run())  # fmt: skip


@pytest.mark.slow
def test_from_photographs_to_the_filter(
    lake: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Callable[[Path], None]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        Pil.fromarray(lake.pixels[number : number + 290, :300]).save(photos / f"{number}.jpg", quality=90 + number)
    monkeypatch.setattr(ar, "ArtifactRecipe", lambda: replace(TINY, held_out=0.5))
    ar.main(photos, tmp_path / "ar", steps=3, data="of a lake", checkpoints=tmp_path / "checkpoints")
    weights = weight_files.open_weights(tmp_path / "ar.onnx", "ar")
    card = weight_files.card(weights)
    assert card["recipe"]["steps"] == 3 and card["recipe"] == json.loads(weights.metadata["recipe"])
    assert card["data"].endswith("photographs, of a lake")
    assert card["held_out_pictures"] + int(card["data"].split()[0]) == 12
    assert set(card["psnr_gain_db_on_held_out_photographs"]) == {step.name for step in VALIDATED}
    shipped(tmp_path)
    pixels = lake.pixels[:65, :83]
    assert psnr(filter_named("ar").apply(pixels), pixels) > 20
