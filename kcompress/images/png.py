"""PNG chunks that Pillow does not heed: cICP, sRGB, gAMA, cHRM (PNG, third edition, 4.3 and 11.3)."""

import struct
import zlib

import numpy as np
from PIL import Image as Pil

from kcompress.errors import UnsupportedError
from kcompress.images.colour import Colour, by_codes, by_gamma

_ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
_PIECE = 1 << 20  # bytes inflated at a time


def chunks(data: bytes) -> dict[bytes, bytes]:
    """Chunks before the picture's data, the first of each kind."""
    found: dict[bytes, bytes] = {}
    place = 8
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind in (b"IDAT", b"IEND"):
            break
        found.setdefault(kind, data[place + 8 : place + 8 + length])
        place += 12 + length
    return found


def colour(data: bytes, name: str) -> Colour | None:
    """Colour by the first that speaks of cICP, iCCP, sRGB, gAMA and cHRM; None for sRGB or an ICC profile.

    Raises:
        UnsupportedError: a cICP that has no meaning here.
    """
    known = chunks(data)
    signalled = known.get(b"cICP", b"")
    if len(signalled) == 4:
        primaries, transfer, matrix, full_range = signalled
        if matrix != 0 or full_range != 1:
            raise UnsupportedError(
                f"{name}: this kind is not supported: a PNG of matrix {matrix}, range {full_range} (its cICP). "
                "Allowed: matrix 0, range 1. Convert it to sRGB."
            )
        named = by_codes(primaries, transfer, "cICP", name)
        if named is not None:
            return named
    if b"iCCP" in known or b"sRGB" in known:
        return None
    gamma, places = known.get(b"gAMA", b""), known.get(b"cHRM", b"")
    if len(gamma) != 4 and len(places) != 32:
        return None
    (value,) = struct.unpack(">I", gamma) if len(gamma) == 4 else (45455,)
    xy = None
    if len(places) == 32:
        white_x, white_y, *others = (value / 100000 for value in struct.unpack(">8I", places))
        xy = (*others, white_x, white_y)
    exponent = None if abs(value - 45455) <= 1000 and xy is None else 100000 / max(value, 1)
    return by_gamma(xy, exponent if len(gamma) == 4 else None, "gAMA and cHRM" if xy else "gAMA")


def misses_rows(data: bytes, file: Pil.Image) -> bool:
    """Whether the compressed data are whole but too few for the picture, which Pillow fills with zeros."""
    if not data[28] and np.asarray(file.crop((0, file.height - 1, *file.size))).any():
        return False  # the last row has come; counting costs as much as decoding
    width, height, bits, kind, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, 16)
    depth = bits * {2: 3, 4: 2, 6: 4}.get(kind, 1)
    passes = _ADAM7 if interlaced else [(0, 0, 1, 1)]
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    missing = sum(rows * (1 + -(-columns * depth // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
    inflating, place = zlib.decompressobj(), 8
    while missing > 0 and place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        part = data[place + 8 : place + 8 + length] if name == b"IDAT" else b""
        while part:
            missing -= len(inflating.decompress(part, _PIECE))
            part = inflating.unconsumed_tail
        place += 12 + length
    return bool(missing > 0)


def clear_level(transparency: int, bits: int) -> int:
    """Grey level of a tRNS chunk as Pillow shows it: scaled to 8 bits, as the samples of 1, 2 and 4 bits are."""
    highest = (1 << bits) - 1
    return (transparency & highest) * 255 // highest
