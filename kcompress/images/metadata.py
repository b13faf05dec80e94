"""EXIF, XMP and orientation of a file that Pillow has opened."""

import re
import struct

from PIL import Image as Pil

ORIENTATION = 0x0112
# What brings each EXIF orientation upright.
TURNS = {
    2: Pil.Transpose.FLIP_LEFT_RIGHT,
    3: Pil.Transpose.ROTATE_180,
    4: Pil.Transpose.FLIP_TOP_BOTTOM,
    5: Pil.Transpose.TRANSPOSE,
    6: Pil.Transpose.ROTATE_270,
    7: Pil.Transpose.TRANSVERSE,
    8: Pil.Transpose.ROTATE_90,
}


def exif_block(file: Pil.Image, orientation: int) -> bytes | None:
    """The file's own EXIF bytes, with the orientation (now applied) set to 1 in place: nothing else is touched."""
    raw = file.info.get("exif")
    if raw is None and file.format == "TIFF":
        return None  # a TIFF's EXIF is scattered over the file; there is no block to carry
    if not isinstance(raw, bytes) or not raw:
        return None
    raw = raw.removeprefix(b"Exif\0\0")
    if orientation == 1 or len(raw) < 8 or raw[:2] not in (b"II", b"MM"):
        return raw
    order = "<" if raw[:2] == b"II" else ">"
    patched = bytearray(raw)
    try:
        (start,) = struct.unpack_from(order + "I", raw, 4)
        (entries,) = struct.unpack_from(order + "H", raw, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            if struct.unpack_from(order + "H", raw, entry)[0] == ORIENTATION:
                struct.pack_into(order + "H", patched, entry + 8, 1)
    except struct.error:
        return None  # an EXIF block that cannot be walked would turn the picture a second time
    return bytes(patched)


def xmp_packet(file: Pil.Image) -> bytes | None:
    """XMP packet, with the orientation (now applied) set to 1."""
    raw = file.info.get("xmp") or file.info.get("XML:com.adobe.xmp")
    if isinstance(raw, str):
        raw = raw.encode()
    if not isinstance(raw, bytes):
        return None
    return re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", raw)
