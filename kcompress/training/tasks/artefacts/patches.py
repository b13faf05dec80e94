"""Patches that the real encoder has coded: rates, scores and prices at random qualities."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from kcompress.codecs import CODECS
from kcompress.dataset import DataSet
from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES, Score
from kcompress.proxies.straight_through import encode_decode
from kcompress.rate_distortion.slope import qualities
from kcompress.setting import Setting
from kcompress.training.crops import holds, random_crop
from kcompress.training.photos import picture
from kcompress.training.rated_patches import RATE, Measures, PatchDataset, rated
from kcompress.training.tasks.artefacts.recipe import ArtefactsRecipe
from kcompress.workers import one_thread

_AROUND = (-0.8, 0.0, 0.6)
"""Coarser setting, the one to be measured, and a finer one, in tenths of the codec's scale."""

_LEAST = 0.01
"""Bits per pixel: empty patches cost none, which has no logarithm."""


@torch.no_grad()
def coded(dataset: DataSet, name: str, number: int, count: int, recipe: ArtefactsRecipe) -> PatchDataset | None:
    """Cut patches of a picture and encode them, ``recipe.together`` at a time; None where it is too small."""
    one_thread()
    pixels = picture(dataset, name)
    if not holds(pixels, recipe.side):
        return None
    random = np.random.default_rng([recipe.seed, 2, number])
    groups = np.array_split(np.arange(count), -(-count // recipe.together))
    return PatchDataset.joined([_group(pixels, len(group), recipe, random) for group in groups])


def _group(pixels: Pixels, count: int, recipe: ArtefactsRecipe, random: np.random.Generator) -> PatchDataset:
    codec, quality = CODECS[recipe.codec], int(random.integers(recipe.lowest, recipe.highest + 1))
    patches = np.stack([random_crop(pixels, recipe.side, random) for _ in range(count)])
    original = tensor(list(patches))
    scores = {name: SCORES[name](original) for name in recipe.objective}
    below, at, above = (codec.setting(each, None, recipe.effort) for each in qualities(codec.quality, quality, _AROUND))
    measures = (_measures(patches, setting, scores) for setting in (below, at, above))
    return rated(patches, torch.tensor([[at.coarseness]]), *measures)


def _measures(patches: NDArray[np.uint8], setting: Setting, scores: Mapping[str, Score]) -> Measures:
    decoded, bits = zip(*(encode_decode(np.ascontiguousarray(patch), setting) for patch in patches), strict=True)
    shown = tensor(decoded)
    return {RATE: torch.tensor(bits).clamp(min=_LEAST)} | {name: score(shown) for name, score in scores.items()}
