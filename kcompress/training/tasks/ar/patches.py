"""Patches of photographs before and after compression, for artifact removal."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from kcompress.images import Pixels
from kcompress.training.crops import random_square
from kcompress.training.distortions import Distortion, Random, random_compression, through
from kcompress.training.photos import REGION
from kcompress.training.tasks.ar.recipe import ArtifactRecipe

MARGIN = 16
"""Pixels around a patch that are compressed with it and cut away: no codec sees an edge there."""


@dataclass(frozen=True)
class Pair:
    """A region before and after compression, (H, W, 3) uint8."""

    clean: Pixels
    compressed: Pixels


def region(pictures: Sequence[Pixels], side: int, random: Random) -> Pixels:
    """A random square of a random picture, mirrored or not; large pictures come as often as small ones."""
    return random_square(pictures[int(random.integers(len(pictures)))], side, random)


def hevc_bank(pictures: Sequence[Pixels], recipe: ArtifactRecipe) -> list[list[Pair]]:
    """Regions through HEVC, which is too slow to be run for every patch; some at each quality."""

    def alike(number: int) -> list[Pair]:
        random = np.random.default_rng([recipe.seed, 1, number])
        step = random_compression(random, "hevc")
        cleans = [region(pictures, REGION, random) for _ in range(recipe.alike)]
        return [Pair(clean, step.apply(clean)) for clean in cleans]

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(alike, range(recipe.hevc_regions // recipe.alike)))


def alike(
    pictures: Sequence[Pixels], bank: Sequence[Sequence[Pair]], recipe: ArtifactRecipe, random: Random
) -> list[Pair]:
    """Patches of one codec and quality, as the network sees them."""
    side = recipe.side + 2 * MARGIN
    steps: list[Distortion] = []
    if random.random() < 0.2:
        wholes: Sequence[Pair] = bank[int(random.integers(len(bank)))]
        # Multiples of 8: where HEVC's blocks are.
        corners = [8 * random.integers((REGION - side) // 8 + 1, size=2) for _ in wholes]
        pairs = [
            Pair(
                pair.clean[top : top + side, left : left + side], pair.compressed[top : top + side, left : left + side]
            )
            for pair, (top, left) in zip(wholes, corners, strict=True)
        ]
    else:
        cleans = [region(pictures, side, random) for _ in range(recipe.alike)]
        pairs = [Pair(clean, clean) for clean in cleans]
        if random.random() >= recipe.clean:
            steps.append(random_compression(random, "jpeg" if random.random() < 0.75 else "webp"))
    if random.random() < recipe.twice:
        steps.append(random_compression(random, "jpeg" if random.random() < 0.75 else "webp"))
    shifted = random.random() < recipe.shifted
    top, left = map(int, random.integers(2 * MARGIN, size=2)) if shifted else (MARGIN, MARGIN)
    place = slice(top, top + recipe.side), slice(left, left + recipe.side)
    return [Pair(pair.clean[place], through(pair.compressed, steps)[place]) for pair in pairs]
