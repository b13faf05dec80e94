"""Conversion between RGB and YUV planes: matrix, range and chroma sampling.

Matrices are ITU-T H.273 codes, as HEVC's VUI and HEIF's ``colr`` signal them. Sources: BT.601, BT.709,
BT.2020; BPG specification (Bellard, libbpg 0.9.8) for YCgCo, limited range and its resampling filters.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]
Sampling = Literal["400", "420", "422", "444"]
Siting = Literal["centre", "left"]
Matrix = Literal["bt601", "rgb", "ycgco", "bt709", "bt2020"]

# Luma weights of red and blue.
_WEIGHTS: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
_STRIP = 256  # rows worked on at a time: float copies of a large picture are large


Taps = tuple[int, ...]
"""A separable half-phase filter that halves a chroma plane, over the sum of its taps."""

BOX: Taps = (1, 1)
"""Mean of 2x2: HEIF readers assume it when they repeat or interpolate centred chroma."""

LIBBPG: Taps = (2, -4, -8, 17, 57, 57, 17, -8, -4, 2)
"""Filter of libbpg's encoder; its decoder's upsampling filters follow."""

# Up filters over 64 for samples a quarter before and a quarter after a chroma sample, and half-way between two.
_UP_QUARTER = (2, -6, 18, 57, -10, 4, -1)
_UP_HALF = (-1, 4, -11, 40, 40, -11, 4, -1)


@dataclass(frozen=True)
class Planes:
    """The planes of one picture.

    Attributes:
        luma: (H, W); or green in the ``rgb`` matrix, or the only plane.
        chroma: (Cb, Cr), each (ceil(H/v), ceil(W/h)) by the sampling; none for ``400``; (B, R) for ``rgb``.
        sampling: of the chroma planes.
        matrix: between RGB and these planes.
        full_range: 0..2^N-1; otherwise the limited range of video (16..235 and 16..240 at 8 bits).
        bits: a sample, 8..14.
        siting: where chroma samples sit horizontally: between the luma samples or on the left one.
    """

    luma: Samples
    chroma: tuple[Samples, ...]
    sampling: Sampling
    matrix: Matrix = "bt601"
    full_range: bool = True
    bits: int = 8
    siting: Siting = "centre"

    @property
    def all(self) -> tuple[Samples, ...]:
        """Every plane in file order."""
        return (self.luma, *self.chroma)

    @property
    def pieces(self) -> tuple[memoryview, ...]:
        """Samples of every plane, as encoders read them."""
        return tuple(np.ascontiguousarray(plane).data for plane in self.all)


def shifts(sampling: Sampling) -> tuple[int, int]:
    """log2 of the chroma subsampling, vertically and horizontally."""
    return {"400": (0, 0), "420": (1, 1), "422": (0, 1), "444": (0, 0)}[sampling]


def grey_planes(samples: NDArray[np.uint8], bits: int = 8) -> Planes:
    """One plane alone: a grey picture or an alpha channel."""
    if bits == 8:
        return Planes(samples, (), "400")
    # 255 becomes the peak; the integers are exact.
    peak = (1 << bits) - 1
    return Planes(((samples.astype(np.uint32) * (2 * peak) + 255) // 510).astype(np.uint16), (), "400", bits=bits)


def from_rgb(
    pixels: NDArray[np.uint8], sampling: Literal["420", "444"], taps: Taps, bits: int = 8, *,
    remainder: NDArray[np.float16] | None = None, full_range: bool = True,
) -> Planes:  # fmt: skip
    """Planes of RGB pixels (H, W, 3), and of what rounding took from them, in BT.601, with centred chroma."""
    height, width = pixels.shape[:2]
    down = 1 if sampling == "420" else 0
    peak, centre = (1 << bits) - 1, 1 << (bits - 1)
    scale = np.float32(peak / 255)
    unit = 1 << (bits - 8)
    foot, of_luma, of_chroma = (0, 1.0, 1.0) if full_range else (16 * unit, 219 * unit / peak, 224 * unit / peak)
    luma = _empty((height, width), bits)
    size = ((height + down) >> down, (width + down) >> down)
    blue, red = _empty(size, bits), _empty(size, bits)
    reach = len(taps) if down else 0  # rows beyond the strip that its chroma needs
    for top in range(0, height, _STRIP):
        start, stop = max(0, top - reach), min(height, top + _STRIP + reach)
        levels = pixels[start:stop].astype(np.float32)
        if remainder is not None:
            levels += remainder[start:stop]
        r, g, b = np.moveaxis(levels * scale, 2, 0)
        y = 0.299 * r + 0.587 * g + 0.114 * b
        own = slice(top - start, min(height, top + _STRIP) - start)
        luma[top : top + _STRIP] = _rounded(foot + of_luma * y[own], peak)
        for plane, difference in ((blue, (b - y) / 1.772), (red, (r - y) / 1.402)):
            centred = of_chroma * difference + centre
            if down:
                # `start` is even, so the halved strip begins on a chroma row.
                halved = _halve(_halve(centred, 0, taps), 1, taps)
                plane[top // 2 : (top + _STRIP) // 2] = _rounded(
                    halved[(top - start) // 2 : (top - start + _STRIP) // 2], peak
                )
            else:
                plane[top : top + _STRIP] = _rounded(centred[own], peak)
    return Planes(luma, (blue, red), sampling, full_range=full_range, bits=bits)


def to_rgb(planes: Planes) -> NDArray[np.uint8]:
    """RGB pixels (H, W, 3) uint8 of any planes; chroma is enlarged with libbpg's filters."""
    height, width = planes.luma.shape
    if not planes.chroma:
        level = _rounded(_levels(planes.luma.astype(np.float32), planes, luma=True) * 255, 255)
        return np.repeat(level.astype(np.uint8)[:, :, None], 3, axis=2)
    vertical, horizontal = shifts(planes.sampling)
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(height, top + _STRIP)
        chroma = []
        for plane in planes.chroma:
            strip = _rows(plane, top, bottom) if vertical else plane[top:bottom].astype(np.float64)
            if horizontal:
                strip = _double(strip, 1, planes.siting)[:, :width]
            if vertical or horizontal:
                strip = np.clip(np.floor(strip + 0.5), 0, (1 << planes.bits) - 1)
            chroma.append(_levels(strip, planes, luma=planes.matrix == "rgb"))
        y = _levels(planes.luma[top:bottom].astype(np.float64), planes, luma=True)
        result[top:bottom] = _rounded(_matrixed(y, chroma[0], chroma[1], planes.matrix) * 255, 255)
    return result


