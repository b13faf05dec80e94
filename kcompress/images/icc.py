"""ICC profiles: what they describe, and conversion through them."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms


def is_grey_profile(icc: bytes) -> bool:
    """Whether an ICC profile describes grey samples (data colour space, bytes 16 to 19 of its header)."""
    return icc[16:20] == b"GRAY"


def samples_in_srgb(samples: NDArray[np.uint8], icc: bytes) -> NDArray[np.uint8]:
    """Samples (H, W) or (H, W, 3) converted to sRGB (H, W, 3) through an ICC profile for their kind."""
    source = Pil.fromarray(np.ascontiguousarray(samples))
    return np.asarray(to_srgb(source, ImageCms.ImageCmsProfile(io.BytesIO(icc))))


def from_print(file: Pil.Image, icc: bytes | None) -> tuple[Pil.Image, str]:
    """CMYK or L*a*b* as sRGB, with a note that says how."""
    if file.mode == "LAB":
        return to_srgb(file, ImageCms.createProfile("LAB")), "L*a*b* became sRGB"
    if icc is None:
        return file.convert("RGB"), "CMYK without a profile became RGB by the plain formula; colours may be off"
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return to_srgb(file, profile), "CMYK became sRGB through its profile"


def to_srgb(file: Pil.Image, profile: Any) -> Pil.Image:
    """Relative colorimetric with black point compensation, as RGB."""
    intent = ImageCms.Intent.RELATIVE_COLORIMETRIC
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(file, profile, srgb, renderingIntent=intent, outputMode="RGB", flags=flags)
    if converted is None:
        raise ValueError("the colour conversion gave nothing")
    return converted
