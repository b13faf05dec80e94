"""The WebP container (RFC 9649, section 2): metadata chunks around a coded picture."""

import struct

from kcompress.images.webp import chunks

_ICC_FLAG, _ALPHA_FLAG, _EXIF_FLAG, _XMP_FLAG = 0x20, 0x10, 0x08, 0x04


def with_metadata(
    webp: bytes,
    width: int,
    height: int,
    icc: bytes | None = None,
    exif: bytes | None = None,
    xmp: bytes | None = None,
) -> bytes:
    """The same coded picture in the extended format, with metadata; unchanged where there is none."""
    if icc is None and exif is None and xmp is None:
        return webp
    coded = [(name, data) for name, data in chunks(webp) if name != b"VP8X"]
    has_alpha = any(name == b"ALPH" or (name == b"VP8L" and data[4] & 0x10) for name, data in coded)
    flags = _ALPHA_FLAG * has_alpha | _ICC_FLAG * (icc is not None)
    flags |= _EXIF_FLAG * (exif is not None) | _XMP_FLAG * (xmp is not None)
    head = struct.pack("<I", flags) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    ordered = [(b"VP8X", head)]
    if icc is not None:
        ordered.append((b"ICCP", icc))
    ordered += coded
    if exif is not None:
        ordered.append((b"EXIF", exif))
    if xmp is not None:
        ordered.append((b"XMP ", xmp))
    return _file(ordered)


def without_metadata(webp: bytes, *, icc: bool) -> bytes:
    """The same coded picture without EXIF, XMP and what nobody knows; with or without its profile."""
    known = {b"VP8X", b"ALPH", b"VP8 ", b"VP8L", *([b"ICCP"] if icc else [])}
    kept = [(name, data) for name, data in chunks(webp) if name in known]
    gone = _EXIF_FLAG | _XMP_FLAG | (0 if icc else _ICC_FLAG)
    return _file([
        (name, bytes([data[0] & ~gone]) + data[1:] if name == b"VP8X" else data) for name, data in kept
    ])  # fmt: skip


def lossy_frame(webp: bytes) -> bytes | None:
    """The VP8 frame of a lossy picture; None for others."""
    return next((data for name, data in chunks(webp) if name == b"VP8 "), None)


def is_complete(webp: bytes) -> bool:
    """Whether it begins as a WebP file does and is as long as it says."""
    return webp[:4] == b"RIFF" and webp[8:12] == b"WEBP" and struct.unpack_from("<I", webp, 4)[0] + 8 == len(webp)


def _file(parts: list[tuple[bytes, bytes]]) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in parts
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body
