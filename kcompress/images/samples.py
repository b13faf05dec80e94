"""Samples of 8 bits from what Pillow decodes."""

import re

import numpy as np
from PIL import Image as Pil

from kcompress.images.image import Pixels


def eight_bits(file: Pil.Image) -> Pixels | None:
    """Samples (H, W) grey, (H, W, 2) grey + alpha, (H, W, 3) or (H, W, 4); None for what has no 8-bit form."""
    if file.mode.startswith("I"):
        # 16-bit grey; full white must stay full white, so the range is scaled, not shifted.
        wide = np.asarray(file).astype(np.uint32)
        if int(wide.max()) > 65535:
            return None
        grey: Pixels = ((wide * 255 + 32767) // 65535).astype(np.uint8)
        clear = file.info.get("transparency")  # a PNG may name one level that is not seen
        return grey if clear is None else np.dstack([grey, np.where(wide == clear, 0, 255).astype(np.uint8)])
    if file.mode == "F":
        return None
    if file.mode in ("LA", "La"):
        return np.asarray(file.convert("LA"))
    if file.has_transparency_data:
        rgba = np.asarray(file.convert("RGBA"))
        return rgba[:, :, 2:] if file.mode in ("1", "L") else rgba
    if file.mode in ("1", "L"):
        return np.asarray(file.convert("L"))
    if file.mode == "P" and "icc_profile" not in file.info:
        rgb = np.asarray(file.convert("RGB"))
        colours = np.asarray(file.getpalette("RGB") or [0, 0, 0], dtype=np.uint8).reshape(-1, 3)
        # A GIF of grey levels is a grey picture.
        return rgb[:, :, 0] if bool((colours == colours[:, :1]).all()) else rgb
    # convert() copies even what is RGB already, and a large picture is large.
    return np.asarray(file if file.mode == "RGB" else file.convert("RGB"))


def bits_per_sample(data: bytes, file: Pil.Image) -> int:
    """Bits a sample in the file; Pillow itself gives 8 without a word."""
    if file.mode.startswith("I"):
        return 16
    if file.format == "PNG":
        return data[24]
    if file.format == "TIFF":
        bits = getattr(file, "tag_v2", {}).get(258, 8)
        return int(max(bits if isinstance(bits, tuple) else (bits,)))
    if file.format == "HEIF":
        return int(file.info.get("bit_depth", 8))
    if file.format == "PPM":
        header = re.match(rb"P[56]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s+(\d+)\s", data[:512])
        return 16 if header and int(header.group(1)) > 255 else 8
    return 8
