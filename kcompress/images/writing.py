"""Pictures as lossless files, and as what encoders take."""

import io
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from PIL import Image as Pil
from PIL.PngImagePlugin import PngInfo

from kcompress.images.image import Image, Pixels

Format = Literal["PNG", "PPM", "TIFF", "BMP"]
# EXIF tags that describe the picture, not the file they stand in: words, maker, resolution, sub-directories.
_DESCRIPTIVE = {270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 18246, 33432, 34665, 34853, *range(40091, 40096)}
_XMP_TAG = 700


def fitted(image: Image, format: Format) -> Image:
    """The picture as a format can hold it, with notes on what it cannot; alpha aside."""
    if format in ("PPM", "BMP"):
        if image.icc is not None:
            image = image.in_srgb().noted(f"{format} holds no ICC profile: its colours were converted to sRGB")
        lost = [name for name, block in (("EXIF", image.exif), ("XMP", image.xmp)) if block is not None]
        image = replace(image, exif=None, xmp=None)
        return image.noted(f"{format} holds no {' or '.join(lost)}, which was dropped") if lost else image
    if format == "TIFF" and image.exif is not None and _exif_tags(image.exif) is None:
        return replace(image, exif=None).noted("its EXIF cannot be written to TIFF and was dropped")
    return image


def write(image: Image, format: Format) -> bytes:
    """Encode a picture without loss, with profile, EXIF and XMP where the format has room for them."""
    stacked = image.pixels[:, :, 0] if image.grey else image.pixels
    if image.alpha is not None and format not in ("PPM", "BMP"):
        stacked = np.dstack([stacked, image.alpha])
    extras: dict[str, Any] = {}
    if format in ("PNG", "TIFF") and image.icc is not None:
        extras["icc_profile"] = image.icc
    if format == "PNG":
        if image.exif is not None:
            extras["exif"] = image.exif
        if image.xmp is not None:
            extras["pnginfo"] = PngInfo()
            extras["pnginfo"].add_itxt("XML:com.adobe.xmp", image.xmp.decode(errors="replace"))
    if format == "TIFF":
        tags = (_exif_tags(image.exif) if image.exif is not None else None) or Pil.Exif()
        if image.xmp is not None:
            tags[_XMP_TAG] = image.xmp
        extras = {**extras, "exif": tags} if tags else extras
    return _saved(_pil(stacked), format, **extras)


def _exif_tags(exif: bytes) -> Pil.Exif | None:
    """Tags that a TIFF can take over; None where Pillow cannot write them."""
    tags = Pil.Exif()
    try:
        tags.load(exif)
        for tag in set(tags) - _DESCRIPTIVE:
            del tags[tag]
        _saved(Pil.new("L", (1, 1)), "TIFF", exif=tags)
    # A broken block makes Pillow raise nearly anything.
    except Exception:
        return None
    return tags


def _saved(picture: Pil.Image, format: Format, **extras: Any) -> bytes:
    output = io.BytesIO()
    picture.save(output, format, **extras)
    return output.getvalue()


def pnm(image: Image) -> tuple[bytes, memoryview]:
    """Head and samples of binary PNM, the common input language of encoders: PGM for grey, PAM with alpha, else PPM."""
    if image.alpha is not None:
        head = f"P7\nWIDTH {image.width}\nHEIGHT {image.height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
        return head.encode(), np.dstack([image.pixels, image.alpha]).data
    kind, samples = ("P5", image.pixels[:, :, 0]) if image.grey else ("P6", image.pixels)
    return f"{kind}\n{image.width} {image.height}\n255\n".encode(), np.ascontiguousarray(samples).data


def pillow(image: Image) -> Pil.Image:
    """As a Pillow picture of mode L, RGB or, with alpha, RGBA (whose grey is three equal channels)."""
    if image.alpha is not None:
        return _pil(np.dstack([image.pixels, image.alpha]))
    return _pil(image.pixels[:, :, 0] if image.grey else image.pixels)


def _pil(samples: Pixels) -> Pil.Image:
    return Pil.fromarray(np.ascontiguousarray(samples))
