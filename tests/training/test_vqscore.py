"""Training of VQscore: batches, objective, validation, and the whole way to weights that the metric uses."""

import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
import typer
from PIL import Image as Pil
from safetensors.torch import load_file, save_file
from torch import nn

from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.metrics import METRICS
from kcompress.metrics.vqscore_network import VQscoreNetwork
from kcompress.metrics.vqscore_trunk import Trunk
from kcompress.pool import filter_named
from kcompress.training import vqscore
from kcompress.training.events import Prepared, Validation
from kcompress.training.learner import share
from kcompress.training.pointed_kinds import PAIRED
from kcompress.training.quality_data import JudgedRegions, QualityData
from kcompress.training.quality_kinds import KINDS, SOFTENING
from kcompress.training.task import Split
from kcompress.training.tasks.vqscore.loss import DAMAGES, Batch, QualityLoss, damage, differences, objective
from kcompress.training.tasks.vqscore.recipe import QualityRecipe
from kcompress.training.tasks.vqscore.task import (
    CLEAN,
    Part,
    QualityTask,
    TrainingRegions,
    batch,
    correlation,
    regions,
    scores,
    validated,
)
from kcompress.training.trainer import Trainer, accelerator

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = 104
TINY = QualityRecipe(
    content=0, residuals=0,
    judges=("ssimulacra2",), regions=1, region=SIDE, steps=30, contents=2, versions=3, side=64, large_side=96,
    large_contents=1, learning_rate=2e-3, warmup=5, averaging=0.8, validate_every=15, held_out=0.5,
)  # fmt: skip
ABSENT = 5
"""A kind that was not made."""
MADE = [kind for kind in range(len(KINDS)) if kind != ABSENT]
NONE_SOFT = torch.tensor(False)


def eight_regions() -> QualityData:
    """Eight regions that tell by their red which they are, by their green which kind, and where by their blue.

    The grainier, the lower the score: easily learned.
    """
    random = np.random.default_rng(0)
    found = 20 + 80 * random.random((8, len(KINDS)))
    found[:, CLEAN] = 100
    pixels = np.empty((8, len(KINDS), SIDE, SIDE, 3), np.uint8)
    pixels[..., 0] = (10 * np.arange(8))[:, None, None, None]
    pixels[..., 1] = (10 * np.arange(len(KINDS)))[None, :, None, None]
    pixels[..., 2] = 2 * np.arange(SIDE)
    grain = random.random((SIDE, SIDE)) < 0.5
    pixels[..., 2] += ((110 - found)[:, :, None, None] / 2 * grain).astype(np.uint8)
    found[:, ABSENT] = np.nan
    pixels[:, ABSENT] = 0
    return QualityData(pixels, found, np.repeat(np.arange(4), 2))


def only(data: QualityData, train: np.ndarray) -> list[Part]:
    """One part, without validation."""
    return [Part(data, train, [])]


def judged(data: QualityData) -> JudgedRegions:
    """The regions before SSIMULACRA2, alone, gave them their targets."""
    return JudgedRegions(data.pixels, data.targets[..., None], data.pictures)


@pytest.fixture
def data() -> QualityData:
    return eight_regions()


def place(whole: np.ndarray, crop: np.ndarray) -> tuple[int, int, bool]:
    """Top, left, and whether it is mirrored."""
    (found,) = (
        (top, left, mirrored)
        for top in range(SIDE - 63) for left in range(SIDE - 63) for mirrored in (False, True)
        if np.array_equal(whole[top : top + 64, left : left + 64][:, :: -1 if mirrored else 1], crop)
    )  # fmt: skip
    return found


