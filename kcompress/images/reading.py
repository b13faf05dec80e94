"""Picture files -> Image."""

from dataclasses import replace

import numpy as np

from kcompress.errors import InputError, UnsupportedError
from kcompress.images.colour import with_colour
from kcompress.images.credentials import NOTE as CREDENTIALS
from kcompress.images.icc import from_print, why_unusable
from kcompress.images.image import Image, Metadata
from kcompress.images.jpeg import IPTC, remarks
from kcompress.images.limits import check_size, guarded
from kcompress.images.metadata import exif_block, upright, xmp_packet
from kcompress.images.samples import eight_bits
from kcompress.images.source import Check, Source, load

SUFFIXES = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
    ]
)
"""Suffixes by which pictures are picked out of a folder."""

_CANNOT = "cannot be decoded"


def read(
    data: bytes,
    *,
    name: str = "the picture",
    frame: int | None = None,
    metadata: Metadata = "icc",
    background: tuple[int, int, int] | None = None,
    check_sides: Check | None = None,
    strict: bool = True,
) -> Image:
    """Decode a picture file: PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, HEIC or AVIF.

    EXIF orientation is applied; CMYK is converted through its profile; 16 bits become 8.

    Args:
        data: the file.
        name: how messages call it.
        frame: which picture of an animation or of several pages, from 0; None refuses those.
        metadata: ``icc`` keeps the profile, ``all`` EXIF and XMP too, ``none`` converts to sRGB and keeps nothing.
        background: flatten transparency over this colour.
        check_sides: called with width and height before any pixel is decoded; may raise.
        strict: find HEVC that ends too early, which decoders do not tell, by decoding it twice more.

    Raises:
        InputError: not a picture, corrupt, truncated, or more than ``MAX_PIXELS``.
        UnsupportedError: an animation without ``frame``, or a kind of pixels that has no 8-bit form.
        UsageError: no such frame.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes). Give a picture file.")

    def check(width: int, height: int) -> None:
        check_size(width, height, name)
        if check_sides is not None:
            check_sides(width, height)

    source = load(data, name, frame, check, strict=strict)
    image = apply_metadata_policy(_image_of(source, name), metadata)
    if source.credentials and metadata != "none":
        image = image.noted(CREDENTIALS)
    if background is not None:
        image = image.flattened(background)
    if image.alpha is not None and int(image.alpha.min()) == 255:
        image = replace(image, alpha=None).noted("its alpha channel is opaque everywhere and was dropped")
    return image


def read_canonical(data: bytes, name: str) -> Image:
    """A picture as codecs are compared on it: sRGB, no alpha (over white), no metadata that would count as bytes.

    Raises:
        InputError: corrupt, truncated, or no known format.
    """
    return read(data, name=name, metadata="none", background=(255, 255, 255))


def apply_metadata_policy(image: Image, metadata: Metadata) -> Image:
    """The picture with only the metadata asked for; without a profile, its colours become sRGB.

    A profile that does not belong to the pixels is dropped with a note.
    """
    reason = None if image.icc is None else why_unusable(image.icc, b"GRAY" if image.grey else b"RGB ")
    if reason is not None:
        image = replace(image, icc=None).noted(f"its ICC profile {reason} and was dropped")
    if metadata == "all":
        return image
    lost = " and ".join(name for name, block in (("EXIF", image.exif), ("XMP", image.xmp)) if block is not None)
    has_iptc = IPTC in remarks(image.segments)
    image = replace(image, exif=None, xmp=None, segments=())
    if metadata == "none":
        return image.in_srgb()
    if has_iptc:
        image = image.noted("its IPTC was left out, which --metadata all keeps from JPEG to JPEG")
    return image.noted(f"its {lost} was left out, which --metadata all keeps") if lost else image


def _image_of(source: Source, name: str) -> Image:
    """The picture as 8-bit RGB, turned, with what belongs to it."""
    picture = source.picture
    exif, exif_notes = exif_block(source.exif, source.orientation)
    notes = [*source.notes, *exif_notes]
    if source.bits > 8:
        notes.append("its samples of more than 8 bits became 8 bits")
        if picture.mode == "RGB" and picture.info.pop("transparency", None) is not None:
            notes.append("its transparent colour cannot be told from others in 8 bits, and was ignored")
    icc: bytes | None = source.icc or None
    if icc is not None and not isinstance(icc, bytes):
        icc, reason = None, "is corrupt"
    else:
        reason = why_unusable(icc, b"CMYK") if icc is not None and picture.mode == "CMYK" else None
    if reason is not None:
        icc = None
        notes.append(f"its ICC profile {reason} and was dropped")
    if picture.mode in ("CMYK", "LAB"):
        picture, note = guarded(lambda: from_print(picture, icc), name, _CANNOT)
        notes.append(note)
        icc = None
    samples = guarded(lambda: eight_bits(picture), name, _CANNOT) if source.samples is None else source.samples
    if samples is None:
        raise UnsupportedError(
            f"{name}: this kind is not supported: samples of the kind {picture.mode}, which have no 8-bit form. "
            "Convert it to 8 or 16 bits."
        )
    # Not by ImageOps.exif_transpose: it writes the EXIF anew, and fails at what it cannot write.
    samples = upright(samples, source.orientation)
    grey = samples.ndim == 2 or samples.shape[2] == 2
    if samples.ndim == 2:
        samples = samples[:, :, None]
    alpha = np.ascontiguousarray(samples[:, :, -1]) if samples.shape[2] in (2, 4) else None
    pixels = np.repeat(samples[:, :, :1], 3, axis=2) if grey else np.ascontiguousarray(samples[:, :, :3])
    image = Image(pixels, alpha, grey, icc, exif, xmp_packet(source.xmp), source.segments, tuple(notes))
    return with_colour(image, source.colour)
