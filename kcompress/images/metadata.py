"""EXIF, XMP and orientation of a file, and what they claim of pictures that are left behind."""

import re
import struct
from typing import Any

import numpy as np
from PIL import Image as Pil

from kcompress.images.image import Pixels

_ORIENTATION, _EXIF_IFD, _INTEROPERABILITY_IFD, _COLOUR_SPACE, _INTEROPERABILITY = 0x0112, 0x8769, 0xA005, 0xA001, 1
_ADOBE_RGB = 2
_SHORTEST_EXIF = 14  # its header, and a directory of no entries
_PREFIXES = 8  # of one namespace: real packets have one
# XMP names that speak of a second picture, of a film or of packets elsewhere in the file: namespace -> names.
_CLAIMS = {
    b"http://ns.google.com/photos/1.0/camera/": rb"(?:Motion|MicroVideo)\w*",
    b"http://ns.google.com/photos/1.0/container/": rb"\w+",
    b"http://ns.google.com/photos/dd/1.0/(?:container|device|depthmap|image|profile)/": rb"\w+",
    b"http://ns.google.com/photos/1.0/(?:depthmap|image|audio)/": rb"\w+",
    b"http://ns.adobe.com/hdr-gain-map/1.0/": rb"\w+",
    b"http://ns.apple.com/HDRGainMap/1.0/": rb"\w+",
    b"http://ns.adobe.com/xmp/note/": rb"HasExtendedXMP",
    b"http://purl.org/dc/terms/": rb"provenance",  # of Content Credentials
}


def orientation(file: Pil.Image) -> int:
    """EXIF orientation that is still to be applied, 1 to 8."""
    if file.format == "HEIF":
        return 1  # irot and imir alone count, and libheif has applied them
    exif = file.getexif()
    if file.format == "AVIF":  # Pillow tells irot and imir as EXIF, but would take XMP's word where there are none
        exif = Pil.Exif()
        exif.load(file.info.get("exif") or b"")
    value = exif.get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def upright(samples: Pixels, orientation: int) -> Pixels:
    """Samples (H, W) or (H, W, C) turned as an EXIF orientation asks; others than 2 to 8 change nothing."""
    if orientation in (5, 6, 7, 8):
        samples = samples.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    if orientation in (3, 4, 7, 8):
        samples = samples[::-1]
    return np.ascontiguousarray(samples)


def is_adobe_rgb(file: Pil.Image) -> bool:
    """Whether EXIF tells Adobe RGB, as cameras do (DCF 2.0: interoperability R03)."""
    if not file.info.get("exif"):
        return False
    try:
        exif = file.getexif()
        space = exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE)
        return space == _ADOBE_RGB or (
            space != 1 and str(exif.get_ifd(_INTEROPERABILITY_IFD).get(_INTEROPERABILITY, "")).startswith("R03")
        )
    # A broken EXIF block makes Pillow raise nearly anything, and tells nothing.
    except Exception:
        return False


def exif_block(raw: Any, orientation: int) -> tuple[bytes | None, list[str]]:
    """EXIF as TIFF data, its orientation (now applied) set to 1 in place, nothing else touched; and notes."""
    if not raw:
        return None, []
    dropped = ["its EXIF is broken and was dropped"]
    if not isinstance(raw, bytes):
        return None, dropped
    raw = raw.removeprefix(b"Exif\0\0")
    if raw[:4] not in (b"II*\0", b"MM\0*") or len(raw) < _SHORTEST_EXIF:
        return None, dropped
    order = "<" if raw[:2] == b"II" else ">"
    patched = bytearray(raw)
    try:
        (start,) = struct.unpack_from(order + "I", raw, 4)
        (entries,) = struct.unpack_from(order + "H", raw, start)
        for entry in range(start + 2, start + 2 + 12 * entries, 12):
            if struct.unpack_from(order + "H", raw, entry)[0] == _ORIENTATION:
                struct.pack_into(order + "H", patched, entry + 8, 1)
    except struct.error:
        # A block that cannot be walked might turn the picture a second time.
        return (raw, []) if orientation == 1 else (None, dropped)
    return bytes(patched), []


def xmp_packet(raw: Any) -> bytes | None:
    """XMP packet, its orientation (now applied) set to 1, without claims of what is left behind."""
    xmp: bytes = raw.encode() if isinstance(raw, str) else raw
    if not isinstance(xmp, bytes) or not xmp:
        return None
    xmp = re.sub(rb'(tiff:Orientation(?:="|>))[2-8]', rb"\g<1>1", xmp)
    for space, names in _CLAIMS.items():
        prefixes = set(re.findall(rb"xmlns:([\w.-]{1,40})\s*=\s*[\"']" + space + rb"[\"']", xmp))
        if len(prefixes) > _PREFIXES:
            return None
        for prefix in prefixes:
            name = re.escape(prefix) + b":" + names
            xmp = re.sub(rb"\s" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')", b"", _without_elements(xmp, name))
    return xmp or None


def _without_elements(xmp: bytes, name: bytes) -> bytes:
    """XMP without the elements whose name a pattern matches; empty where one has no end, as that is no XML."""
    kept, place = [], 0
    for opening in re.finditer(rb"<(" + name + rb")(?:\s[^<>]*?)?(/?)>", xmp):
        if opening.start() < place:
            continue
        end = opening.end()
        if not opening[2]:
            end = xmp.find(b">", xmp.find(b"</" + opening[1], end)) + 1
            if end <= opening.end():
                return b""
        kept.append(xmp[place : opening.start()])
        place = end
    return b"".join([*kept, xmp[place:]])


def left_out_notes(parts: list[str]) -> list[str]:
    """A note on further pictures and films in the file."""
    return [f"left out: its {', '.join(parts)}"] if parts else []
