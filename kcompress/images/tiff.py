"""TIFF pages that Pillow reads wrongly or not at all: 9 to 16 bits, planes apart, white at zero; read by tifffile."""

import io
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import jpeg
from kcompress.images.colour import Colour, by_gamma
from kcompress.images.limits import guarded

ICC, XMP, ORIENTATION = 34675, 700, 274
_WIDTH, _HEIGHT, _BITS, COMPRESSION, _PHOTOMETRIC, _CHANNELS, _PLANAR, _FORMAT = 256, 257, 258, 259, 262, 277, 284, 339
_WHITE_POINT, _PRIMARIES = 318, 319
_STRIPS, _TILES, _JPEG_TABLES = (273, 279), (324, 325), 347
JPEG = 7
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_MODES = {(1, 0): "L", (1, 1): "LA", (3, 0): "RGB", (3, 1): "RGBA", (4, 0): "CMYK"}
_SUPPORTED = "Allowed: grey, RGB and CMYK of 1 to 16 bits, unsigned. Convert it to one of these."


@dataclass(frozen=True)
class Page:
    """One page of a TIFF file.

    Attributes:
        picture: of 8 bits a sample, not turned.
        tags: by number, of whatever type the file gives them.
        bits: a sample in the file.
    """

    picture: Pil.Image
    tags: dict[int, Any]
    bits: int


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as TIFF and BigTIFF do."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_right_in_pillow(file: Pil.Image) -> bool:
    """Whether Pillow gives the samples of an opened TIFF page as they are."""
    tags: Any = getattr(file, "tag_v2", {})
    bits = _numbers(tags.get(_BITS, 1))
    channels, planar, photometric = (tags.get(tag, 1) for tag in (_CHANNELS, _PLANAR, _PHOTOMETRIC))
    if set(_numbers(tags.get(_FORMAT, 1))) != {1}:
        return False
    if max(bits) <= 8:
        return not (planar == 2 and channels == 2)
    # Planes apart are right by libtiff, which decodes what is compressed.
    together = planar != 2 or tags.get(COMPRESSION, 1) != 1
    return set(bits) == {16} and photometric != _WHITE_IS_ZERO and channels != 2 and together


def check_jpeg(data: bytes, tags: Any, name: str) -> None:
    """Refuse a page of JPEG strips or tiles whose data end early; libtiff only warns of them.

    Raises:
        InputError: they do.
    """
    tables = tags.get(_JPEG_TABLES) or b"\xff\xd8\xff\xd9"
    for offsets, counts in (_STRIPS, _TILES):
        for place, count in zip(_numbers(tags.get(offsets, ())), _numbers(tags.get(counts, ())), strict=False):
            complaint = jpeg.complaint(tables[:-2] + data[place + 2 : place + count], "GRAY")[1]
            if "premature end" in complaint:
                raise InputError(
                    f"{name} is truncated: a part of its picture is missing ({complaint}). Get a whole copy."
                )


def colour(tags: Any) -> Colour | None:
    """Colour by PrimaryChromaticities and WhitePoint with sRGB's curve; None without them."""
    try:
        # Pillow gives fractions as numbers, tifffile numerator and denominator.
        values = [*tags[_PRIMARIES], *tags[_WHITE_POINT]]
        if len(values) == 16:
            values = [above / below for above, below in zip(values[::2], values[1::2], strict=True)]
        primaries = tuple(float(value) for value in values)
        return by_gamma(primaries, None, "PrimaryChromaticities") if len(primaries) == 8 else None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def read_page(data: bytes, choose: Callable[[int], int], check: Callable[[int, int], None], name: str) -> Page:
    """Decode one page.

    Args:
        data: the file.
        choose: number of the page, given how many there are.
        check: called with width and height before anything is decoded.
        name: how messages call it.

    Raises:
        InputError: corrupt, truncated or too large.
        UnsupportedError: signed or floating samples, more than 16 bits, palettes of 16 bits and the like.
    """
    page: Page = guarded(lambda: _page(data, choose, check, name), name, "cannot be decoded")
    return page


