"""Patches with what the plain codec makes of them, measured once."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from kcompress import storage
from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.encoding import effective
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES, Score
from kcompress.networks.condition import condition
from kcompress.proxies.jpeg import DifferentiableJpeg, quantiser_steps
from kcompress.rate_distortion.slope import two_point_slope
from kcompress.setting import Setting
from kcompress.training.crops import holds, random_crop
from kcompress.training.events import Prepared
from kcompress.training.photos import picture, prepared, too_small
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.workers import one_thread, workers

RATE = "rate"
"""Bits per pixel, beside the scores."""

# Slopes, ln(rate) a unit of score, beyond which a picture is odd: flat, or hardly changed by the codec.
_SLOPES = {
    "ssimulacra2": (0.01, 0.2),
    "psnr-hvs-m": (0.03, 0.4),
    "psnr": (0.03, 0.4),
    "vif": (0.01, 0.2),
    "butteraugli": (0.2, 5.0),
    "ms-ssim": (0.1, 3.0),
    "iw-ssim": (0.1, 3.0),
}


@dataclass(frozen=True)
class PatchDataset:
    """Patches with rates and scores of the plain codec.

    Patches of one picture share a quality, and are weighed as the parts of one file that they are: what a patch saves
    counts against the mean rate of all, and what a score is worth is the same everywhere. Each patch by its
    own rate and slope would teach to save in flat places, where the same bits are a larger share.

    Attributes:
        pixels: (N, side, side, 3) uint8.
        conditions: (N, 258), see ``networks.condition``.
        rates: (N,) bits per pixel, mean of the picture's patches.
        slopes: by score, (N,): d ln(rate) / d score of the plain codec around the quality, of all a picture's patches.
        plain: by score, and ``RATE``, (N,): of the plain codec.
    """

    pixels: Tensor
    conditions: Tensor
    rates: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        named = {f"slope {name}": values for name, values in self.slopes.items()}
        named |= {f"plain {name}": values for name, values in self.plain.items()}
        return {"pixels": self.pixels, "conditions": self.conditions, "rates": self.rates, **named}

    @staticmethod
    def of(tensors: Mapping[str, Tensor]) -> "PatchDataset":
        """Patches from what `tensors` returns."""
        slopes, plain = (
            {name.removeprefix(kind): values for name, values in tensors.items() if name.startswith(kind)}
            for kind in ("slope ", "plain ")
        )
        return PatchDataset(tensors["pixels"], tensors["conditions"], tensors["rates"], slopes, plain)

    def save(self, path: Path, source: str) -> None:
        """Write to a file; ``source`` describes all that decides the patches."""
        storage.write(str(path), serialised(self.tensors(), {"source": source}))

    @staticmethod
    def load(path: Path, source: str) -> "PatchDataset | None":
        """Read what `save` has written; None where the source was another, or there is nothing."""
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("source") != source:
                return None
            return PatchDataset.of({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118, no mapping

    @staticmethod
    def joined(parts: "Sequence[PatchDataset]") -> "PatchDataset":
        """All patches of all parts, in order."""
        each = [part.tensors() for part in parts]
        return PatchDataset.of({name: torch.cat([tensors[name] for tensors in each]) for name in each[0]})

    def batch(self, recipe: RdoRecipe, number: int) -> "Batch":
        """Draw the batch of a step: it follows from its number alone."""
        random = np.random.default_rng([recipe.seed, 3, number])
        chosen = torch.from_numpy(random.integers(len(self.pixels), size=recipe.batch))
        some = PatchDataset.of({name: values[chosen] for name, values in self.tensors().items()})
        images = tensor([_flipped(patch, random) for patch in some.pixels.numpy()]).contiguous()
        return Batch(images, some.conditions, some.rates, some.slopes, some.plain)


class Batch(NamedTuple):
    """Images (N, 3, H, W) 0..1 of a step; the rest is as `PatchDataset` has it."""

    images: Tensor
    conditions: Tensor
    rates: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]


def measured(
    dataset: DataSet, names: Sequence[str], recipe: RdoRecipe, jobs: int
) -> Generator[Prepared, None, PatchDataset]:
    """Cut patches from the named pictures, as many from each, and measure them; the same whatever ``jobs`` is.

    Raises:
        InputError: every picture is smaller than a patch.
        MissingProgramError: mozjpeg is wanted and not installed.
    """
    if recipe.mozjpeg:
        CODECS["jpeg"].backend("mozjpeg")
    each = -(-recipe.patches // len(names))
    tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
    with workers(jobs) as executor:
        found = yield from prepared(executor, _of_picture, tasks, jobs)
    parts = [part for part in found if part is not None]
    if not parts:
        raise too_small(dataset, recipe.side)
    return PatchDataset.joined(parts)


def _flipped(patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """At random upside down, at random mirrored: whole MCUs cost the plain codec the same either way."""
    rows, columns = (int(step) for step in random.choice([-1, 1], 2))
    return np.ascontiguousarray(patch[::rows, ::columns])


def _of_picture(dataset: DataSet, name: str, number: int, count: int, recipe: RdoRecipe) -> PatchDataset | None:
    one_thread()
    pixels = picture(dataset, name)
    if not holds(pixels, recipe.side):
        return None
    random = np.random.default_rng([recipe.seed, 2, number])
    quality = int(random.integers(recipe.lowest, recipe.highest + 1))
    patches = [random_crop(pixels, recipe.side, random) for _ in range(count)]
    searched = bool(random.random() < recipe.mozjpeg)
    around = [_setting(each, searched) for each in (quality - 8, quality, min(quality + 6, 97))]
    return of_one_picture(np.stack(patches), around, tuple(recipe.objective))


@torch.no_grad()
def of_one_picture(patches: NDArray[np.uint8], around: Sequence[Setting], scores: Sequence[str]) -> PatchDataset:
    """Measure patches (N, side, side, 3) of one picture by scores that ``SCORES`` names.

    ``around`` has a coarser setting, the one to be measured, and a finer one.
    """
    original = tensor(list(patches))
    functions = {name: SCORES[name](original) for name in scores}
    below, at, above = (_plain(original, each, functions) for each in around)
    mean = {name: [float(measures[name].mean()) for measures in (below, above)] for name in at}
    paid = float(np.log(mean[RATE][1] / mean[RATE][0]))
    slopes = {name: two_point_slope(paid, mean[name][1] - mean[name][0], _SLOPES[name]) for name in scores}
    count = len(patches)
    return PatchDataset(
        torch.from_numpy(patches), torch.from_numpy(condition(around[1])).repeat(count, 1),
        torch.full((count,), float(at[RATE].mean())),
        {name: torch.full((count,), value) for name, value in slopes.items()}, at,
    )  # fmt: skip


def _setting(quality: int, searched: bool) -> Setting:
    """Setting of JPEG, with libjpeg's tables or mozjpeg's."""
    codec = CODECS["jpeg"]
    setting = codec.setting(quality)
    return effective(setting, codec.backend("mozjpeg")) if searched else setting


def _plain(original: Tensor, setting: Setting, scores: Mapping[str, Score]) -> dict[str, Tensor]:
    """Scores and rate, (N,) each, of what a codec that rounds makes of pictures with a setting's tables."""
    assert setting.tables is not None
    decoded, rates = DifferentiableJpeg(quantiser_steps([setting.tables]), progressive=True)(original)
    return {RATE: rates} | {name: score(decoded) for name, score in scores.items()}
