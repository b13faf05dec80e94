"""Patches with what the plain codec makes of them, measured once."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.encoding import effective
from kcompress.errors import InputError
from kcompress.images import read_canonical
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.condition import condition
from kcompress.proxies.jpeg import DifferentiableJpeg, quantiser_steps
from kcompress.rate_distortion.slope import two_point_slope
from kcompress.setting import Setting
from kcompress.training.data import prefetched
from kcompress.training.loop import Prepared
from kcompress.training.rdo.recipe import RdoRecipe
from kcompress.workers import ahead, completed, one_thread, workers

RATE = "rate"
"""Bits per pixel, beside the scores."""

# Slopes, ln(rate) a unit of score, beyond which a picture is odd: flat, or hardly changed by the codec.
_SLOPES = {
    "ssimulacra2": (0.01, 0.2),
    "psnr-hvs-m": (0.03, 0.4),
    "psnr": (0.03, 0.4),
    "vif": (0.01, 0.2),
    "butteraugli": (0.2, 5.0),
}


@dataclass(frozen=True)
class Bank:
    """Patches and figures.

    Patches of one picture share a quality, and are weighed as the parts of one file that they are: what a patch saves
    counts against the mean rate of all, and what a score is worth is the same everywhere. (Each patch on its own, by
    its own rate and slope, would teach to save in flat places, where the same bits are a larger share of fewer.)

    Attributes:
        pixels: (N, side, side, 3) uint8.
        conditions: (N, 258), see ``networks.condition``.
        rates: bits per pixel, mean of the picture's patches, (N,).
        slopes: by score, (N,): d ln(rate) / d score of the plain codec around the quality, of all a picture's patches.
        plain: by score, and ``RATE``, (N,): of the plain codec.
    """

    pixels: Tensor
    conditions: Tensor
    rates: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]

    def save(self, path: Path) -> None:
        """Write to a file."""
        named = {f"slope {name}": values for name, values in self.slopes.items()}
        named |= {f"plain {name}": values for name, values in self.plain.items()}
        save_file({"pixels": self.pixels, "conditions": self.conditions, "rates": self.rates, **named}, path)

    @staticmethod
    def load(path: Path) -> "Bank":
        """Read what `save` has written."""
        kept = load_file(path)
        slopes, plain = (
            {name.removeprefix(kind): values for name, values in kept.items() if name.startswith(kind)}
            for kind in ("slope ", "plain ")
        )
        return Bank(kept["pixels"], kept["conditions"], kept["rates"], slopes, plain)


@dataclass(frozen=True)
class Batch:
    """What a step sees.

    Attributes:
        images: (N, 3, H, W) 0..1.
        conditions: (N, 258), see ``networks.condition``.
        rates: as in the bank.
        slopes: as in the bank.
        plain: as in the bank.
    """

    images: Tensor
    conditions: Tensor
    rates: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]


def measured(dataset: DataSet, names: Sequence[str], recipe: RdoRecipe, jobs: int) -> Generator[Prepared, None, Bank]:
    """Cut patches from all pictures, as many from each, and measure them; the same whatever ``jobs`` is.

    Yields progress and returns the bank.

    Args:
        dataset: of the pictures.
        names: of those to cut from.
        recipe: number, size, qualities and tables.
        jobs: processes.

    Raises:
        InputError: every picture is smaller than a patch.
        MissingProgramError: mozjpeg is wanted and not installed.
    """
    if recipe.mozjpeg:
        CODECS["jpeg"].backend("mozjpeg")
    each = -(-recipe.patches // len(names))
    found: dict[int, Bank] = {}
    with workers(jobs) as executor:
        tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
        for number, patches in completed(executor, _of_picture, tasks, ahead(jobs)):
            if patches is not None:
                found[number] = patches
            yield Prepared(number + 1, len(names))
    if not found:
        raise InputError(f"{dataset.location} has no picture of {recipe.side} pixels a side. Give larger ones.")
    parts = [found[number] for number in sorted(found)]
    first = parts[0]
    return Bank(
        torch.cat([part.pixels for part in parts]),
        torch.cat([part.conditions for part in parts]),
        torch.cat([part.rates for part in parts]),
        {name: torch.cat([part.slopes[name] for part in parts]) for name in first.slopes},
        {name: torch.cat([part.plain[name] for part in parts]) for name in first.plain},
    )


def batches(bank: Bank, recipe: RdoRecipe, first: int = 0) -> Iterator[Batch]:
    """Endless, from number ``first`` on; a batch follows from its number alone."""

    def made(number: int) -> Batch:
        random = np.random.default_rng([recipe.seed, 3, number])
        chosen = torch.from_numpy(random.integers(len(bank.pixels), size=recipe.batch))
        return Batch(
            tensor([_flipped(patch, random) for patch in bank.pixels[chosen].numpy()]).contiguous(),
            bank.conditions[chosen],
            bank.rates[chosen],
            {name: values[chosen] for name, values in bank.slopes.items()},
            {name: values[chosen] for name, values in bank.plain.items()},
        )

    return prefetched(made, 3, first)


def _flipped(patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """At random upside down, at random mirrored: whole MCUs cost the plain codec the same either way."""
    rows, columns = (int(step) for step in random.choice([-1, 1], 2))
    return np.ascontiguousarray(patch[::rows, ::columns])


def _of_picture(dataset: DataSet, name: str, number: int, count: int, recipe: RdoRecipe) -> tuple[int, Bank | None]:
    one_thread()
    picture = read_canonical(dataset.read(name), name).pixels
    room = [length - recipe.side for length in picture.shape[:2]]
    if min(room) < 0:
        return number, None
    random = np.random.default_rng([recipe.seed, 2, number])
    quality = int(random.integers(recipe.lowest, recipe.highest + 1))
    patches = []
    for _ in range(count):
        top, left = (int(random.integers(length + 1)) for length in room)
        patch = picture[top : top + recipe.side, left : left + recipe.side]
        patches.append(patch)
    searched = bool(random.random() < recipe.mozjpeg)
    around = [_setting(each, searched) for each in (quality - 8, quality, min(quality + 6, 97))]
    return number, of_one_picture(np.stack(patches), around, tuple(recipe.objective))


@torch.no_grad()
def of_one_picture(patches: NDArray[np.uint8], around: Sequence[Setting], scores: Sequence[str]) -> Bank:
    """Patches (N, side, side, 3) of one picture with their figures, for these scores.

    Args:
        patches: to be measured.
        around: a coarser setting, that of the figures, and a finer one.
        scores: keys of ``SCORES``.
    """
    original = tensor(list(patches))
    below, at, above = (_plain(original, each, scores) for each in around)
    mean = {name: [float(figures[name].mean()) for figures in (below, above)] for name in at}
    paid = float(np.log(mean[RATE][1] / mean[RATE][0]))
    slopes = {name: two_point_slope(paid, mean[name][1] - mean[name][0], _SLOPES[name]) for name in scores}
    count = len(patches)
    return Bank(
        torch.from_numpy(patches), torch.from_numpy(condition(around[1])).repeat(count, 1),
        torch.full((count,), float(at[RATE].mean())),
        {name: torch.full((count,), value) for name, value in slopes.items()}, at,
    )  # fmt: skip


def _setting(quality: int, searched: bool) -> Setting:
    """Of JPEG, by libjpeg's tables or by mozjpeg's."""
    codec = CODECS["jpeg"]
    setting = codec.setting(quality)
    return effective(setting, codec.backend("mozjpeg")) if searched else setting


def _plain(original: Tensor, setting: Setting, scores: Sequence[str]) -> dict[str, Tensor]:
    """Scores and rate, (N,) each, of what a codec that rounds makes of pictures with a setting's tables."""
    assert setting.tables is not None
    decoded, rates = DifferentiableJpeg(quantiser_steps([setting.tables]), progressive=True)(original)
    return {RATE: rates} | {name: SCORES[name](original, decoded) for name in scores}
