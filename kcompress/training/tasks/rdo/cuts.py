"""Patches that are cut from photographs, and the settings of JPEG at which they are measured."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from kcompress.codecs import CODECS
from kcompress.codecs.quantisation import STANDARD, QuantisationTables, learned
from kcompress.dataset import DataSet
from kcompress.encoding import effective
from kcompress.images import Pixels
from kcompress.setting import Setting
from kcompress.training.crops import holds, random_crop
from kcompress.training.log_tables import spread
from kcompress.training.photos import picture
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.workers import one_thread


@dataclass(frozen=True)
class Cut:
    """Patches (N, side, side, 3) of one picture that share a setting.

    ``around`` has a coarser setting, the one to be measured, and a finer one.
    """

    patches: NDArray[np.uint8]
    around: tuple[Setting, Setting, Setting]


def cut_from(dataset: DataSet, name: str, number: int, count: int, recipe: RdoRecipe) -> list[Cut]:
    """Cut patches of a picture, ``recipe.together`` at a time; none where it is too small."""
    one_thread()
    pixels = picture(dataset, name)
    if not holds(pixels, recipe.side):
        return []
    random = np.random.default_rng([recipe.seed, 2, number])
    groups = np.array_split(np.arange(count), -(-count // recipe.together))
    return [_cut(pixels, len(group), recipe, random) for group in groups]


def _cut(pixels: Pixels, count: int, recipe: RdoRecipe, random: np.random.Generator) -> Cut:
    quality = int(random.integers(recipe.lowest, recipe.highest + 1))
    patches = [random_crop(pixels, recipe.side, random) for _ in range(count)]
    searched = bool(random.random() < recipe.mozjpeg)
    codec = replace(CODECS["jpeg"], tables=_tables(recipe, random))
    below, at, above = (codec.setting(each) for each in (quality - 8, quality, min(quality + 6, 97)))
    if searched:
        encoder = codec.backend("mozjpeg")
        below, at, above = (effective(each, encoder) for each in (below, at, above))
    return Cut(np.stack(patches), (below, at, above))


def _tables(recipe: RdoRecipe, random: np.random.Generator) -> QuantisationTables:
    if recipe.tables == "spread":
        return spread(random)
    return learned() if recipe.tables == "learned" else STANDARD
