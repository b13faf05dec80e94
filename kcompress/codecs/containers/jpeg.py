"""Metadata segments of a JPEG file (ITU-T T.81 B.2; ICC.1 annex B.4; Exif 2.3; XMP part 3)."""

import struct

from kcompress.errors import ProgramError

_ICC = b"ICC_PROFILE\0"
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST = 65533  # bytes of content in one segment


def with_metadata(
    jpeg: bytes, icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None
) -> tuple[bytes, list[str]]:
    """The same coded picture with metadata, and notes about what did not fit into a segment."""
    segments, notes = [], []
    for content, prefix, what in ((exif, _EXIF, "EXIF"), (xmp, _XMP, "XMP")):
        if content is not None and len(prefix + content) > _LARGEST:
            notes.append(f"{what} of {len(content)} bytes does not fit into a JPEG and was dropped")
        elif content is not None:
            segments.append(_segment(0xE1, prefix + content))
    if icc is not None:
        room = _LARGEST - len(_ICC) - 2
        pieces = [icc[i : i + room] for i in range(0, len(icc), room)]
        if len(pieces) > 255:
            notes.append(f"the ICC profile of {len(icc)} bytes does not fit into a JPEG and was dropped")
        else:
            for number, piece in enumerate(pieces, start=1):
                segments.append(_segment(0xE2, _ICC + bytes([number, len(pieces)]) + piece))
    # Behind the JFIF segment, which must come first.
    place = 4 + struct.unpack_from(">H", jpeg, 4)[0] if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:place] + b"".join(segments) + jpeg[place:], notes


def with_best_scans(jpeg: bytes) -> bytes:
    """The same coefficients, progressive, in the scans that take the fewest bytes; without metadata.

    Raises:
        ProgramError: it is no JPEG file.
    """
    from mozjpeg_lossless_optimization import optimize  # slow to load

    try:
        return bytes(optimize(jpeg))
    except ValueError as error:
        raise ProgramError("the encoder ended well but wrote no whole jpeg file. Try another --backend.") from error


def is_complete(jpeg: bytes) -> bool:
    """Whether it begins and ends as a JPEG file does."""
    return jpeg.startswith(b"\xff\xd8\xff") and jpeg.endswith(b"\xff\xd9")


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
