"""Sharp chroma: a picture whose 4:2:0 form decodes nearest to it; what libwebp calls sharp YUV, before any encoder.

Halved chroma that decoders interpolate is blurred twice. Here it is corrected by what it misses (back-projection: Irani
and Peleg, CVGIP 53, 1991). What blur still takes from the colours is light, too: a display's light grows about with the
square of a level, so the light of a pixel is its mean level squared and the variance of its channels. Luma gives back
a part of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]

CORRECTIONS = 1
"""Times that chroma is corrected. The second costs more bits than its colours are worth."""


@dataclass(frozen=True)
class Shares:
    """Shares of what is possible; all at 0, chroma is the mean of levels.

    Attributes:
        corrected: of the correction of chroma.
        linear: of the way to the mean in about linear light, which is that of libwebp.
        light: of the lost light that luma gives back. Metrics that look at luma alone lose by it, those that look at
            RGB gain more.
    """

    corrected: float
    linear: float
    light: float


PHOTOGRAPH = Shares(1, 0, 0.75)
DRAWN = Shares(0.5, 0.5, 0.28)
"""Coloured text: chroma's bits cost metrics of luma more there. Here none of eight loses 1 % on the mean."""

_BLUE, _RED = 1.772, 1.402  # B = Y + 1.772 Cb, R = Y + 1.402 Cr: JFIF 1.02
_GREEN = -0.114 * _BLUE / 0.587, -0.299 * _RED / 0.587
_OF_LIGHT = 0.2126, 0.7152, 0.0722  # BT.709's, as in sRGB
_EXPONENT = np.float32(0.8)  # of libwebp's light (picture_csp_enc.c)


def sharp_chroma(batch: Planes, shares: Shares = PHOTOGRAPH) -> Planes:
    """Change (1, 3, H, W) of RGB pictures (1, 3, H, W), 0..1, with even sides.

    Chroma of the result is equal in blocks of 2x2, so that any way of halving finds what is meant. The result may leave
    0..1, as around coloured text on white: it is for encoders that take planes, as clipping would change chroma.
    """
    import cv2  # slow to import

    size, half = batch.shape[:1:-1], (batch.shape[3] // 2, batch.shape[2] // 2)

    def halved(plane: Planes) -> Planes:
        means: Planes = cv2.resize(plane, half, interpolation=cv2.INTER_AREA).astype(np.float32, copy=False)
        return means

    luma, *planes = _ycc(*batch[0])
    linear = _ycc(*(halved(plane**_EXPONENT) ** (1 / _EXPONENT) for plane in batch[0]))[1:] if shares.linear else ()
    blurred, repeated = [], []
    for place, plane in enumerate(planes):
        halves = mean = halved(plane)
        for _ in range(CORRECTIONS):
            halves = halves + halved(plane - cv2.resize(halves, size))
        blurred.append(cv2.resize(halves, size) - plane)  # bilinear, as decoders do it
        chosen = halves - (1 - shares.corrected) * (halves - mean)
        if linear:
            chosen = chosen + shares.linear * (linear[place] - mean)
        repeated.append(cv2.resize(chosen, size, interpolation=cv2.INTER_NEAREST) - plane)
    light, mean, square = (np.zeros_like(luma) for _ in range(3))
    for share, level, change in zip(_OF_LIGHT, batch[0], _rgb(*blurred), strict=True):
        shown = level + change
        light += share * (level * level)
        mean += share * shown
        square += share * (shown * shown)
    lighter = shares.light * (np.sqrt(np.maximum(light - square + mean * mean, 0)) - mean)
    return np.stack([lighter + change for change in _rgb(*repeated)])[None]


def _ycc(red: Planes, green: Planes, blue: Planes) -> tuple[Planes, Planes, Planes]:
    """Luma and both planes of chroma."""
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, (blue - luma) * np.float32(1 / _BLUE), (red - luma) * np.float32(1 / _RED)


def _rgb(blue: Planes, red: Planes) -> tuple[Planes, Planes, Planes]:
    """Red, green and blue of chroma planes without luma."""
    return np.float32(_RED) * red, np.float32(_GREEN[0]) * blue + np.float32(_GREEN[1]) * red, np.float32(_BLUE) * blue
