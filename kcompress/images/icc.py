"""ICC profiles: whether they belong to the samples, conversion through them, and small ones written here."""

import io
import struct
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pil
from PIL import ImageCms

Curve = tuple[float, float, float, float, float]
"""ICC parametric curve g, a, b, c, d: linear light of x is (a x + b)^g from d upwards, c x below."""

Primaries = tuple[float, ...]
"""CIE 1931 x, y of red, green, blue and white: eight numbers."""

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def is_grey_profile(icc: bytes) -> bool:
    """Whether an ICC profile describes grey samples (data colour space, bytes 16 to 19 of its header)."""
    return icc[16:20] == b"GRAY"


@lru_cache(maxsize=32)
def why_unusable(icc: bytes, space: bytes) -> str | None:
    """Reason why a profile cannot describe samples of a data colour space (``RGB ``, ``GRAY``, ``CMYK``), if any."""
    if len(icc) < 132 or icc[36:40] != b"acsp":
        return "is corrupt"
    if icc[16:20] != space or icc[12:16] in (b"link", b"abst", b"nmcl"):  # classes that describe no picture
        return "is for another kind of picture"
    mode = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}[space]
    try:
        to_srgb(Pil.new(mode, (1, 1)), ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return "is corrupt"
    return None


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


def xyz_matrix(primaries: Primaries) -> NDArray[np.float64]:
    """Matrix (3, 3) from linear RGB to CIE XYZ, white at Y = 1.

    Raises:
        ValueError: the primaries span no gamut.
    """
    xy = np.array(primaries, dtype=np.float64).reshape(4, 2)
    if not np.isfinite(xy).all() or (xy[:, 1] <= 0).any():
        raise ValueError("primaries that span no gamut")
    xyz = np.column_stack([xy[:, 0], xy[:, 1], 1 - xy.sum(axis=1)]) / xy[:, 1:]
    if abs(np.linalg.det(xyz[:3])) < 1e-3:
        raise ValueError("primaries that span no gamut")
    return np.asarray(xyz[:3].T * np.linalg.solve(xyz[:3].T, xyz[3]))


def display_profile(name: str, primaries: Primaries, curve: Curve, *, grey: bool) -> bytes:
    """A display profile (ICC.1:2010, version 4.3): matrix and one parametric curve, or for grey the curve alone.

    Raises:
        ValueError: the primaries span no gamut.
    """
    trc = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(*curve)
    tags = {b"desc": _text(name), b"cprt": _text("No copyright, use freely"), b"wtpt": _xyz(_D50)}
    if grey:
        tags[b"kTRC"] = trc
    else:
        to_xyz = xyz_matrix(primaries)
        cone = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ to_xyz.sum(axis=1)))
        adaptation = np.linalg.inv(_BRADFORD) @ cone @ _BRADFORD
        tags[b"chad"] = b"sf32" + bytes(4) + _fixed(*adaptation.ravel())
        for letter, column in zip((b"r", b"g", b"b"), (adaptation @ to_xyz).T, strict=True):
            tags |= {letter + b"XYZ": _xyz(column), letter + b"TRC": trc}
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += struct.pack(">4sII", tag, place + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space = b"GRAY" if grey else b"RGB "
    head = struct.pack(">I4xI4s4s4s12x4s28x", place + len(body), 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    return head + _fixed(*_D50) + bytes(48) + struct.pack(">I", len(tags)) + table + body


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(values: Any) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _text(text: str) -> bytes:
    return (
        b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 2 * len(text), 28) + text.encode("utf-16-be")
    )