def _page(data: bytes, choose: Callable[[int], int], check: Callable[[int, int], None], name: str) -> Page:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what it also raises, on stderr
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[choose(len(file.pages))]
        tags = {tag.code: tag.value for tag in page.tags}
        check(int(page.imagewidth), int(page.imagelength))
        check(int(page.tilewidth), int(page.tilelength))
        mode = _checked(page, tags, len(data), name)
        try:
            packed = page.bitspersample not in (1, 8, 16) and page.compression == 1 and page.fillorder == 1
            samples = _unpacked(data, page) if packed else page.asarray(squeeze=False, maxworkers=1)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            method = getattr(page.compression, "name", page.compression)
            raise UnsupportedError(
                f"{name}: this kind is not supported: {_described(page, tags)}, compressed by {method}. "
                "pip install 'kcompress[tiff]', or convert it."
            ) from error
    # (planes, depth, rows, columns, channels), of which planes or channels are one
    samples = np.moveaxis(samples[:, 0], 0, 2).reshape(*samples.shape[2:4], -1)
    bits = int(page.bitspersample)
    samples = _eight_bits(samples, bits)
    if page.photometric == _WHITE_IS_ZERO:
        samples[:, :, 0] = 255 - samples[:, :, 0]
    return Page(Pil.fromarray(np.ascontiguousarray(samples[:, :, 0] if mode == "L" else samples), mode), tags, bits)


def _unpacked(data: bytes, page: Any) -> NDArray[np.uint16]:
    """Uncompressed samples of a number of bits that tifffile leaves to imagecodecs, shaped as it shapes them."""
    planes, _, height, width, channels = page.shaped
    rows, columns = page.chunks[:2] if page.planarconfig == 1 or planes == 1 else page.chunks[-2:]
    down, across = -(-height // rows), -(-width // columns)
    bits = int(page.bitspersample)
    result = np.zeros((planes, 1, down * rows, across * columns, channels), np.uint16)
    powers = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint16)
    row_bytes = -(-columns * channels * bits // 8)  # rows begin on whole bytes
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        plane, place = divmod(index, down * across)
        top, left = place // across * rows, place % across * columns
        strip = np.frombuffer(data, np.uint8, count, offset)
        strip = strip[: len(strip) // row_bytes * row_bytes].reshape(-1, row_bytes)
        one_by_one = np.unpackbits(strip, axis=1, count=columns * channels * bits)
        values = one_by_one.reshape(len(strip), columns, channels, bits) @ powers
        result[plane, 0, top : top + len(strip), left : left + columns] = values[: result.shape[2] - top]
    return result[:, :, :height, :width]


def _checked(page: Any, tags: dict[int, Any], size: int, name: str) -> str:
    """Pillow's mode for a page's samples."""
    bits, extra = page.bitspersample, len(page.extrasamples)
    colours = int(page.samplesperpixel) - extra
    known = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4}.get(int(page.photometric or 0))
    alike = len(set(_numbers(tags.get(_BITS, 1)))) == 1 and set(_numbers(tags.get(_FORMAT, 1))) == {1}
    mode = _MODES.get((colours, extra)) if known == colours else None
    if not alike or not 1 <= bits <= 16 or mode is None or page.imagedepth != 1 or 1 in map(int, page.extrasamples):
        raise UnsupportedError(f"{name}: this kind is not supported: {_described(page, tags)}. {_SUPPORTED}")
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    if len(parts) < math.prod(page.chunked) or any(count == 0 or place + count > size for place, count in parts):
        raise InputError(f"{name} is truncated: a part of its picture is missing. Get a whole copy.")
    return mode


def _described(page: Any, tags: dict[int, Any]) -> str:
    kinds = {1: "unsigned", 2: "signed", 3: "floating", 5: "complex", 6: "complex"}
    bits = "/".join(str(n) for n in dict.fromkeys(_numbers(tags.get(_BITS, 1))))
    formats = "/".join(kinds.get(n, "undefined") for n in dict.fromkeys(_numbers(tags.get(_FORMAT, 1))))
    photometric = getattr(page.photometric, "name", page.photometric)
    return f"TIFF of {page.samplesperpixel} {formats} samples of {bits} bits ({photometric})"


def _eight_bits(samples: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Scaled so that full white stays full white; colour of 16 bits by its high byte, as Pillow has it elsewhere."""
    if bits == 16 and samples.shape[2] > 2:
        return (samples >> 8).astype(np.uint8)
    highest = (1 << bits) - 1
    return ((samples.astype(np.uint32) * 255 + highest // 2) // highest).astype(np.uint8)


def _numbers(value: Any) -> tuple[int, ...]:
    """Values of a tag that may hold one or several; other types than numbers count as 0."""
    values = value if isinstance(value, tuple) else (value,)
    return tuple(item if isinstance(item, int) else 0 for item in values) or (0,)
