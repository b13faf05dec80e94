"""Patches: every one once an epoch, a batch by its number alone, shared among processes."""

from dataclasses import replace

import pytest
import torch

from kcompress.errors import InputError
from kcompress.images import Image
from kcompress.training.learner import share
from kcompress.training.tasks.kuchen.labelled import Pair
from kcompress.training.tasks.kuchen.patches import PairPatches
from kcompress.training.tasks.kuchen.recipe import KuchenRecipe

TINY = KuchenRecipe(patch_width=32, patch_height=20, stride=16, batch=3)


@pytest.fixture
def pairs(balloons: Image) -> list[Pair]:
    """The target is the original, halved."""
    return [Pair(pixels, pixels // 2) for pixels in (balloons.pixels[:100, :120], balloons.pixels[50:90, 100:180])]


def sums(batches: PairPatches, numbers: range) -> list[float]:
    return [float(patch.double().sum()) for number in numbers for patch in batches.batch(number)[0]]


def test_every_patch_is_seen_once_an_epoch(pairs: list[Pair]) -> None:
    batches = PairPatches(pairs, TINY)
    patches = 6 * 6 + 2 * 4
    assert len(batches) == patches // 3
    whole = PairPatches(pairs, replace(TINY, batch=1))
    first, second = (sums(whole, range(epoch * patches, (epoch + 1) * patches)) for epoch in range(2))
    assert len(set(first)) == patches and sorted(first) == sorted(second) and first != second


def test_a_batch_follows_from_its_number_and_the_seed(pairs: list[Pair]) -> None:
    batches = PairPatches(pairs, TINY)
    later = [batches.batch(20), batches.batch(3), batches.batch(20)]
    assert torch.equal(later[0][0], later[2][0]) and not torch.equal(later[0][0], later[1][0])
    assert torch.equal(PairPatches(pairs, TINY).batch(20)[1], later[0][1])
    assert not torch.equal(PairPatches(pairs, replace(TINY, seed=1)).batch(20)[0], later[0][0])


def test_originals_and_targets_are_cut_alike(pairs: list[Pair]) -> None:
    for number in range(20):
        original, target = PairPatches(pairs, TINY).batch(number)
        assert original.shape == target.shape == (3, 3, 20, 32)
        assert torch.equal((original * 255).round() // 2, (target * 255).round())


def test_processes_share_a_batch(pairs: list[Pair]) -> None:
    whole = PairPatches(pairs, replace(TINY, batch=4)).batch(5)
    shares = [share(whole, process, 2) for process in range(2)]
    assert all(torch.equal(torch.cat(parts), one) for parts, one in zip(zip(*shares, strict=True), whole, strict=True))


def test_too_little_data(pairs: list[Pair]) -> None:
    with pytest.raises(InputError, match=r"1 patches of 120x100 are fewer than one batch of 3"):
        PairPatches(pairs, replace(TINY, patch_width=120, patch_height=100))
