"""Pairs of pictures, cut into patches."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kcompress.dataset import digest
from kcompress.patches import Patches
from kcompress.training.recipe import Recipe

Pixels = NDArray[np.uint8]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Pair:
    """A picture and what the network shall make of it, both (H, W, 3) uint8."""

    original: Pixels
    target: Pixels


def is_held_out(picture: Path, share: float) -> bool:
    """Whether a picture belongs to the validation part: by its bytes alone, so it never changes sides."""
    return int(digest(picture.read_bytes())[:8], 16) < share * 2**32


def corners(height: int, width: int, recipe: Recipe) -> list[tuple[int, int]]:
    """Top left corners (y, x) of all patches that lie wholly inside a picture of this size."""
    patches = Patches(recipe.patch_width, recipe.patch_height, recipe.stride)
    return [(top, left) for left, top in patches.corners(width, height)]


def tensor(patches: Sequence[Pixels]) -> Tensor:
    """Patches (H, W, 3) 0..255 as one batch (N, 3, H, W) 0..1, channels last in memory."""
    batch = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2)
    return batch.float().div_(255).contiguous(memory_format=torch.channels_last)


def prefetched(make: Callable[[int], Made], ahead: int) -> Iterator[Made]:
    """``make(0)``, ``make(1)`` and so on without end; the next ``ahead`` are made while one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting = deque(pool.submit(make, number) for number in range(ahead))
        for number in count(ahead):
            yield waiting.popleft().result()
            waiting.append(pool.submit(make, number))


def batches(pairs: Sequence[Pair], recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches (originals, targets): all patches in random order, then all again in another.

    Raises:
        ValueError: fewer patches than one batch takes.
    """
    places = [
        (index, y, x)
        for index, pair in enumerate(pairs)
        for y, x in corners(pair.original.shape[0], pair.original.shape[1], recipe)
    ]
    if len(places) < recipe.batch:
        raise ValueError(f"{len(places)} patches are fewer than one batch of {recipe.batch}")
    order = np.random.default_rng(recipe.seed)
    while True:
        shuffled = order.permutation(len(places))
        for start in range(0, len(places) - recipe.batch + 1, recipe.batch):
            chosen = [places[i] for i in shuffled[start : start + recipe.batch]]
            cuts = [(i, slice(y, y + recipe.patch_height), slice(x, x + recipe.patch_width)) for i, y, x in chosen]
            yield (
                tensor([pairs[i].original[rows, columns] for i, rows, columns in cuts]),
                tensor([pairs[i].target[rows, columns] for i, rows, columns in cuts]),
            )
