"""Source: output of each format's reader, before samples become 8-bit RGB: samples, metadata, colour, notes."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from PIL import AvifImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401 (else Pillow loads all it has for them)
from PIL import Image as Pil

from kcompress.errors import InputError, UnsupportedError, UsageError
from kcompress.images import bmp, coded, gif, heif, jpeg, metadata, png, tiff
from kcompress.images.colour import Colour, adobe_rgb
from kcompress.images.credentials import has_credentials
from kcompress.images.image import Pixels
from kcompress.images.limits import guarded
from kcompress.images.samples import bits_per_sample

Check = Callable[[int, int], None]
"""Takes width and height before any pixel is decoded; may raise."""

_FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"]
_CANNOT = "cannot be decoded"


@dataclass
class Source:
    """One picture of a file.

    Attributes:
        picture: samples, not yet turned.
        samples: the same with 8 bits as (H, W) or (H, W, C), where they come from another decoder than Pillow's.
        orientation: EXIF's, 1 where nothing is to be turned.
        bits: a sample in the file.
        icc: ICC profile, or whatever stands in its place.
        exif: as it stands in the file.
        xmp: as it stands in the file.
        colour: told by other means than a profile, and preferred to it.
        notes: for the user.
        segments: of a JPEG file, with IPTC, comments and density.
        credentials: whether the file has Content Credentials, which no other file can have.
    """

    picture: Pil.Image
    orientation: int = 1
    bits: int = 8
    icc: Any = None
    exif: Any = None
    xmp: Any = None
    colour: Colour | None = None
    notes: list[str] = field(default_factory=list)
    samples: Pixels | None = None
    segments: tuple[tuple[int, bytes], ...] = ()
    credentials: bool = False


def load(data: bytes, name: str, frame: int | None, check: Check, *, strict: bool = True) -> Source:
    """Decode one picture of a file.

    Raises:
        InputError: not a picture, corrupt, or truncated.
        UnsupportedError: several pictures and no ``frame``, or a kind that no reader here takes.
        UsageError: no such frame.
    """
    parts = jpeg.structure(data) if data.startswith(b"\xff\xd8") else None
    if parts is not None:
        jpeg.check_kind(parts, name)
    still = heif.parse(data)
    if still is not None:
        coded.check_sizes(still, name)
    try:
        file = _open(data, name, still)
    except InputError as error:
        if not tiff.is_tiff(data):
            raise
        return _tifffile(data, name, frame, check, error)
    with file:
        check(file.width, file.height)
        number = _select(file, frame, name)
        check(file.width, file.height)  # each page has its own size
        if file.format == "TIFF":
            if not guarded(lambda: tiff.is_right_in_pillow(file), name, _CANNOT):
                return _tifffile(data, name, number, check, None)
            tags: Any = getattr(file, "tag_v2", {})
            icc, xmp = tags.get(tiff.ICC), tags.get(tiff.XMP)
            if not isinstance(xmp, bytes):
                file.info.pop("xmp", None)  # Pillow would look for an orientation in it
            if tags.get(tiff.COMPRESSION) == tiff.JPEG:
                guarded(lambda: tiff.check_jpeg(data, tags, name), name, _CANNOT)
            guarded(file.load, name, _CANNOT)  # which turns it
            # EXIF of a TIFF is scattered over the file; there is no block to carry.
            colour = None if icc else tiff.colour(tags)
            return Source(file, 1, bits_per_sample(data, file), icc, None, xmp, colour)
        source = _loaded(data, name, file, parts)
        source.credentials = has_credentials(data, parts)
        if still is not None:
            if strict:
                coded.check_whole(still, name)
            source.colour = still.colour(name) if not source.icc else None
            source.bits = max(source.bits, still.bits())
            if still.is_grey() and file.mode in ("RGB", "RGBA"):  # one plane, of which the reader makes three
                source.picture = file.convert("L" if file.mode == "RGB" else "LA")
            source.notes += metadata.left_out_notes(still.left_out())
        elif parts is not None:
            source.notes += metadata.left_out_notes(jpeg.left_out(data, parts, source.xmp))
        elif file.format == "PNG":
            source.colour = png.colour(data, name)
        elif file.format == "BMP":
            source.colour, source.icc = bmp.colour(data)
        elif file.format == "GIF":
            source.icc = gif.profile(data)
        if source.colour is None and not source.icc and metadata.is_adobe_rgb(file):
            source.colour = adobe_rgb("EXIF")
        return source


def _open(data: bytes, name: str, still: heif.Still | None) -> Pil.Image:
    formats = list(_FORMATS)
    if still is not None and not still.is_avif:
        import pillow_heif  # only where it is needed: start-up time

        pillow_heif.register_heif_opener(thumbnails=False)
        formats = ["HEIF"]
    if still is not None and still.kinds:  # readers go by the first brand alone
        brand = data[8:12]
        if still.is_avif and brand not in (b"avif", b"avis"):
            data = data[:8] + b"avif" + data[12:]
        elif not still.is_avif and brand[:3] not in (b"hei", b"hev", b"mif", b"msf"):
            data = data[:8] + b"heic" + data[12:]
    advice = "Give a whole PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, HEIC or AVIF file."
    file: Pil.Image = guarded(
        lambda: Pil.open(io.BytesIO(data), formats=formats), name, "cannot be read as a picture", advice
    )
    return file


def _select(file: Pil.Image, frame: int | None, name: str) -> int:
    # A phone's MPO and a HEIC hold one picture with companions (depth, a second view), not a sequence.
    alone = file.format in ("MPO", "HEIF")
    frames = 1 if alone else int(guarded(lambda: getattr(file, "n_frames", 1), name, "has pages that cannot be read"))
    number = _chosen(frame, frames, name)
    if number or frames > 1:
        guarded(lambda: file.seek(number), name, f"has a frame {number} that cannot be read")
    return number


def _chosen(frame: int | None, frames: int, name: str) -> int:
    if frame is None and frames > 1:
        raise UnsupportedError(f"{name} holds {frames} pictures. Choose one with --frame 0..{frames - 1}.")
    if frame is not None and not 0 <= frame < frames:
        raise UsageError(f"--frame {frame}: {name} holds {frames}. Allowed: 0..{frames - 1}.")
    return frame or 0


def _tifffile(data: bytes, name: str, frame: int | None, check: Check, otherwise: InputError | None) -> Source:
    """By tifffile, what Pillow reads wrongly or (``otherwise``) does not open."""
    try:
        page = tiff.read_page(data, lambda frames: _chosen(frame, frames, name), check, name)
    except UnsupportedError:
        raise
    except InputError:
        if otherwise is None:
            raise
        raise otherwise from None
    icc, orientation = page.tags.get(tiff.ICC), page.tags.get(tiff.ORIENTATION, 1)
    colour = None if icc else tiff.colour(page.tags)
    return Source(page.picture, orientation, page.bits, icc, None, page.tags.get(tiff.XMP), colour=colour)


def _loaded(data: bytes, name: str, file: Pil.Image, parts: jpeg.Structure | None) -> Source:
    orientation = guarded(lambda: metadata.orientation(file), name, _CANNOT)
    info = file.info
    picture, samples = file, None
    notes: list[str] = []
    if parts is not None and file.mode in ("L", "RGB", "CMYK"):
        samples, notes = jpeg.decoded(data, parts, file.mode, name)
    if samples is None:
        guarded(file.load, name, _CANNOT)
        if file.format == "PNG" and file.tell() == 0 and guarded(lambda: png.misses_rows(data, file), name, _CANNOT):
            raise InputError(f"{name} is truncated: rows of its picture are missing. Get a whole copy.")
        orientation = guarded(lambda: metadata.orientation(file), name, _CANNOT)  # PNG may tell it at its end
    bits = guarded(lambda: bits_per_sample(data, file), name, _CANNOT)
    if file.format == "PNG" and isinstance(info.get("transparency"), int) and file.mode in ("1", "L"):
        info["transparency"] = png.clear_level(info["transparency"], data[24])
    if file.format == "PNG" and data[25] == 4 and file.mode == "RGBA":
        picture = file.convert("LA")  # grey with alpha, of which Pillow makes colour at 16 bits
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp")
    segments = parts.further_metadata() if parts is not None else ()
    icc, exif = info.get("icc_profile"), info.get("exif")
    return Source(picture, orientation, bits, icc, exif, xmp, None, notes, samples, segments)
