"""Patches with what the plain codec makes of them, measured once."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.errors import InputError
from kcompress.images import Pixels, comparable
from kcompress.networks.condition import condition
from kcompress.training.data import prefetched, tensor
from kcompress.training.loop import Prepared
from kcompress.training.proxies.jpeg import Jpeg, standard_steps
from kcompress.training.rdo.recipe import SCORES, RdoRecipe
from kcompress.workers import ahead, completed, one_thread, workers

RATE = "ln rate"

# Slopes, ln(rate) a unit of score, beyond which a patch is odd: flat, or hardly changed by the codec.
_SLOPES = {"ssimulacra2": (0.01, 0.08), "psnr-hvs-m": (0.03, 0.25)}


@dataclass(frozen=True)
class Bank:
    """Patches and figures.

    Attributes:
        pixels: (N, side, side, 3) uint8.
        qualities: of JPEG, (N,).
        slopes: by score, (N,): d ln(rate) / d score of the plain codec around the quality.
        plain: by score, and ``RATE``, (N,): of the plain codec.
    """

    pixels: Tensor
    qualities: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write to a file."""
        named = {f"slope {name}": values for name, values in self.slopes.items()}
        named |= {f"plain {name}": values for name, values in self.plain.items()}
        save_file({"pixels": self.pixels, "qualities": self.qualities, **named}, path)

    @staticmethod
    def load(path: Path) -> "Bank":
        """Read what `save` has written."""
        kept = load_file(path)
        slopes, plain = (
            {name.removeprefix(kind): values for name, values in kept.items() if name.startswith(kind)}
            for kind in ("slope ", "plain ")
        )
        return Bank(kept["pixels"], kept["qualities"], slopes, plain)


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    Attributes:
        images: (N, 3, H, W) 0..1.
        conditions: (N, 257), see ``networks.condition``.
        slopes: as in the bank.
        plain: as in the bank.
    """

    images: Tensor
    conditions: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]


def measured(dataset: DataSet, names: Sequence[str], recipe: RdoRecipe, jobs: int) -> Generator[Prepared, None, Bank]:
    """Cut patches from all pictures, as many from each, and measure them; the same whatever ``jobs`` is.

    Yields progress and returns the bank.

    Args:
        dataset: of the pictures.
        names: of those to cut from.
        recipe: number, size and qualities.
        jobs: processes.

    Raises:
        InputError: every picture is smaller than a patch.
    """
    each = -(-recipe.patches // len(names))
    found: dict[int, list[tuple[Pixels, int, dict[str, float]]]] = {}
    with workers(jobs) as executor:
        tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
        for number, patches in completed(executor, _of_picture, tasks, ahead(jobs)):
            found[number] = patches
            yield Prepared(len(found), len(names))
    every = [patch for number in sorted(found) for patch in found[number]][: recipe.patches]
    if not every:
        raise InputError(f"{dataset.location} has no picture of {recipe.side} pixels a side. Give larger ones.")
    figures = {name: torch.tensor([patch[2][name] for patch in every]) for name in every[0][2]}
    slopes, plain = (
        {name.removeprefix(kind): values for name, values in figures.items() if name.startswith(kind)}
        for kind in ("slope ", "plain ")
    )
    pixels = torch.from_numpy(np.stack([patch[0] for patch in every]))
    return Bank(pixels, torch.tensor([patch[1] for patch in every]), slopes, plain)


def batches(bank: Bank, recipe: RdoRecipe, first: int = 0) -> Iterator[Batch]:
    """Endless, from number ``first`` on; a batch follows from its number alone."""
    codec = CODECS["jpeg"]

    def made(number: int) -> Batch:
        random = np.random.default_rng([recipe.seed, 3, number])
        chosen = torch.from_numpy(random.integers(len(bank.pixels), size=recipe.batch))
        conditions = [condition(codec.setting(int(quality))) for quality in bank.qualities[chosen]]
        return Batch(
            tensor(list(bank.pixels[chosen].numpy())).contiguous(),
            torch.from_numpy(np.concatenate(conditions)),
            {name: values[chosen] for name, values in bank.slopes.items()},
            {name: values[chosen] for name, values in bank.plain.items()},
        )

    return prefetched(made, 3, first)


def _of_picture(
    dataset: DataSet, name: str, number: int, count: int, recipe: RdoRecipe
) -> tuple[int, list[tuple[Pixels, int, dict[str, float]]]]:
    one_thread()
    picture = comparable(dataset.read(name), name).pixels
    room = [length - recipe.side for length in picture.shape[:2]]
    if min(room) < 0:
        return number, []
    random = np.random.default_rng([recipe.seed, 2, number])
    found = []
    for _ in range(count):
        top, left = (int(random.integers(length + 1)) for length in room)
        pixels = picture[top : top + recipe.side, left : left + recipe.side]
        pixels = np.ascontiguousarray(pixels[:, ::-1] if random.random() < 0.5 else pixels)
        quality = int(random.integers(recipe.lowest, recipe.highest + 1))
        found.append((pixels, quality, figures(pixels, quality)))
    return number, found


@torch.no_grad()
def figures(pixels: Pixels, quality: int) -> dict[str, float]:
    """Values of a patch at a quality (``plain NAME``), and slopes around it (``slope NAME``)."""
    original = tensor([pixels] * 3)
    decoded, rates = Jpeg(standard_steps([quality - 8, quality, min(quality + 6, 97)]))(original)
    values = {name: score(original, decoded) for name, score in SCORES.items()} | {RATE: rates.log()}
    paid = float(values[RATE][2] - values[RATE][0])
    found = {f"plain {name}": float(three[1]) for name, three in values.items()}
    for name, (low, high) in _SLOPES.items():
        gained = float(values[name][2] - values[name][0])
        found[f"slope {name}"] = float(np.clip(paid / gained, low, high)) if gained > 0 else high
    return found
