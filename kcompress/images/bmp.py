"""Colour of a BMP's header of version 4 or 5 (BITMAPV4HEADER, BITMAPV5HEADER), which Pillow does not heed."""

import struct

from kcompress.images.colour import Colour, by_gamma

_CALIBRATED, _EMBEDDED = b"\0\0\0\0", b"DEBM"


def colour(data: bytes) -> tuple[Colour | None, bytes | None]:
    """Colour by end points and gamma, or the embedded ICC profile; neither for sRGB."""
    header = data[14:138]
    if len(header) < 124 or struct.unpack_from("<I", header)[0] not in (108, 124):
        return None, None
    if header[56:60] == _EMBEDDED and header[0] == 124:
        start, size = struct.unpack_from("<II", header, 112)
        return None, data[14 + start : 14 + start + size] or None
    if header[56:60] != _CALIBRATED:
        return None, None
    ends = [value / 2**30 for value in struct.unpack_from("<9i", header, 60)]
    red, green, blue = ends[:3], ends[3:6], ends[6:]
    white = [sum(column) for column in zip(red, green, blue, strict=True)]
    sums = [sum(colour) for colour in (red, green, blue, white)]
    gamma = struct.unpack_from("<I", header, 96)[0] / 65536
    if min(sums) <= 0:  # many programs leave the fields empty
        return None, None
    xy = tuple(value / total for end, total in zip((red, green, blue, white), sums, strict=True) for value in end[:2])
    return by_gamma(xy, gamma or None, "BMP header"), None
