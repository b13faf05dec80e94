"""Preprocessors: a picture in, a picture out that the codec has an easier time with."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Image, Pixels
from kcompress.inference.engine import Engine
from kcompress.inference.tiling import tiles
from kcompress.setting import Setting

WHOLE_PIXELS = 1 << 21
"""Pictures up to this many pixels (a little over 1920x1080) go through the network in one piece."""

TILE_SIDE = 768
"""Of larger pictures' tiles: with the halo, a quarter more work than in one piece, and 0.4 GB of memory."""


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
    """A network without conditioning, RGB 0..1 in and out, sizes in multiples of ``multiple``."""

    conditioned = False

    def __init__(
        self, name: str, engine: Engine, *, strength: float, halo: int, multiple: int,
        whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE,
    ) -> None:  # fmt: skip
        self.name = name
        self._engine = engine
        self._strength = strength
        self._halo = halo
        self._multiple = multiple
        self._whole_pixels = whole_pixels
        self._tile_side = tile_side

    def __call__(self, image: Image, setting: Setting) -> Image:
        result = np.empty_like(image.pixels)
        whole = image.width * image.height <= self._whole_pixels
        side = -(-max(image.width, image.height) // self._multiple) * self._multiple if whole else self._tile_side
        for tile in tiles(image.height, image.width, side=side, halo=self._halo, multiple=self._multiple):
            seen = image.pixels[tile.outer]
            result[tile.inner] = blended(seen[tile.within], self._run(seen)[tile.within], self._strength)
        return image.with_pixels(result)

    def _run(self, pixels: Pixels) -> NDArray[np.float32]:
        """(H, W, 3) 0..255 through the network, unrounded; the picture's last row and column fill it up."""
        height, width = pixels.shape[:2]
        filled = np.pad(pixels, [(0, -height % self._multiple), (0, -width % self._multiple), (0, 0)], mode="edge")
        batch = np.ascontiguousarray(filled.transpose(2, 0, 1)[None], dtype=np.float32) / np.float32(255)
        output: NDArray[np.float32] = self._engine(batch)[0].transpose(1, 2, 0)[:height, :width]
        return output * np.float32(255)
