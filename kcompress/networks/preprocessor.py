"""Preprocessors: a picture in, a picture out that the codec has an easier time with."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Image, Pixels
from kcompress.inference.engine import Engine
from kcompress.inference.tiling import TILE_SIDE, WHOLE_PIXELS, banded, tiled
from kcompress.setting import Setting


class Preprocessor(Protocol):
    """What ``networks.load`` gives."""

    @property
    def name(self) -> str:
        """Of the network or of its weights."""
        ...

    @property
    def conditioned(self) -> bool:
        """Whether the result depends on the setting; otherwise one result serves every quality."""
        ...

    def __call__(self, image: Image, setting: Setting) -> Image:
        """Preprocess for one encode; alpha and metadata pass untouched."""
        ...


def blended(original: Pixels, changed: NDArray[np.float32], strength: float) -> Pixels:
    """``original + strength * (changed - original)``, rounded to 0..255; ``changed`` in the same units."""
    if strength != 1:
        changed = original + np.float32(strength) * (changed - original)
    rounded: Pixels = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return rounded


class NetworkPreprocessor:
    """A network, RGB 0..1 in and out, sizes in multiples of ``multiple``.

    ``condition`` makes of the setting what the network wants beside the picture; without it, it wants nothing.
    ``remark`` says what is unusual about a setting: that the network was not trained for it. ``threads`` is given for
    one whose engine has a single thread: as many bands of a picture go through it at a time.
    """

    def __init__(
        self, name: str, engine: Engine, *, strength: float, halo: int, multiple: int,
        condition: Callable[[Setting], NDArray[np.float32]] | None = None,
        remark: Callable[[Setting], str | None] = lambda setting: None,
        whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE, threads: int | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self._engine = engine
        self._strength = strength
        if threads is None:
            self._pieces = partial(tiled, halo=halo, multiple=multiple, whole_pixels=whole_pixels, tile_side=tile_side)
        else:
            self._pieces = partial(banded, halo=halo, multiple=multiple, threads=threads)
        self._condition = condition
        self._remark = remark

    @property
    def conditioned(self) -> bool:
        """Whether the setting matters."""
        return self._condition is not None

    def __call__(self, image: Image, setting: Setting) -> Image:
        result = np.empty_like(image.pixels)
        more = () if self._condition is None else (self._condition(setting),)
        for tile, changed in self._pieces(lambda batch: self._engine(batch, *more), image.pixels):
            result[tile.inner] = blended(image.pixels[tile.inner], changed, self._strength)
        changed_image = image.with_pixels(result)
        remark = self._remark(setting)
        return changed_image if remark is None else replace(changed_image, notes=(*image.notes, remark))