def _empty(size: tuple[int, int], bits: int) -> Samples:
    return np.empty(size, np.uint8) if bits == 8 else np.empty(size, np.uint16)


def _rows(plane: Samples, top: int, bottom: int) -> NDArray[np.float64]:
    """Rows top..bottom of a plane of half height, enlarged."""
    reach = 4
    first, last = max(0, top // 2 - reach), min(plane.shape[0], (bottom + 1) // 2 + reach)
    # Vertically, chroma is always centred.
    enlarged = _double(plane[first:last].astype(np.float64), 0, "centre")
    return enlarged[top - 2 * first : bottom - 2 * first]


def _halve(x: NDArray[np.float32], axis: int, taps: Taps) -> NDArray[np.float32]:
    """Every second sample along an axis of x filtered at half phase; edges are repeated, ceil(n/2) samples."""
    x = np.moveaxis(x, axis, 0)
    count = (x.shape[0] + 1) // 2
    before = len(taps) // 2 - 1
    padded = np.pad(x, [(before, 2 * count + before + 1 - x.shape[0]), (0, 0)], mode="edge")
    total = np.float32(sum(taps))
    result = sum(np.float32(tap) / total * padded[i : i + 2 * count : 2] for i, tap in enumerate(taps))
    return np.moveaxis(np.asarray(result), 0, axis)


def _double(x: NDArray[np.float64], axis: int, siting: Siting) -> NDArray[np.float64]:
    """Twice as many samples along an axis, unrounded."""
    x = np.moveaxis(x, axis, 0)
    count = x.shape[0]
    padded = np.pad(x, [(4, 4), (0, 0)], mode="edge")
    result = np.empty((2 * count, x.shape[1]))

    def filtered(taps: tuple[int, ...], first: int) -> NDArray[np.float64]:
        total = sum(tap * padded[4 + first + i : 4 + first + i + count] for i, tap in enumerate(taps))
        return np.asarray(total) / 64

    if siting == "left":
        result[0::2], result[1::2] = x, filtered(_UP_HALF, -3)
    else:
        result[0::2], result[1::2] = filtered(_UP_QUARTER, -3), filtered(_UP_QUARTER[::-1], -3)
    return np.moveaxis(result, 0, axis)


def _levels(samples: NDArray[np.floating], planes: Planes, *, luma: bool) -> NDArray[np.floating]:
    """Samples as luma 0..1 or chroma -0.5..0.5."""
    if planes.full_range:
        peak = (1 << planes.bits) - 1
        return samples / peak if luma else (samples - (1 << (planes.bits - 1))) / peak
    unit = 1 << (planes.bits - 8)
    return (samples - 16 * unit) / (219 * unit) if luma else (samples - 128 * unit) / (224 * unit)


def _matrixed(
    y: NDArray[np.floating], cb: NDArray[np.floating], cr: NDArray[np.floating], matrix: Matrix
) -> NDArray[np.floating]:
    """RGB 0..1 (H, W, 3) of planes from ``_levels``."""
    if matrix == "rgb":
        return np.stack([cr, y, cb], axis=2)
    if matrix == "ycgco":  # here cb is Cg and cr is Co
        return np.stack([y - cb + cr, y + cb, y - cb - cr], axis=2)
    of_red, of_blue = _WEIGHTS[matrix]
    red = y + 2 * (1 - of_red) * cr
    blue = y + 2 * (1 - of_blue) * cb
    green = (y - of_red * red - of_blue * blue) / (1 - of_red - of_blue)
    return np.stack([red, green, blue], axis=2)


def _rounded(x: NDArray[np.floating], peak: int) -> Samples:
    samples: NDArray[np.floating] = np.clip(np.floor(x + 0.5), 0, peak)
    return samples.astype(np.uint8) if peak == 255 else samples.astype(np.uint16)
