"""Preprocessors: they change a picture before the encoder so that it costs fewer bits at equal quality."""

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
    """Picture and setting -> picture: a network with its weights, or a filter of the pool."""

    @property
    def network(self) -> str:
        """Kind: a key of ``NETWORKS``, or of the pool's filters."""
        ...

    @property
    def name(self) -> str:
        """Name of its weights, or of what needs none, as results show it."""
        ...

    @property
    def conditioned(self) -> bool:
        """Whether the result depends on the setting. Otherwise one result serves every quality."""
        ...

    @property
    def strength(self) -> float:
        """Share of its whole change that it makes, 0..1."""
        ...

    def __call__(self, image: Image, setting: Setting) -> Image:
        """Preprocess for one encode; alpha and metadata pass unchanged."""
        ...


def blended(original: Pixels, changed: NDArray[np.float32], strength: float) -> Pixels:
    """``original + strength * (changed - original)``, (H, W, 3), rounded and clipped to 0..255."""
    if strength != 1:
        changed = original + np.float32(strength) * (changed - original)
    rounded: Pixels = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
    return rounded


class NetworkPreprocessor:
    """Preprocessor that runs a network on pieces of a picture.

    Args:
        name: of its weights, or of what needs none.
        engine: the network, (1, 3, H, W) RGB 0..1 -> the same shape.
        network: key of ``NETWORKS``.
        strength: share of the change that is made, 0..1.
        halo: reach of the receptive field, pixels.
        multiple: input sizes of the network are multiples of it.
        condition: setting -> last input of the network; None for a network that takes the picture alone.
        overview: picture (H, W, 3) -> input between the two, for a network that knows the whole picture from it.
        warning: setting -> note on a setting that the network was not trained for, or None.
        whole_pixels: as `inference.tiling.tiled` takes it.
        tile_side: likewise.
        threads: bands of a picture that run at a time, for an engine of one thread; None for tiles.
    """

    def __init__(
        self, name: str, engine: Engine, *, network: str, strength: float, halo: int, multiple: int,
        condition: Callable[[Setting], NDArray[np.float32]] | None = None,
        overview: Callable[[Pixels], NDArray[np.float32]] | None = None,
        warning: Callable[[Setting], str | None] = lambda setting: None,
        whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE, threads: int | None = None,
    ) -> None:  # fmt: skip
        self.name, self.network, self.strength = name, network, strength
        self._engine, self._condition, self._warning = engine, condition, warning
        self._overview = overview
        if threads is None:
            self._pieces = partial(tiled, halo=halo, multiple=multiple, whole_pixels=whole_pixels, tile_side=tile_side)
        else:
            self._pieces = partial(banded, halo=halo, multiple=multiple, threads=threads)

    @property
    def conditioned(self) -> bool:
        """Whether the setting matters."""
        return self._condition is not None

    def __call__(self, image: Image, setting: Setting) -> Image:
        result = np.empty_like(image.pixels)
        more = [] if self._overview is None else [self._overview(image.pixels)]
        more += [] if self._condition is None else [self._condition(setting)]
        for tile, changed in self._pieces(lambda batch: self._engine(batch, *more), image.pixels):
            result[tile.inner] = blended(image.pixels[tile.inner], changed, self.strength)
        return with_warning(image.with_pixels(result), self._warning(setting))


def with_warning(image: Image, warning: str | None) -> Image:
    """The same picture, with one note more if there is one."""
    return image if warning is None else replace(image, notes=(*image.notes, warning))