class Oracle(nn.Module):
    """Knows the region and the kind of a crop, and gives the number that was written down for them."""

    def __init__(self, table: np.ndarray) -> None:
        super().__init__()
        self.table = torch.from_numpy(table.astype(np.float32))

    def look(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def score(self, image: torch.Tensor) -> torch.Tensor:
        region, kind = ((image[:, channel, 0, 0] * 25.5).round().long() for channel in (0, 1))
        return self.table[region, kind][:, None]


def oracle(table: np.ndarray) -> VQscoreNetwork:
    return cast("VQscoreNetwork", Oracle(table))


def test_kinds_that_were_not_made_are_not_learned_from(data: QualityData) -> None:
    data.targets[3, 3:] = np.nan
    alone = replace(TINY, contents=1)
    made = [batch(only(data, np.array([3])), alone, number) for number in range(5)]
    kinds = {int(kind) for each in made for kind in (each.pictures[:, 1, 0, 0] * 25.5).round()}
    assert kinds == {0, 1, 2}


def test_crops_are_large_at_the_end(data: QualityData) -> None:
    recipe = replace(TINY, steps=10, large_from=0.7)
    sizes = [tuple(batch(only(data, np.arange(8)), recipe, number).pictures.shape) for number in range(10)]
    assert sizes == [(6, 3, 64, 64)] * 7 + [(3, 3, 96, 96)] * 3


def test_versions_of_a_region_are_cut_alike_and_know_their_targets(data: QualityData) -> None:
    some = np.array([1, 3, 4, 6])
    recipe = replace(TINY, large_from=1)
    places = set()
    for number in range(24):
        made = batch(only(data, some), recipe, number)
        assert made.pictures.shape == (6, 3, 64, 64) and made.targets.shape == (2, 3)
        crops = (made.pictures * 255).round().numpy().astype(int).reshape(2, 3, 3, 64, 64)
        red, green = crops[:, :, 0, 0, 0] // 10, crops[:, :, 1, 0, 0] // 10
        assert (green[:, 0] == CLEAN).all(), "the untouched one is always there"
        assert (red == red[:, :1]).all() and red[0, 0] != red[1, 0] and set(red[:, 0]) <= set(some)
        assert all(len(set(kinds)) == 3 and ABSENT not in kinds for kinds in green.tolist())
        wanted = data.targets[red, green]
        assert np.allclose(made.targets.numpy(), wanted, atol=1e-4)
        assert made.soft.tolist() == [[[*KINDS][kind] in SOFTENING for kind in row] for row in green.tolist()]
        (found,) = {
            place(data.pixels[red[0, version], green[0, version], ..., 2], crops[0, version, 2])
            for version in range(3 if number < 3 else 1)  # looking for them takes long
        }
        places.add(found)
    assert len(places) > 10 and {mirrored for *_, mirrored in places} == {False, True}


def test_a_version_is_there_again_a_few_pixels_further(data: QualityData) -> None:
    shifts, kinds = set(), set()
    for number in range(12):
        made = batch(only(data, np.arange(8)), TINY, number)
        versions = made.pictures.unflatten(0, (2, 3))[torch.arange(2), made.moved]
        pixels = ((255 * each).round().numpy().astype(int) for each in (versions, made.shifted))
        for here, there in zip(*pixels, strict=True):
            whole = data.pixels[here[0, 0, 0] // 10, here[1, 0, 0] // 10, ..., 2]
            top, left, mirrored = place(whole, here[2])
            down, right, again = place(whole, there[2])
            assert again == mirrored
            shifts.add((down - top, right - left))
            kinds.add(here[1, 0, 0] // 10)
    assert (1, 1) in shifts and len(shifts) > 5 and {0, 7} >= {min(map(min, shifts)), max(map(max, shifts))}
    assert CLEAN in kinds and len(kinds) > 5


def test_regions_of_all_parts_are_in_every_batch(data: QualityData) -> None:
    both = regions([judged(data), judged(data)], [[0, 1, 2, 3], [4, 5, 6, 7]], TINY, 4, 0)
    task = QualityTask(Path(), TINY, Path())
    for number in range(6):
        reds = (task.batch(both, number).clean[:, 0, 0, 0] * 25.5).round()
        assert sorted(int(red) > 3 for red in reds) == [False, True]
    assert both.metrics[0] == "spearman" and "pointed spearman" in both.metrics


def test_batch_norm_may_stay_as_it_is(data: QualityData) -> None:
    made = batch(only(data, np.arange(8)), TINY, 0)
    for still in (False, True):
        loss = QualityLoss(VQscoreNetwork(), replace(TINY, still_norm=still)).train()
        before = {name: value.clone() for name, value in loss.named_buffers()}
        loss(made)
        assert loss.network.training
        assert still == all(torch.equal(value, before[name]) for name, value in loss.named_buffers())


@pytest.mark.parametrize("trained", [False, True])
def test_the_trunk_is_the_shipped_one_or_that_of_the_start_and_learns_if_asked_to(
    trained: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = Trunk().state_dict()
    monkeypatch.setattr("kcompress.training.tasks.vqscore.task.shipped_trunk", lambda: shipped)
    recipe = replace(TINY, content=8, residuals=8, trained_trunk=trained)
    for start in (None, Path("checkpoint.safetensors")):
        network = VQscoreNetwork(content=8, residuals=8)
        trunk = network.trunk
        assert trunk is not None
        QualityTask(Path(), recipe, Path(), start=start).loss(network)
        assert all(torch.equal(value, shipped[name]) for name, value in trunk.state_dict().items()) == (start is None)
        assert {each.requires_grad for each in trunk.parameters()} == {trained}
        assert all(each.requires_grad for each in network.levels.parameters())


@pytest.mark.parametrize("still", [False, True])
def test_convolutions_can_stand_still(data: QualityData, still: bool) -> None:
    recipe = replace(TINY, residuals=8, still_convolutions=still, still_norm=True)
    network = VQscoreNetwork(residuals=8)
    loss = QualityTask(Path(), recipe, Path()).loss(network).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.SGD([each for each in loss.parameters() if each.requires_grad], lr=0.1)
    loss(batch(only(data, np.arange(8)), recipe, 0))["loss"].backward()
    optimiser.step()
    changed = {name.partition(".")[0] for name, value in network.state_dict().items() if (value != before[name]).any()}
    assert changed == {"tokens", "encoder", "head", "residuals"} | (set() if still else {"levels"})


@pytest.mark.parametrize("more", [{}, {"start": Path("some.safetensors"), "trained_trunk": True}])
def test_what_stands_still_must_be_given(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter, match="--still-convolutions leaves them as --weights have them"):
        vqscore.main(tmp_path, tmp_path / "made", still_convolutions=True, **more)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(VQscoreNetwork().state_dict(), tmp_path / "other.safetensors")
    with pytest.raises(UsageError, match=r"other\.safetensors are of another network, or of other sizes"):
        QualityTask(Path(), replace(TINY, residuals=8), Path(), start=tmp_path / "other.safetensors").build()


def test_a_region_without_a_sharp_place_is_not_trained_on(data: QualityData) -> None:
    rough = np.random.default_rng(2).integers(256, size=(SIDE, SIDE, 3), dtype=np.uint8)
    data.pixels[[3, 6], CLEAN] = filter_named("blur:s=1.5").apply(rough)
    assert regions([judged(data)], [[0]], TINY, 4, 0).parts[0].train.tolist() == [1, 2, 4, 5, 7]


@pytest.mark.parametrize("aligned", [0.0, 1.0])
def test_crops_begin_where_blocks_do_if_asked_to(data: QualityData, aligned: float) -> None:
    recipe = replace(TINY, contents=1, versions=1, aligned=aligned, large_from=1)
    corners = set()
    for number in range(12):
        crop = (batch(only(data, np.array([2])), recipe, number).pictures[0] * 255).round().numpy().astype(int)
        top, left, _ = place(data.pixels[2, crop[1, 0, 0] // 10, ..., 2], crop[2])
        corners.add((top % 8, left % 8))
    assert (corners == {(0, 0)}) == bool(aligned)


def test_batches_follow_the_seed_and_their_number(data: QualityData) -> None:
    def made(recipe: QualityRecipe, number: int = 0) -> torch.Tensor:
        return batch(only(data, np.arange(8)), recipe, number).pictures

    assert torch.equal(made(TINY), made(TINY))
    assert not torch.equal(made(TINY), made(replace(TINY, seed=1)))
    assert not torch.equal(made(TINY), made(TINY, 1))


def test_processes_share_a_batch_by_regions(data: QualityData) -> None:
    recipe = replace(TINY, contents=4, large_contents=2)
    assert recipe.batch == 2, "of both kinds of batches"
    whole = batch(only(data, np.arange(8)), recipe, 0)
    parts = [share(whole, process, recipe.batch) for process in range(recipe.batch)]
    for part in parts:
        assert isinstance(part, Batch)
        assert len(part.pictures) == recipe.versions * len(part.targets) == recipe.versions * len(part.clean)
    for name in Batch._fields:
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(whole, name))


def test_the_clean_crop_is_that_of_the_versions(data: QualityData) -> None:
    for number in range(3):
        made = batch(only(data, np.arange(8)), TINY, number)
        assert made.clean.shape == (2, 3, 64, 64)
        shown = made.pictures.unflatten(0, (2, 3))[:, 0, 0, 0, 0]
        assert torch.equal(made.clean[:, 0, 0, 0], shown)
        assert (made.clean[:, 1] == CLEAN).all()


def test_damage_tells_error_coarse_error_and_sharpness_of_each_token() -> None:
    random = torch.Generator().manual_seed(0)
    clean = torch.rand((1, 3, 64, 96), generator=random)
    assert torch.equal(damage(clean, clean), torch.zeros(1, 6, DAMAGES))
    brighter = clean.clone()
    brighter[..., 32:, 64:] += 10 / 255  # the last token alone
    found = damage(brighter, clean)[0]
    assert torch.allclose(found[:5], torch.zeros(5, DAMAGES))
    assert found[5].tolist() == pytest.approx([np.log(101), np.log(401), 0], abs=1e-3)
    flat = clean.clone()
    flat[..., :32, :32] = 0.5
    found = damage(flat, clean)[0]
    assert found[0, 2] < -5 and torch.equal(found[1:], torch.zeros(5, DAMAGES))
    finest = torch.ones(1, 3, 64, 96) * 0.5
    finest[..., ::2] += 0.2
    assert damage(finest, torch.full_like(finest, 0.5))[0, :, 2].tolist() == pytest.approx([np.log(1 + 25.5**2)] * 6)
    assert damage(finest, torch.full_like(finest, 0.6))[0, :, 1].abs().max() < 1e-3, "no coarse error"


def test_damage_of_flat_bright_crops_is_finite() -> None:
    white = torch.ones(2, 3, 64, 64)
    assert damage(white, white).isfinite().all()


class Told(nn.Module):
    """Stands in for a network: tells of crops what it is given."""

    def __init__(self, scores: torch.Tensor) -> None:
        super().__init__()
        self.tokens = nn.Linear(1, 1)
        self.scores = scores

    def look(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def score(self, encoded: torch.Tensor) -> torch.Tensor:
        """Those of the versions; and the first of each region again, a point more, for the shifted ones."""
        scores = self.scores if len(encoded) == self.scores.numel() else self.scores[:, :1] + 1
        return scores.flatten()[:, None]


@torch.no_grad()
def test_the_loss_asks_for_what_was_done_too(data: QualityData) -> None:
    made = batch(only(data, np.arange(8)), TINY, 0)._replace(moved=torch.zeros(2, dtype=torch.int64))
    done = damage(made.pictures, made.clean.repeat_interleave(3, dim=0))

    def loss(scores: torch.Tensor, told: torch.Tensor, recipe: QualityRecipe = TINY) -> dict[str, float]:
        module = QualityLoss(Told(scores), recipe)  # type: ignore[arg-type]
        module.local.forward = lambda encoded: told  # type: ignore[method-assign]
        return {name: float(value) for name, value in module(made).items()}

    still = replace(TINY, shift=0.0)
    assert loss(made.targets, done, still) == pytest.approx({"loss": 0, "score": 0, "damage": 0, "shift": 0.01})
    assert loss(made.targets, done + 3, still)["loss"] == pytest.approx(TINY.local * 2.5)
    assert loss(made.targets, done + 3, replace(still, local=0.0))["loss"] == 0
    assert loss(made.targets, done, replace(TINY, shift=5.0))["loss"] == pytest.approx(0.05)
    missed = torch.full_like(made.targets, 50)
    expected = float(objective(missed, made.targets, made.soft, TINY))
    assert loss(missed, done, still)["loss"] == loss(missed, done)["score"] == pytest.approx(expected)


@torch.no_grad()
def test_a_network_scores_the_same_while_it_is_taught(data: QualityData) -> None:
    torch.manual_seed(0)
    network = VQscoreNetwork(tokens=16, heads=2, layers=1).eval()
    made = batch(only(data, np.arange(8)), TINY, 0)
    found = QualityLoss(network, TINY)(made)
    pictures, shifted = (network.score(network.look(each))[:, 0] for each in (made.pictures, made.shifted))
    score = objective(pictures.view_as(made.targets), made.targets, made.soft, TINY)
    assert float(found["score"]) == pytest.approx(float(score))
    again = shifted - pictures.view_as(made.targets)[[0, 1], made.moved]
    assert float(found["shift"]) == pytest.approx(float((again / 10).square().mean()), rel=1e-3)
    parts = score + TINY.local * found["damage"] + TINY.shift * found["shift"]
    assert float(found["loss"]) == pytest.approx(float(parts), rel=1e-5)


def test_the_right_order_costs_less_than_the_wrong_one() -> None:
    wanted = torch.tensor([[80.0, 60.0, 20.0]])
    alone = replace(TINY, ranking=1.0)

    def ranking(*given: float) -> float:
        """What the order adds to the error."""
        found = torch.tensor([given])
        with_order, without = (objective(found, wanted, NONE_SOFT, replace(alone, ranking=each)) for each in (1, 0))
        return float(with_order - without)

    assert float(objective(wanted, wanted, NONE_SOFT, alone)) == 0
    assert ranking(80, 60, 20) == ranking(30, 19, 5) == 0, "far enough apart, wherever"
    assert 0 < ranking(30, 25, 5) < ranking(25, 30, 5) < ranking(5, 25, 30)
    # All alike: each pair lacks its margin, at most 10 points.
    assert ranking(50, 50, 50) == pytest.approx(1)


def test_errors_of_the_untouched_version_count_less_and_small_ones_are_squared() -> None:
    recipe = replace(TINY, ranking=0.0, untouched=0.25)
    wanted = torch.tensor([[100.0, 50.0, 30.0]])

    def error(*missed: float) -> float:
        return float(objective(wanted - torch.tensor([missed]), wanted, NONE_SOFT, recipe))

    assert error(10, 0, 0) == pytest.approx(0.25 * error(0, 10, 0))
    assert error(0, 10, 0) == pytest.approx(4 * error(0, 5, 0)) == pytest.approx(error(0, 0, -10))
    assert error(0, 40, 0) < 4 * error(0, 20, 0)


def test_a_softened_version_that_is_overrated_counts_more() -> None:
    recipe = replace(TINY, ranking=0.0, overrated=3.0)
    wanted, soft = torch.tensor([[100.0, 50.0, 30.0]]), torch.tensor([[False, True, False]])

    def error(*missed: float) -> float:
        return float(objective(wanted + torch.tensor([missed]), wanted, soft, recipe))

    assert error(0, 10, 0) == pytest.approx(3 * error(0, -10, 0)), "overrated, and underrated"
    assert error(0, 0, 10) == error(0, 0, -10) == pytest.approx(error(0, -10, 0)), "not softened"


def test_differences_of_paired_regions_count_and_nothing_that_all_versions_share() -> None:
    wanted = torch.tensor([[100.0, 60.0, 50.0, 40.0], [100.0, 70.0, 70.0, 60.0]])
    both, first, none = (torch.tensor(each) for each in ([True, True], [True, False], [False, False]))
    shared = torch.tensor([[-20.0, 8.0, 8.0, 8.0], [5.0, -9.0, -9.0, -9.0]])
    assert float(differences(wanted + shared, wanted, both)) == 0, "the untouched one is not one of them"
    missed = torch.tensor([[0.0, 3.0, 0.0, 0.0], [0.0, 0.0, 0.0, 6.0]])
    # less their means, in threes: 2/3, -1/3, -1/3 -> (4 + 1 + 1) / 9 / 2 = 1/3; of the other, 4/3 counts less its half
    assert float(differences(wanted + missed, wanted, first)) == pytest.approx((1 / 3) / 6)
    assert float(differences(wanted + missed, wanted, both)) == pytest.approx((1 / 3 + 4 / 9 + 4 / 3 - 1 / 2) / 6)
    assert float(differences(wanted + missed, wanted, none)) == 0


def test_batches_tell_which_regions_are_paired_and_the_loss_weighs_them(data: QualityData) -> None:
    some = slice(len(PAIRED))
    paired = replace(data, pixels=data.pixels[:, some], targets=data.targets[:, some], kinds=[*PAIRED])
    parts = [Part(each, np.arange(8), []) for each in (data, paired)]
    assert [batch(parts, TINY, number).paired.tolist() for number in (0, 1)] == [[False, True], [True, False]]
    network = VQscoreNetwork()
    losses = [
        float(QualityLoss(network, replace(TINY, differences=weight))(batch(parts, TINY, 0))["score"])
        for weight in (0.0, 1.0, 2.0)
    ]
    assert losses[1] - losses[0] == pytest.approx(losses[2] - losses[1], rel=1e-3) and losses[1] > losses[0]


def test_targets_that_are_close_need_not_be_far_apart() -> None:
    recipe = replace(TINY, ranking=1.0, margin=10.0)
    wanted = torch.tensor([[50.0, 47.0]])
    assert float(objective(wanted, wanted, NONE_SOFT, recipe)) == 0
    equal = torch.tensor([[50.0, 50.0]])
    assert torch.isfinite(objective(equal + 1, equal, NONE_SOFT, recipe))
    assert float(objective(equal, equal, NONE_SOFT, recipe)) == 0, "nothing to rank"


def test_pairs_are_made_within_a_region_alone() -> None:
    recipe = replace(TINY, ranking=1.0)
    wanted = torch.tensor([[90.0, 80.0], [20.0, 10.0]])
    found = torch.tensor([[20.0, 10.0], [90.0, 80.0]])  # wrong between the regions, right within each
    errors = objective(found, wanted, NONE_SOFT, replace(recipe, ranking=0.0))
    assert float(objective(found, wanted, NONE_SOFT, recipe)) == float(errors)


def test_the_gradient_brings_scores_nearer_to_their_targets() -> None:
    wanted, given = torch.tensor([[80.0, 20.0]]), torch.tensor([[40.0, 60.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(objective(given, wanted, NONE_SOFT, TINY), given)
    assert slope[0, 0] < 0 < slope[0, 1]


def test_correlation_is_spearmans() -> None:
    values = np.random.default_rng(0).random((5, 6))
    assert correlation(values, values**3) == pytest.approx(1)
    assert correlation(values, -values) == pytest.approx(-1)
    one, other = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 1, 4, 3, 5])
    assert correlation(one, other) == pytest.approx(1 - 6 * 4 / (5 * 24))


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    one, other = np.array([100.0, 100, 100, 40, 20]), np.array([90.0, 70, 80, 30, 10])
    ranks = np.array([4, 4, 4, 2, 1]), np.array([5, 3, 4, 2, 1])
    expected = np.corrcoef(*ranks)[0, 1]
    for order in ([0, 1, 2, 3, 4], [2, 0, 1, 4, 3], [4, 3, 2, 1, 0]):
        assert correlation(one[order], other[order]) == pytest.approx(expected), "whatever comes first"
    assert correlation(one.reshape(5, 1), other.reshape(1, 5)) == pytest.approx(expected)
    assert correlation(one, np.full(5, 3.0)) == correlation(np.full(5, 3.0), one) == 0


def test_scores_are_of_the_middle_of_each_region_and_kind(data: QualityData) -> None:
    table = np.random.default_rng(1).random((8, len(KINDS)))
    found = scores(oracle(table), data, [2, 5], TINY.side)
    assert found.shape == (2, len(KINDS) - 1)
    assert np.allclose(found, table[[2, 5]][:, MADE])
    first = oracle(table)
    first.score = lambda image: 255 * image[:, 2, :1, 0]  # type: ignore[method-assign]
    middle = (SIDE - TINY.side) // 2
    assert np.allclose(scores(first, data, [2, 5], TINY.side), data.pixels[[2, 5]][:, MADE, middle, middle, 2])
    data.targets[7, 0] = np.nan  # then the whole kind does not count
    assert np.allclose(scores(oracle(table), data, [2, 5], TINY.side), table[[2, 5]][:, MADE[1:]])


def test_a_perfect_network_is_told_so(data: QualityData) -> None:
    some = [1, 3, 6]
    wanted = np.nan_to_num(data.targets)
    found = validated(oracle(wanted), data, some, TINY.side)
    assert (found["spearman"], found["spearman_within_a_region"], found["mean_error"]) == (1, 1, 0)
    kinds = [[*KINDS][number] for number in MADE if number != CLEAN]
    assert [name for name in found if name in KINDS] == kinds and all(found[kind] == 1 for kind in kinds)
    reverse = validated(oracle(100 - wanted), data, some, TINY.side)
    assert reverse["spearman"] == reverse["spearman_within_a_region"] == -1
    assert found["overrated_softness"] == 0
    praised = wanted.copy()
    praised[:, [[*KINDS].index(kind) for kind in KINDS if kind in SOFTENING]] += 7
    praise = validated(oracle(praised), data, some, TINY.side)
    assert praise["overrated_softness"] == pytest.approx(7, abs=0.01)
    assert reverse["mean_error"] == pytest.approx(np.abs(100 - 2 * wanted[some][:, MADE]).mean(), abs=0.01)


@dataclass(frozen=True)
class OnRegions(QualityTask):
    """Learns from regions that are made."""

    data: QualityData | None = None
    validation: tuple[int, ...] = ()

    def split(self) -> Split:
        return Split((), (), "")

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, TrainingRegions]:
        yield from ()
        assert self.data is not None
        return regions([judged(self.data)], [self.validation], self.recipe, 4, 0)


def train(
    recipe: QualityRecipe, data: QualityData, validation: Sequence[int], folder: Path, start: Path | None = None
) -> tuple[VQscoreNetwork, Any]:
    """The last checkpoint, and what its validation found."""
    task = OnRegions(Path(), recipe, Path(), start=start, data=data, validation=tuple(validation))
    *_, last = (e for e in Trainer(task, folder, accelerator("cpu")).run() if isinstance(e, Validation))
    network = VQscoreNetwork().eval()
    network.load_state_dict(load_file(last.checkpoint))
    return network, last.metrics


def test_training_lowers_the_error(data: QualityData, tmp_path: Path) -> None:
    untrained, _ = train(replace(TINY, steps=1), data, [0, 1], tmp_path / "untrained")
    model, found = train(TINY, data, [0, 1], tmp_path / "trained")
    seen = list(range(2, 8))
    errors = [validated(network, data, seen, TINY.side)["mean_error"] for network in (untrained, model)]
    assert errors[1] < 0.9 * errors[0]
    assert found == validated(model, data, [0, 1], TINY.large_side)
    names = [path.name for path in sorted((tmp_path / "trained").glob("step-*"))]
    assert names == ["step-000015.safetensors", "step-000030.safetensors"]


def test_regions_that_are_held_out_are_not_trained_on(data: QualityData) -> None:
    known = regions([judged(data)], [[0, 1, 5]], TINY, 4, 0)
    assert known.parts[0].train.tolist() == [2, 3, 4, 6, 7]
    task = QualityTask(Path(), TINY, Path())
    reds = {int(red) for number in range(20) for red in (task.batch(known, number).clean[:, 0, 0, 0] * 25.5).round()}
    assert reds == {2, 3, 4, 6, 7}


def test_the_first_judge_cannot_be_left_out(tmp_path: Path) -> None:
    task = QualityTask(Path(), replace(TINY, judges=("butteraugli",)), tmp_path)
    with pytest.raises(UsageError, match="--judges butteraugli: ssimulacra2 is missing"):
        next(task.prepare(Split((), (), ""), tmp_path))


def test_training_goes_on_from_a_checkpoint(data: QualityData, tmp_path: Path) -> None:
    first, _ = train(replace(TINY, steps=3), data, [0, 1], tmp_path / "first")
    still = replace(TINY, steps=1, learning_rate=0.0, weight_decay=0.0)
    second, _ = train(still, data, [0, 1], tmp_path / "second", start=tmp_path / "first/step-000003.safetensors")
    assert all(
        torch.equal(value, second.state_dict()[name])
        for name, value in first.state_dict().items()
        if "running" not in name and "batches" not in name  # batch norm has seen one batch more
    )


def test_the_best_checkpoint_orders_best() -> None:
    task = QualityTask(Path(), TINY, Path())
    assert task.objective({"spearman": 0.9, "mean_error": 20}) < task.objective({"spearman": 0.8, "mean_error": 2})


def test_a_diverging_loss_stops(data: QualityData, tmp_path: Path) -> None:
    data.targets[2:] = np.inf
    with pytest.raises(FloatingPointError, match="at step 1"):
        train(TINY, data, [0, 1], tmp_path)


@pytest.mark.slow
def test_from_photographs_to_the_metric(
    lake: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shipped: Callable[[Path], None]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(12):
        Pil.fromarray(lake.pixels[number : number + 190, :200]).save(photos / f"{number}.jpg", quality=90 + number)
    monkeypatch.setattr(vqscore, "QualityRecipe", lambda: replace(TINY, residuals=8))
    torch.manual_seed(0)
    begun = tmp_path / "begun.safetensors"
    first = VQscoreNetwork(residuals=8)
    save_file(first.state_dict(), begun)
    left_out = ",".join(kind for kind in KINDS if kind not in ("clean", "jpeg 1", "jpeg 2", "webp", "noise", "soft"))
    vqscore.main(
        photos, tmp_path / "vqscore", steps=3, data="of a lake", without=left_out, judges="ssimulacra2,butteraugli",
        regions=1, side=180, overrated=3, prepared=tmp_path / "prepared", checkpoints=tmp_path / "checkpoints",
        still_convolutions=True, start=begun,
    )  # fmt: skip
    weights = weight_files.open_weights(tmp_path / "vqscore.onnx", "vqscore")
    card = weight_files.card(weights)
    assert card["recipe"]["steps"] == 3 and card["recipe"] == json.loads(weights.metadata["recipe"])
    assert [card["recipe"][name] for name in ("region", "large_side", "overrated")] == [180, 160, 3]
    assert card["recipe"]["still_convolutions"] and card["recipe"]["still_norm"]
    assert card["recipe"]["pointed_distortions"] and card["recipe"]["paired_distortions"]
    assert weights.arguments == {"content": 0, "residuals": 8}
    kept = {name: value for name, value in weights.tensors().items() if name.startswith("levels.")}
    assert all(torch.allclose(value, first.state_dict()[name], atol=1e-6) for name, value in kept.items()), (
        "batch norm, too, from the first step on"
    )
    assert card["data"].endswith("photographs, of a lake")
    judged = card["held_out_photographs"]
    assert judged["pictures"] + int(card["data"].split()[0]) == 12
    assert {*KINDS} - {*judged} - {"clean"} == {*left_out.split(",")}
    assert list(card["judges"]) == ["butteraugli"]
    shipped(tmp_path)
    assert 0 <= METRICS["vqscore"].score(lake.pixels[:65, :83], lake.pixels[:65, :83]) <= 100
