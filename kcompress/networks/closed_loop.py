"""A preprocessor that watches the encoder: what it made of the picture tells what to hand it next."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Image, Pixels
from kcompress.inference.engine import Engine
from kcompress.inference.tiling import TILE_SIDE, WHOLE_PIXELS, tiled
from kcompress.networks.preprocessor import Preprocessor, blended
from kcompress.setting import Setting

Shown = Callable[[Image, Setting], Pixels]
"""Reconstruction (H, W, 3) of a picture by a codec: encoded and decoded."""


class ClosedLoop:
    """``input += network(wanted, shown)``, a few times.

    What is wanted is the picture after a first preprocessor; the input is that to begin with, and what is shown is the
    codec's decode of the input, which is rounded to 8 bits each time. So every pass is an encode and a decode, at the
    setting of the file.

    Args:
        name: of the network or of its weights.
        engine: the network, (1, 6, H, W) RGB 0..1 of both pictures -> (1, 3, H, W) change.
        shown: the codec.
        first: the first preprocessor.
        passes: how many.
        strength: of the whole change.
        halo: pixels that the change can depend on.
        multiple: input sizes of the network are multiples of it.
        condition: what it wants beside the pictures.
        warning: setting -> note on a setting that the network was not trained for, or None.
        whole_pixels: as `inference.tiling.tiled` takes it.
        tile_side: likewise.
    """

    conditioned = True

    def __init__(
        self, name: str, engine: Engine, shown: Shown, first: Preprocessor, *, passes: int, strength: float, halo: int,
        multiple: int, condition: Callable[[Setting], NDArray[np.float32]],
        warning: Callable[[Setting], str | None] = lambda setting: None,
        whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE,
    ) -> None:  # fmt: skip
        self.name = name
        self._engine, self._shown, self._first = engine, shown, first
        self._passes, self._strength = passes, strength
        self._condition, self._warning = condition, warning
        self._tiled = partial(tiled, halo=halo, multiple=multiple, whole_pixels=whole_pixels, tile_side=tile_side)

    def __call__(self, image: Image, setting: Setting) -> Image:
        wanted = self._first(image, setting).pixels
        condition = self._condition(setting)
        # Changes of all passes: many are less than half a level, so they must not be rounded on the way.
        added = np.zeros(wanted.shape, np.float16)
        current = wanted
        for _ in range(self._passes):
            shown = self._shown(Image(current, grey=image.grey), setting)
            current = np.empty_like(wanted)
            for tile, change in self._tiled(lambda batch: self._engine(batch, condition), wanted, shown):
                added[tile.inner] += change.mean(axis=2, keepdims=True) if image.grey else change
                current[tile.inner] = blended(wanted[tile.inner], wanted[tile.inner] + np.float32(added[tile.inner]), 1)
            del shown  # before the next is made: large pictures are large
        if self._strength != 1:
            current = blended(image.pixels, current.astype(np.float32), self._strength)
        warning = self._warning(setting)
        changed = image.with_pixels(current)
        return changed if warning is None else replace(changed, notes=(*image.notes, warning))
