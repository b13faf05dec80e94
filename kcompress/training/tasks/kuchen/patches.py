"""Pairs of pictures, cut into patches."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kcompress.errors import InputError
from kcompress.inference.batches import tensor
from kcompress.patches import Patches
from kcompress.training.tasks.kuchen.labelled import Pair
from kcompress.training.tasks.kuchen.recipe import KuchenRecipe


class Batch(NamedTuple):
    """Originals and targets of a step, (N, 3, H, W) 0..1."""

    originals: Tensor
    targets: Tensor


class PairPatches:
    """All patches in random order, then all again in another, without end; a batch follows from its number alone.

    Pictures smaller than a patch are left out.

    Raises:
        InputError: fewer patches than one batch takes.
    """

    def __init__(self, pairs: Sequence[Pair], recipe: KuchenRecipe) -> None:
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
        self._pairs, self._recipe = pairs, recipe

    def __len__(self) -> int:
        """Batches an epoch."""
        return len(self._places) // self._recipe.batch

    def batch(self, number: int) -> Batch:
        """Cut the batch of a step, from 0."""
        recipe = self._recipe
        epoch, place = divmod(number, len(self))
        cuts = []
        for index in self._order(epoch)[place * recipe.batch : (place + 1) * recipe.batch]:
            pair, top, left = self._places[index]
            rows, columns = slice(top, top + recipe.patch_height), slice(left, left + recipe.patch_width)
            cuts.append((self._pairs[pair].original[rows, columns], self._pairs[pair].target[rows, columns]))
        originals, targets = zip(*cuts, strict=True)
        return Batch(tensor(originals), tensor(targets))

    @lru_cache(maxsize=2)  # noqa: B019, these live as long as the training
    def _order(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._recipe.seed, epoch]).permutation(len(self._places))
