"""Content Credentials (C2PA 2.1, appendix A): a signed account of how a file was made, which holds for it alone."""

from kcompress.images import heif, png, webp
from kcompress.images.jpeg import Structure

NOTE = "its Content Credentials (C2PA) hold for the original file alone and were left out"

_APP11 = 0xEB
_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def has_credentials(data: bytes, parts: Structure | None) -> bool:
    """Whether a JPEG (of these ``parts``), PNG, WebP, HEIC or AVIF file holds them."""
    if b"c2pa" not in data:  # the label of each
        return False
    if parts is not None:
        return any(b"c2pa" in box for box in parts.applications(_APP11, b"JP"))
    if data.startswith(b"\x89PNG"):
        return b"caBX" in png.chunks(data)
    if data[:4] == b"RIFF":
        return any(name == b"C2PA" for name, _ in webp.chunks(data))
    return any(kind == b"uuid" and content.startswith(_UUID) for kind, content in heif.boxes(data))
