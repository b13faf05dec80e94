"""Patches with what JPEG makes of them at settings with tables, by the exact decoder, measured once."""

from collections.abc import Generator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES, Score
from kcompress.networks.condition import condition
from kcompress.proxies.jpeg import DifferentiableJpeg, quantiser_steps
from kcompress.setting import Setting
from kcompress.training.events import Prepared
from kcompress.training.photos import prepared, too_small
from kcompress.training.rated_patches import RATE, Measures, PatchDataset, of_pictures, rated
from kcompress.training.tasks.rdo.cuts import Cut, cut_from
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.workers import workers

_AT_ONCE = 192
"""Patches that are measured at a time on a GPU."""


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
    if device == "cpu":
        return (yield from of_pictures(_of_picture, dataset, names, recipe, jobs))
    each = -(-recipe.patches // len(names))
    tasks = [(dataset, name, number, each, recipe) for number, name in enumerate(names)]
    with workers(jobs) as executor:
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
        rated(
            cut.patches, torch.from_numpy(condition(cut.around[1])),
            *({name: values[end - count : end] for name, values in one.items()} for one in (below, at, above)),
        )
        for cut, count, end in zip(cuts, counts, ends, strict=True)
    ])  # fmt: skip


def _plain(original: Tensor, settings: Sequence[Setting], scores: Mapping[str, Score]) -> Measures:
    """Scores and rate, (N,) each, of what a codec that rounds makes of pictures with each one's tables."""
    steps = quantiser_steps(setting.tables for setting in settings if setting.tables is not None)
    decoded, rates = DifferentiableJpeg(steps, progressive=True)(original)
    found = {RATE: rates} | {name: score(decoded) for name, score in scores.items()}
    return {name: values.cpu() for name, values in found.items()}
