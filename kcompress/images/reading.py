"""Picture files -> Image."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image as Pil

from kcompress.errors import InputError, UnsupportedError, UsageError
from kcompress.images.icc import from_print, is_grey_profile
from kcompress.images.image import Image, Metadata
from kcompress.images.limits import check_size, guarded
from kcompress.images.metadata import ORIENTATION, TURNS, exif_block, xmp_packet
from kcompress.images.samples import bits_per_sample, eight_bits

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

_FORMATS = ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"]


def read(
    data: bytes,
    *,
    name: str = "the picture",
    frame: int | None = None,
    metadata: Metadata = "icc",
    background: tuple[int, int, int] | None = None,
    check_sides: Callable[[int, int], None] | None = None,
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

    Raises:
        InputError: not a picture, corrupt, truncated, or more than ``MAX_PIXELS``.
        UnsupportedError: an animation without ``frame``, or a kind of pixels that has no 8-bit form.
        UsageError: no such frame.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes). Give a picture file.")
    with _open(data, name) as file:
        check_size(file.width, file.height, name)
        if check_sides is not None:
            check_sides(file.width, file.height)
        _select(file, frame, name)
        image = _decoded(data, file, name)
    image = apply_metadata_policy(image, metadata, name)
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
    return replace(read(data, name=name, metadata="none", background=(255, 255, 255)), notes=())


def apply_metadata_policy(image: Image, metadata: Metadata, name: str = "the picture") -> Image:
    """The picture with only the metadata asked for; without a profile, its colours become sRGB.

    Raises:
        InputError: the profile is broken.
    """
    if metadata == "all":
        return image
    image = replace(image, exif=None, xmp=None)
    if metadata == "icc":
        return image
    converted: Image = guarded(
        image.in_srgb, name, "has an ICC profile that cannot be used", "Keep it with --metadata icc."
    )
    return converted


def _open(data: bytes, name: str) -> Pil.Image:
    Pil.init()  # Pillow registers the rarer formats only when all others have failed, or when asked
    formats = list(_FORMATS)
    if data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        import pillow_heif  # only where it is needed: start-up time

        pillow_heif.register_heif_opener(thumbnails=False)
        formats = ["HEIF"]
    advice = "Give a whole PNG, JPEG, WebP, TIFF, BMP, GIF, PPM, HEIC or AVIF file."
    file: Pil.Image = guarded(
        lambda: Pil.open(io.BytesIO(data), formats=formats), name, "cannot be read as a picture", advice
    )
    return file


def _select(file: Pil.Image, frame: int | None, name: str) -> None:
    # A phone's MPO and a HEIC hold one picture with companions (depth, a second view), not a sequence.
    alone = file.format in ("MPO", "HEIF")
    frames = 1 if alone else int(guarded(lambda: getattr(file, "n_frames", 1), name, "has pages that cannot be read"))
    if frame is None and frames > 1:
        raise UnsupportedError(f"{name} holds {frames} pictures. Choose one with --frame 0..{frames - 1}.")
    if frame is not None:
        if not 0 <= frame < frames:
            raise UsageError(f"--frame {frame}: {name} holds {frames}. Allowed: 0..{frames - 1}.")
        if frame:
            guarded(lambda: file.seek(frame), name, f"has a frame {frame} that cannot be read")


def _decoded(data: bytes, file: Pil.Image, name: str) -> Image:
    complaint = "cannot be decoded"
    guarded(file.load, name, complaint)
    orientation = guarded(lambda: file.getexif().get(ORIENTATION, 1), name, complaint)
    icc: bytes | None = file.info.get("icc_profile") or None
    exif, xmp = exif_block(file, orientation), xmp_packet(file)
    # Not by ImageOps.exif_transpose: it writes the EXIF anew, and fails at what it cannot write.
    turn = TURNS.get(orientation)
    upright: Pil.Image = file if turn is None else file.transpose(turn)
    if file.format == "PNG" and data[25] == 4 and upright.mode == "RGBA":
        upright = upright.convert("LA")  # grey with alpha, of which Pillow makes colour at 16 bits
    notes: list[str] = []
    if bits_per_sample(data, file) > 8:
        notes.append("its samples of more than 8 bits became 8 bits")
        if upright.mode == "RGB" and upright.info.pop("transparency", None) is not None:
            notes.append("its transparent colour cannot be told from others in 8 bits, and was ignored")
    if upright.mode in ("CMYK", "LAB"):
        upright, note = guarded(
            lambda: from_print(upright, icc), name, "has a colour profile that cannot be used", "Convert it to RGB."
        )
        notes.append(note)
        icc = None
    samples = guarded(lambda: eight_bits(upright), name, complaint)
    if samples is None:
        raise UnsupportedError(
            f"{name} holds samples of the kind {upright.mode}, which have no 8-bit form. Convert it to 8 or 16 bits."
        )
    grey = samples.ndim == 2 or samples.shape[2] == 2
    if samples.ndim == 2:
        samples = samples[:, :, None]
    alpha = np.ascontiguousarray(samples[:, :, -1]) if samples.shape[2] in (2, 4) else None
    pixels = np.repeat(samples[:, :, :1], 3, axis=2) if grey else np.ascontiguousarray(samples[:, :, :3])
    if icc is not None and is_grey_profile(icc) != grey:
        # A profile for another number of channels describes nothing in this picture (palettes have it).
        notes.append("its ICC profile is for another kind of picture and was dropped")
        icc = None
    return Image(pixels, alpha, grey, icc, exif, xmp, tuple(notes))
