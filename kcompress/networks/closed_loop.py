"""A preprocessor that watches the encoder: what was lost of the picture decides what to hand it next."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Image, Pixels, rounded
from kcompress.inference.engine import Engine
from kcompress.inference.tiling import TILE_SIDE, WHOLE_PIXELS, Slices, Tile, tiled
from kcompress.networks.preprocessor import Preprocessor, with_warning
from kcompress.networks.screen_content import natural_share
from kcompress.networks.sharp import DRAWN, PHOTOGRAPH, sharp_chroma
from kcompress.setting import Setting

RoundTrip = Callable[[Image, Setting], Callable[[Image], Pixels]]
"""Prepares a codec for a picture and a setting; the result encodes and decodes pictures of this size, (H, W, 3)."""

_STRIP = 256  # rows worked on at a time: float copies of a large picture are large


class ClosedLoop:
    """``input += network(target, reconstruction)``, a few times.

    The target is the picture after a first preprocessor; with sharp chroma, if wanted, it is the first input.
    The reconstruction is the codec's decode of the input, so every pass is an encode and a decode, at the quality of
    the file. Encoders that take planes get the input unrounded; sharp chroma, which no RGB may have, is for them alone.

    Screen content stays as it is but for sharp chroma, of which it gets less: its edges are no detail that an encoder
    drops, so both the first preprocessor and the network cost more there than they save. Where all of a picture is
    drawn, nothing is encoded.

    The engine takes (1, 6, H, W) RGB 0..1 of both pictures, and the condition, and gives the change (1, 3, H, W). Other
    arguments are as those of `preprocessor.NetworkPreprocessor`; the strength is that of the whole change.
    """

    conditioned = True

    def __init__(
        self, name: str, engine: Engine, round_trip: RoundTrip, first: Preprocessor, *, network: str, passes: int,
        strength: float, sharp: bool, halo: int, multiple: int, condition: Callable[[Setting], NDArray[np.float32]],
        warning: Callable[[Setting], str | None] = lambda setting: None,
        whole_pixels: int = WHOLE_PIXELS, tile_side: int = TILE_SIDE,
    ) -> None:  # fmt: skip
        self.name, self.network, self.strength = name, network, strength
        self._engine, self._round_trip, self._first = engine, round_trip, first
        self._passes, self._sharp = passes, sharp
        self._condition, self._warning = condition, warning
        self._tiled = partial(tiled, halo=halo, multiple=multiple, whole_pixels=whole_pixels, tile_side=tile_side)

    def __call__(self, image: Image, setting: Setting) -> Image:
        natural = natural_share(image.pixels)
        sharp = self._sharp and setting.planes and image.alpha is None and not image.grey
        passes = self._passes if natural.blocks.any() else 0
        if not passes and not sharp:
            return image
        target = natural.blended(image.pixels, self._first(image, setting).pixels)
        condition = self._condition(setting)
        reconstruct = self._round_trip(Image(target, grey=image.grey), setting)
        # Many changes are less than half a level, so they must not be rounded on the way.
        current, remainder = target.copy(), np.zeros(target.shape, np.float16)

        def levels(place: Slices) -> NDArray[np.float32]:
            return current[place].astype(np.float32) + remainder[place]

        def add(pieces: Iterable[tuple[Tile, NDArray[np.float32]]]) -> None:
            for tile, change in pieces:
                added = change.mean(axis=2, keepdims=True) if image.grey else change
                current[tile.inner], remainder[tile.inner] = rounded(levels(tile.inner) + added)

        if sharp and passes:
            changes = self._tiled(partial(sharp_chroma, shares=PHOTOGRAPH), target)
            add((tile, change * natural.at(tile.inner)) for tile, change in changes)
        if sharp and natural.blocks.min() < 1:
            changes = self._tiled(partial(sharp_chroma, shares=DRAWN), target)
            add((tile, change * (1 - natural.at(tile.inner))) for tile, change in changes)
        for _ in range(passes):
            reconstruction = reconstruct(Image(current, grey=image.grey, remainder=remainder))
            changes = self._tiled(lambda batch: self._engine(batch, condition), target, reconstruction)
            add((tile, change * natural.at(tile.inner)) for tile, change in changes)
            del reconstruction  # before the next is made: large pictures are large
        if self.strength != 1:
            for top in range(0, image.height, _STRIP):
                strip = slice(top, top + _STRIP), slice(None)
                original = image.pixels[strip]
                current[strip], remainder[strip] = rounded(original + self.strength * (levels(strip) - original))
        changed = image.with_pixels(current, remainder if setting.planes else None)
        return with_warning(changed, self._warning(setting))
