"""Metadata segments of a JPEG file (ITU-T T.81 B.2; ICC.1 annex B.4; Exif 2.3; XMP part 3)."""

import struct
from collections.abc import Iterable

from kcompress.errors import ProgramError
from kcompress.programs import PYTHON

_ICC = b"ICC_PROFILE\0"
_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST = 65533  # bytes of content in one segment


def with_metadata(
    jpeg: bytes, icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None,
    others: Iterable[tuple[int, bytes]] = (),
) -> tuple[bytes, list[str]]:  # fmt: skip
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
    for marker, content in others:
        if marker != 0xE0:
            segments.append(_segment(marker, content))
        elif jpeg[2:4] == b"\xff\xe0":  # the density alone
            jpeg = jpeg[:13] + content[7:12] + jpeg[18:]
    # Behind the JFIF segment, which must come first.
    place = 4 + struct.unpack_from(">H", jpeg, 4)[0] if jpeg[2:4] == b"\xff\xe0" else 2
    return jpeg[:place] + b"".join(segments) + jpeg[place:], notes


def with_segments(jpeg: bytes, segments: Iterable[tuple[int, bytes]], end: int | None = None) -> bytes:
    """The same coded picture, up to its ``end``, with these application segments and comments in place of its own."""
    _, coded, scans = _head(jpeg)
    return b"".join([jpeg[:2], *(_segment(*each) for each in (*segments, *coded)), jpeg[scans:end]])


def applications(jpeg: bytes) -> list[tuple[int, bytes]]:
    """Application segments and comments before the first scan: marker and content."""
    return _head(jpeg)[0]


def without_metadata(marker: int, content: bytes, *, icc: bool) -> bool:
    """Whether a segment stays where metadata go, with or without the profile: what decoders need does."""
    return marker in (0xE0, 0xEE) or (icc and marker == 0xE2 and content.startswith(_ICC))


def exif_segment(exif: bytes) -> tuple[int, bytes]:
    """Segment of TIFF data."""
    return 0xE1, _EXIF + exif


def _head(jpeg: bytes) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]], int]:
    """Application segments and comments, the other segments, and the place of the first scan."""
    ours: list[tuple[int, bytes]] = []
    coded: list[tuple[int, bytes]] = []
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place + 1] != 0xDA:
        if jpeg[place + 1] == 0xFF:  # a fill byte
            place += 1
            continue
        marker, (length,) = jpeg[place + 1], struct.unpack_from(">H", jpeg, place + 2)
        found = ours if 0xE0 <= marker <= 0xEF or marker == 0xFE else coded
        found.append((marker, jpeg[place + 4 : place + 2 + length]))
        place += 2 + length
    return ours, coded, place


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


def with_best_scans_apart(jpeg: bytes) -> bytes:
    """The same for files from outside, in a process of its own: at some damages the library ends the one it is in.

    Raises:
        ProgramError: it cannot be done.
    """
    script = (
        "import sys; from mozjpeg_lossless_optimization import optimize; "
        "sys.stdout.buffer.write(optimize(sys.stdin.buffer.read()))"
    )
    best = PYTHON.run(["-I", "-c", script], jpeg)
    if not is_complete(best):
        raise ProgramError("the library ended well but wrote no whole jpeg file. Get a whole copy.")
    return best


def is_complete(jpeg: bytes) -> bool:
    """Whether it begins and ends as a JPEG file does."""
    return jpeg.startswith(b"\xff\xd8\xff") and jpeg.endswith(b"\xff\xd9")


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content
