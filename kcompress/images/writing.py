"""Pictures as lossless files, and as what encoders take."""

import io
from typing import Any, Literal

import numpy as np
from PIL import Image as Pil
from PIL.PngImagePlugin import PngInfo

from kcompress.images.image import Image, Pixels


def write(image: Image, format: Literal["PNG", "PPM", "TIFF", "BMP"]) -> bytes:
    """Encode a picture without loss, with profile, EXIF and XMP where the format has room for them."""
    stacked = image.pixels[:, :, 0] if image.grey else image.pixels
    if image.alpha is not None and format not in ("PPM", "BMP"):
        stacked = np.dstack([stacked, image.alpha])
    extras: dict[str, Any] = {}
    if format in ("PNG", "TIFF"):
        found = {"icc_profile": image.icc, "exif": image.exif}
        extras = {key: value for key, value in found.items() if value is not None}
    if format == "PNG" and image.xmp is not None:
        extras["pnginfo"] = PngInfo()
        extras["pnginfo"].add_itxt("XML:com.adobe.xmp", image.xmp.decode(errors="replace"))
    output = io.BytesIO()
    _pil(stacked).save(output, format, **extras)
    return output.getvalue()


def pnm(image: Image) -> bytes:
    """Binary PNM, the common input language of encoders: PGM for grey, PAM with alpha, PPM otherwise."""
    if image.alpha is not None:
        head = f"P7\nWIDTH {image.width}\nHEIGHT {image.height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
        return b"".join([head.encode(), np.dstack([image.pixels, image.alpha]).data])
    kind, samples = ("P5", image.pixels[:, :, 0]) if image.grey else ("P6", image.pixels)
    return b"".join([f"{kind}\n{image.width} {image.height}\n255\n".encode(), np.ascontiguousarray(samples).data])


def pillow(image: Image) -> Pil.Image:
    """As a Pillow picture of mode L, RGB or, with alpha, RGBA (whose grey is three equal channels)."""
    if image.alpha is not None:
        return _pil(np.dstack([image.pixels, image.alpha]))
    return _pil(image.pixels[:, :, 0] if image.grey else image.pixels)


def _pil(samples: Pixels) -> Pil.Image:
    return Pil.fromarray(np.ascontiguousarray(samples))
