"""Patches with what the plain codec makes of them, measured once."""

from collections.abc import Generator, Sequence
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
from kcompress.errors import InputError
from kcompress.images import read_canonical
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.condition import condition
from kcompress.proxies.jpeg import DifferentiableJpeg, quantiser_steps
from kcompress.rate_distortion.slope import two_point_slope
from kcompress.setting import Setting
from kcompress.training.crops import holds, random_crop
from kcompress.training.events import Prepared
from kcompress.training.tasks.rdo.recipe import RdoRecipe
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
class PatchDataset:
    """Patches, and what the plain codec makes of them.

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

    def save(self, path: Path, source: str) -> None:
        """Write to a file; ``source`` says what it was made of."""
        named = {f"slope {name}": values for name, values in self.slopes.items()}
        named |= {f"plain {name}": values for name, values in self.plain.items()}
        tensors = {"pixels": self.pixels, "conditions": self.conditions, "rates": self.rates, **named}
        storage.write(str(path), serialised(tensors, {"source": source}))

    @staticmethod
    def load(path: Path, source: str) -> "PatchDataset | None":
        """Read what `save` has written; None where it was made of something else, or there is nothing."""
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("source") != source:
                return None
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no mapping
        slopes, plain = (
            {name.removeprefix(kind): values for name, values in kept.items() if name.startswith(kind)}
            for kind in ("slope ", "plain ")
        )
        return PatchDataset(kept["pixels"], kept["conditions"], kept["rates"], slopes, plain)

    @staticmethod
    def joined(parts: "Sequence[PatchDataset]") -> "PatchDataset":
        """All patches of all parts, in order."""
        slopes, plain = ({name: torch.cat([getattr(part, kind)[name] for part in parts])
                          for name in getattr(parts[0], kind)} for kind in ("slopes", "plain"))  # fmt: skip
        pixels, conditions, rates = (
            torch.cat([getattr(part, kind) for part in parts]) for kind in ("pixels", "conditions", "rates")
        )
        return PatchDataset(pixels, conditions, rates, slopes, plain)

    def batch(self, recipe: RdoRecipe, number: int) -> "Batch":
        """Draw the batch of a step: it follows from its number alone."""
        random = np.random.default_rng([recipe.seed, 3, number])
        chosen = torch.from_numpy(random.integers(len(self.pixels), size=recipe.batch))
        return Batch(
            tensor([_flipped(patch, random) for patch in self.pixels[chosen].numpy()]).contiguous(),
            self.conditions[chosen],
            self.rates[chosen],
            {name: values[chosen] for name, values in self.slopes.items()},
            {name: values[chosen] for name, values in self.plain.items()},
        )


class Batch(NamedTuple):
    """What a step sees.

    Attributes:
        images: (N, 3, H, W) 0..1.
        conditions: (N, 258), see ``networks.condition``.
        rates: as `PatchDataset` has them.
        slopes: likewise.
        plain: likewise.
    """

    images: Tensor
    conditions: Tensor
    rates: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]


def measured(
    dataset: DataSet, names: Sequence[str], recipe: RdoRecipe, jobs: int
) -> Generator[Prepared, None, PatchDataset]:
    """Cut patches from all pictures, as many from each, and measure them; the same whatever ``jobs`` is.

    Yields progress and returns the patches.

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
    found: dict[int, PatchDataset] = {}
    with workers(jobs) as executor:
        tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
        for number, patches in completed(executor, _of_picture, tasks, ahead(jobs)):
            if patches is not None:
                found[number] = patches
            yield Prepared(number + 1, len(names))
    if not found:
        raise InputError(f"{dataset.location} has no picture of {recipe.side} pixels a side. Give larger ones.")
    return PatchDataset.joined([found[number] for number in sorted(found)])


def _flipped(patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """At random upside down, at random mirrored: whole MCUs cost the plain codec the same either way."""
    rows, columns = (int(step) for step in random.choice([-1, 1], 2))
    return np.ascontiguousarray(patch[::rows, ::columns])


def _of_picture(
    dataset: DataSet, name: str, number: int, count: int, recipe: RdoRecipe
) -> tuple[int, PatchDataset | None]:
    one_thread()
    picture = read_canonical(dataset.read(name), name).pixels
    if not holds(picture, recipe.side):
        return number, None
    random = np.random.default_rng([recipe.seed, 2, number])
    quality = int(random.integers(recipe.lowest, recipe.highest + 1))
    patches = [random_crop(picture, recipe.side, random) for _ in range(count)]
    searched = bool(random.random() < recipe.mozjpeg)
    around = [_setting(each, searched) for each in (quality - 8, quality, min(quality + 6, 97))]
    return number, of_one_picture(np.stack(patches), around, tuple(recipe.objective))


@torch.no_grad()
def of_one_picture(patches: NDArray[np.uint8], around: Sequence[Setting], scores: Sequence[str]) -> PatchDataset:
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
    return PatchDataset(
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
