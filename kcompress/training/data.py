"""Pairs of pictures, cut into patches."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kcompress.errors import InputError, UsageError
from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.patches import Patches
from kcompress.training.recipe import Recipe
from kcompress.workers import ordered

Made = TypeVar("Made")


@dataclass(frozen=True)
class Pair:
    """A picture and what the network shall make of it, both (H, W, 3) uint8."""

    original: Pixels
    target: Pixels


def prefetched(make: Callable[[int], Made], ahead: int, first: int = 0) -> Iterator[Made]:
    """``make(first)``, the next and so on without end; the next ``ahead`` are made while one is used."""
    with ThreadPoolExecutor(1) as pool:
        yield from ordered(pool, make, ((number,) for number in count(first)), ahead)


class Batches:
    """All patches in random order, then all again in another, without end; a batch follows from its number alone.

    Args:
        pairs: to cut from; pictures smaller than a patch are left out.
        recipe: sizes and seed.
        process: of several, which each take their part of every batch.
        processes: how many.

    Raises:
        InputError: fewer patches than one batch takes.
        UsageError: a batch cannot be shared among the processes.
    """

    def __init__(self, pairs: Sequence[Pair], recipe: Recipe, process: int = 0, processes: int = 1) -> None:
        patches = Patches(recipe.patch_width, recipe.patch_height, recipe.stride)
        self._places = [
            (index, top, left)
            for index, pair in enumerate(pairs)
            for left, top in patches.corners(pair.original.shape[1], pair.original.shape[0])
        ]
        if len(self._places) < recipe.batch:
            raise InputError(
                f"{len(self._places)} patches of {patches} are fewer than one batch of {recipe.batch}. "
                "Give more pictures, a smaller --patch, or a smaller --batch."
            )
        if recipe.batch % processes:
            raise UsageError(f"--batch {recipe.batch} is no multiple of {processes} processes. Give another.")
        self._pairs, self._recipe = pairs, recipe
        self._part = slice(process, None, processes)

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._places) // self._recipe.batch

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        """Originals and targets, (N, 3, H, W) 0..1; ``number`` is that of the step, from 0."""
        epoch, place = divmod(number, len(self))
        chosen = self._order(epoch)[place * self._recipe.batch : (place + 1) * self._recipe.batch][self._part]
        cuts = []
        for index in chosen:
            pair, top, left = self._places[index]
            rows, columns = slice(top, top + self._recipe.patch_height), slice(left, left + self._recipe.patch_width)
            cuts.append((self._pairs[pair].original[rows, columns], self._pairs[pair].target[rows, columns]))
        originals, targets = zip(*cuts, strict=True)
        return tensor(originals), tensor(targets)

    @lru_cache(maxsize=2)  # noqa: B019, these live as long as the training
    def _order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._recipe.seed, epoch]).permutation(len(self._places))
