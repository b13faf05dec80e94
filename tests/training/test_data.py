"""Patches: every one once an epoch, a batch by its number alone, shared among processes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from kcompress.dataset import is_held_out
from kcompress.errors import InputError, UsageError
from kcompress.images import Image
from kcompress.training.data import Batches, Pair, prefetched
from kcompress.training.recipe import Recipe

TINY = Recipe(patch_width=32, patch_height=20, stride=16, batch=3)


@pytest.fixture
def pairs(balloons: Image) -> list[Pair]:
    """The target is the original, halved."""
    return [Pair(pixels, pixels // 2) for pixels in (balloons.pixels[:100, :120], balloons.pixels[50:90, 100:180])]


def sums(batches: Batches, numbers: range) -> list[float]:
    return [float(patch.double().sum()) for number in numbers for patch in batches[number][0]]


def test_the_papers_recipe() -> None:
    recipe = Recipe()
    assert (recipe.patch_width, recipe.patch_height, recipe.stride) == (320, 180, 160)
    assert (recipe.batch, recipe.learning_rate, recipe.split) == (4, 1e-4, 0.6)


def test_every_patch_is_seen_once_an_epoch(pairs: list[Pair]) -> None:
    batches = Batches(pairs, TINY)
    patches = 6 * 6 + 2 * 4
    assert len(batches) == patches // 3
    whole = Batches(pairs, replace(TINY, batch=1))
    first, second = (sums(whole, range(epoch * patches, (epoch + 1) * patches)) for epoch in range(2))
    assert len(set(first)) == patches and sorted(first) == sorted(second) and first != second


def test_a_batch_follows_from_its_number_and_the_seed(pairs: list[Pair]) -> None:
    batches = Batches(pairs, TINY)
    later = [batches[20], batches[3], batches[20]]
    assert torch.equal(later[0][0], later[2][0]) and not torch.equal(later[0][0], later[1][0])
    assert torch.equal(Batches(pairs, TINY)[20][1], later[0][1])
    assert not torch.equal(Batches(pairs, replace(TINY, seed=1))[20][0], later[0][0])


def test_originals_and_targets_are_cut_alike(pairs: list[Pair]) -> None:
    for number in range(20):
        original, target = Batches(pairs, TINY)[number]
        assert original.shape == target.shape == (3, 3, 20, 32)
        assert torch.equal((original * 255).round() // 2, (target * 255).round())


def test_processes_share_a_batch(pairs: list[Pair]) -> None:
    recipe = replace(TINY, batch=4)
    whole, shares = Batches(pairs, recipe)[5][0], [Batches(pairs, recipe, process, 2)[5][0] for process in range(2)]
    assert all(torch.equal(share, whole[process::2]) for process, share in enumerate(shares))
    with pytest.raises(UsageError, match=r"--batch 3 is no multiple of 2 processes"):
        Batches(pairs, TINY, 0, 2)


def test_too_little_data(pairs: list[Pair]) -> None:
    with pytest.raises(InputError, match=r"1 patches of 120x100 are fewer than one batch of 3"):
        Batches(pairs, replace(TINY, patch_width=120, patch_height=100))


def test_held_out_is_decided_by_the_digest() -> None:
    digests = [f"{number:08x}" + "0" * 56 for number in np.linspace(0, 2**32 - 1, 1000).astype(int)]
    assert sum(is_held_out(digest, 0.4) for digest in digests) == 400
    assert all(is_held_out(digest, 0.5) for digest in digests if is_held_out(digest, 0.2))


def test_what_is_made_ahead_comes_in_order() -> None:
    stream = prefetched(lambda number: number * number, 3, 5)
    assert [next(stream) for _ in range(4)] == [25, 36, 49, 64]
    stream.close()
