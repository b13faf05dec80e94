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
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES, Score
from kcompress.networks.condition import condition
from kcompress.proxies.jpeg import DifferentiableJpeg, quantiser_steps
from kcompress.rate_distortion.slope import two_point_slope
from kcompress.setting import Setting
from kcompress.training.events import Prepared
from kcompress.training.photos import prepared, too_small
from kcompress.training.tasks.rdo.cuts import Cut, cut_from
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.workers import workers

RATE = "rate"
"""Bits per pixel, beside the scores."""

_AT_ONCE = 192
"""Patches that are measured at a time on a GPU."""

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


_Measures = dict[str, Tensor]


@dataclass(frozen=True)
class PatchDataset:
    """Patches with rates and scores of the plain codec.

    Patches that are cut together share a setting, and are weighed as the parts of one file that they are: what a patch
    saves counts against the mean rate of all, and what a score is worth is the same everywhere. Each patch by its own
    rate and slope would teach to save in flat places, where the same bits are a larger share.

    Attributes:
        pixels: (N, side, side, 3) uint8.
        conditions: (N, 258), see ``networks.condition``.
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

    def batch(self, recipe: RdoRecipe, number: int) -> "Batch":
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
        return self.pixels.permute(0, 3, 1, 2).float().div(255).contiguous()


def measured(
    dataset: DataSet, names: Sequence[str], recipe: RdoRecipe, jobs: int, device: str = "cpu"
) -> Generator[Prepared, None, PatchDataset]:
    """Cut patches from the named pictures, as many from each, and measure them; the same whatever ``jobs`` is.

    On a GPU, many are measured at a time; on the CPU, each picture's by the process that cut them.

    Raises:
        InputError: every picture is smaller than a patch.
        MissingProgramError: mozjpeg is wanted and not installed.
    """
    if recipe.mozjpeg:
        CODECS["jpeg"].backend("mozjpeg")
    each = -(-recipe.patches // len(names))
    tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
    with workers(jobs) as executor:
        if device == "cpu":
            found = yield from prepared(executor, _of_picture, tasks, jobs)
            parts = [part for part in found if part is not None]
        else:
            cuts = yield from prepared(executor, cut_from, tasks, jobs)
            parts = yield from _in_batches([one for some in cuts for one in some], tuple(recipe.objective), device)
    if not parts:
        raise too_small(dataset, recipe.side)
    return PatchDataset.joined(parts)


def _in_batches(
    cuts: Sequence[Cut], scores: Sequence[str], device: str
) -> Generator[Prepared, None, list[PatchDataset]]:
    """Patches of all cuts, measured ``_AT_ONCE`` or a few more at a time."""
    total = sum(len(cut.patches) for cut in cuts)
    parts, some, done = [], list[Cut](), 0
    for cut in cuts:
        some.append(cut)
        done += len(cut.patches)
        if done == total or sum(len(each.patches) for each in some) >= _AT_ONCE:
            parts.append(of_cuts(some, scores, device))
            some = []
            yield Prepared(done, total)
    return parts


def _flipped(patch: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """At random upside down, at random mirrored: whole MCUs cost the plain codec the same either way."""
    rows, columns = (int(step) for step in random.choice([-1, 1], 2))
    return np.ascontiguousarray(patch[::rows, ::columns])


def _of_picture(dataset: DataSet, name: str, number: int, count: int, recipe: RdoRecipe) -> PatchDataset | None:
    cuts = cut_from(dataset, name, number, count, recipe)
    return PatchDataset.joined([of_cuts([cut], tuple(recipe.objective)) for cut in cuts]) if cuts else None


@torch.no_grad()
def of_cuts(cuts: Sequence[Cut], scores: Sequence[str], device: str = "cpu") -> PatchDataset:
    """Measure patches by scores that ``SCORES`` names, all at once."""
    original = tensor([patch for cut in cuts for patch in cut.patches]).to(device)
    counts = [len(cut.patches) for cut in cuts]
    settings = [cut.around for cut, count in zip(cuts, counts, strict=True) for _ in range(count)]
    functions = {name: SCORES[name](original) for name in scores}
    below, at, above = (_plain(original, [around[place] for around in settings], functions) for place in range(3))
    ends = np.cumsum(counts).tolist()
    return PatchDataset.joined([
        _of_cut(cut, *({name: values[end - count : end] for name, values in one.items()} for one in (below, at, above)))
        for cut, count, end in zip(cuts, counts, ends, strict=True)
    ])  # fmt: skip


def _of_cut(cut: Cut, below: _Measures, at: _Measures, above: _Measures) -> PatchDataset:
    mean = {name: [float(measures[name].mean()) for measures in (below, above)] for name in at}
    paid = float(np.log(mean[RATE][1] / mean[RATE][0]))
    slopes = {name: two_point_slope(paid, mean[name][1] - mean[name][0], _SLOPES[name]) for name in at if name != RATE}
    count = len(cut.patches)
    return PatchDataset(
        torch.from_numpy(cut.patches), torch.from_numpy(condition(cut.around[1])).repeat(count, 1),
        torch.full((count,), float(at[RATE].mean())),
        {name: torch.full((count,), value) for name, value in slopes.items()}, at,
    )  # fmt: skip


def _plain(original: Tensor, settings: Sequence[Setting], scores: Mapping[str, Score]) -> _Measures:
    """Scores and rate, (N,) each, of what a codec that rounds makes of pictures with each one's tables."""
    steps = quantiser_steps(setting.tables for setting in settings if setting.tables is not None)
    decoded, rates = DifferentiableJpeg(steps, progressive=True)(original)
    found = {RATE: rates} | {name: score(decoded) for name, score in scores.items()}
    return {name: values.cpu() for name, values in found.items()}
