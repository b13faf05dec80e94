"""Patches with what the plain codec makes of them, measured once: rates, scores, and prices of the scores."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save as serialised
from torch import Tensor

from kcompress import storage
from kcompress.dataset import DataSet
from kcompress.inference.batches import unit
from kcompress.rate_distortion.slope import two_point_slope
from kcompress.training.events import Prepared
from kcompress.training.photos import prepared, too_small
from kcompress.training.recipe import Recipe
from kcompress.workers import workers

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
    "vqscore": (0.01, 0.2),
}


Measures = dict[str, Tensor]
"""By score, and ``RATE``: (N,)."""


@dataclass(frozen=True)
class PatchDataset:
    """Patches with rates and scores of the plain codec.

    Patches that are cut together share a setting, and are weighed as the parts of one file that they are: what a patch
    saves counts against the mean rate of all, and what a score is worth is the same everywhere. Each patch by its own
    rate and slope would teach to save in flat places, where the same bits are a larger share.

    Attributes:
        pixels: (N, side, side, 3) uint8.
        conditions: (N, K), the second input of the network, see ``networks.condition``.
        rates: (N,) bits per pixel, mean of the patches that were cut together.
        slopes: by score, (N,): d ln(rate) / d score of the plain codec around the quality, of the same patches.
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

    def batch(self, recipe: Recipe, number: int) -> "Batch":
        """Draw the batch of a step: it follows from its number alone."""
        random = np.random.default_rng([recipe.seed, 3, number])
        chosen = torch.from_numpy(random.integers(len(self.pixels), size=recipe.batch))
        some = PatchDataset.of({name: values[chosen] for name, values in self.tensors().items()})
        pixels = np.stack([_flipped(patch, random) for patch in some.pixels.numpy()])
        return Batch(torch.from_numpy(pixels), some.conditions, some.rates, some.slopes, some.plain)


class Batch(NamedTuple):
    """Patches of a step, fields as in `PatchDataset`."""

    pixels: Tensor
    conditions: Tensor
    rates: Tensor
    slopes: dict[str, Tensor]
    plain: dict[str, Tensor]

    @property
    def size(self) -> torch.Size:
        """Height and width of the patches."""
        return self.pixels.shape[1:3]

    @property
    def images(self) -> Tensor:
        """The patches as (N, 3, H, W), 0..1."""
        return unit(self.pixels)


def of_pictures(
    work: Callable[..., PatchDataset | None], dataset: DataSet, names: Sequence[str], recipe: Any, jobs: int
) -> Generator[Prepared, None, PatchDataset]:
    """Patches of the named pictures, as many of each, by ``work(dataset, name, number, count, recipe)`` in processes.

    Raises:
        InputError: every picture is smaller than a patch: ``work`` gives None for all.
    """
    each = -(-recipe.patches // len(names))
    tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
    with workers(jobs) as executor:
        found = yield from prepared(executor, work, tasks, jobs)
    parts = [part for part in found if part is not None]
    if not parts:
        raise too_small(dataset, recipe.side)
    return PatchDataset.joined(parts)


def rated(
    patches: NDArray[np.uint8], condition: Tensor, below: Measures, at: Measures, above: Measures
) -> PatchDataset:
    """Patches (N, side, side, 3) of one picture that share a condition (1, K), given what the plain codec measures.

    ``at`` its setting, and ``below`` and ``above`` it, where the slopes are taken.
    """
    mean = {name: [float(measures[name].mean()) for measures in (below, above)] for name in at}
    paid = float(np.log(mean[RATE][1] / mean[RATE][0]))
    slopes = {name: two_point_slope(paid, mean[name][1] - mean[name][0], _SLOPES[name]) for name in at if name != RATE}
    count = len(patches)
    return PatchDataset(
        torch.from_numpy(patches), condition.repeat(count, 1), torch.full((count,), float(at[RATE].mean())),
        {name: torch.full((count,), value) for name, value in slopes.items()}, at,
    )  # fmt: skip


def _flipped(patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """At random upside down, at random mirrored: whole MCUs cost the plain codec the same either way."""
    rows, columns = (int(step) for step in random.choice([-1, 1], 2))
    return np.ascontiguousarray(patch[::rows, ::columns])
