"""Image: what travels between the files, the networks and the codecs."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kcompress.images.icc import is_grey_profile, samples_in_srgb

Pixels = NDArray[np.uint8]
Remainder = NDArray[np.float16]
Metadata = Literal["icc", "all", "none"]


@dataclass(frozen=True)
class Image:
    r"""A picture of 8 bits a sample, upright, with what belongs to it.

    Attributes:
        pixels: (H, W, 3) uint8 RGB; in the colour space of ``icc``, or sRGB where there is none.
        alpha: (H, W) uint8, straight (not premultiplied), or None for opaque.
        grey: the picture has no colour: its three channels are equal, and it is to stay so.
        icc: ICC profile.
        exif: EXIF as TIFF data, without the ``Exif\0\0`` prefix.
        xmp: XMP packet.
        segments: further metadata of a JPEG file, IPTC, comments and density: marker and content.
        notes: what was changed on the way in and the user should know.
        remainder: (H, W, 3), what rounding and clipping took from a preprocessor's levels, or None. Encoders that take
            planes get it back.
    """

    pixels: Pixels
    alpha: Pixels | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    segments: tuple[tuple[int, bytes], ...] = ()
    notes: tuple[str, ...] = ()
    remainder: Remainder | None = None

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

    def noted(self, note: str) -> "Image":
        """The same picture with one more note."""
        return replace(self, notes=(*self.notes, note))

    def with_pixels(self, pixels: Pixels, remainder: Remainder | None = None) -> "Image":
        """The same picture with other pixels (H, W, 3) and what rounding took from them; a grey one stays grey."""
        if self.grey:
            pixels = np.repeat(luma(pixels)[:, :, None], 3, axis=2)
        return replace(self, pixels=pixels, remainder=remainder)

    @property
    def without_pixels(self) -> "Image":
        """The same picture with pixels (H, W, 0): what is told of it, where the samples of a large one can go."""
        return replace(self, pixels=self.pixels[:, :, :0].copy(), remainder=None)

    @property
    def levels(self) -> NDArray[np.float32]:
        """Samples (H, W, 3) as a preprocessor made them, unrounded and perhaps beyond 0..255; else the pixels."""
        levels = self.pixels.astype(np.float32)
        return levels if self.remainder is None else levels + self.remainder

    def in_srgb(self) -> "Image":
        """The same colours without a profile: pixels converted to sRGB through it.

        Raises:
            InputError: the profile is broken.
        """
        if self.icc is None:
            return self
        source = self.pixels[:, :, 0] if is_grey_profile(self.icc) else self.pixels
        return replace(self.with_pixels(samples_in_srgb(source, self.icc)), icc=None)

    def flattened(self, colour: tuple[int, int, int]) -> "Image":
        """Flattened over a background colour (R, G, B), each 0..255."""
        if self.alpha is None:
            return self
        result = np.empty_like(self.pixels)
        for top in range(0, self.height, 256):  # in strips: a float copy of a large picture is large
            rows = slice(top, top + 256)
            weight = self.alpha[rows, :, None].astype(np.float32) / 255
            mixed = self.pixels[rows] * weight + np.asarray(colour, dtype=np.float32) * (1 - weight)
            result[rows] = np.rint(mixed)
        grey = self.grey and len(set(colour)) == 1
        return replace(self, pixels=result, alpha=None, grey=grey)


def rounded(levels: NDArray[np.float32]) -> tuple[Pixels, Remainder]:
    """Pixels 0..255 of any levels, and what rounding and clipping took from these."""
    pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return pixels, (levels - pixels).astype(np.float16)


def bits_per_pixel(size: float, width: int, height: int) -> float:
    """Bits per pixel of a file of ``size`` bytes with a picture of ``width`` x ``height`` pixels."""
    return 8 * size / (width * height)


def luma(pixels: Pixels) -> Pixels:
    """BT.601 luma (H, W) uint8 of RGB pixels (H, W, 3); equal channels give themselves exactly."""
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)  # of 65536
    result = np.empty(pixels.shape[:2], dtype=np.uint8)
    for top in range(0, pixels.shape[0], 256):
        rows = slice(top, top + 256)
        result[rows] = (pixels[rows].astype(np.uint32) @ weights + 32768) >> 16
    return result
