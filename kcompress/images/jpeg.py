"""JPEG markers, and decoding that heeds what libjpeg only warns of (Pillow hides its warnings)."""

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kcompress.errors import InputError, UnsupportedError
from kcompress.images.image import Pixels

IPTC = "IPTC"
_IPTC = b"8BIM\x04\x04"
_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP13, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xED, 0xFE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_LOSSLESS_OR_HIERARCHICAL = {0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xCA}
# A marker ends a scan's data; stuffed zeros, restarts and fill bytes do not.
_NEXT = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FILM = re.compile(rb"ftyp(?:mp4|iso|qt|avc|M4V|3g|hev|mov)")
_ZEROS = 64  # a run that no encoder writes before a marker: the place of data that never came


@dataclass(frozen=True)
class Structure:
    """Markers of a JPEG file's first picture.

    Attributes:
        segments: (marker, content) in order, SOS included, without entropy-coded data.
        end: bytes of the file that belong to it.
        ends_in_zeros: some scan's data end in zeros, in place of data that were lost.
    """

    segments: tuple[tuple[int, bytes], ...]
    end: int
    ends_in_zeros: bool

    def applications(self, marker: int, prefix: bytes) -> Iterator[bytes]:
        """Contents of the application segments that begin with a prefix, without it."""
        return (
            content[len(prefix) :] for kind, content in self.segments if kind == marker and content.startswith(prefix)
        )

    def further_metadata(self) -> tuple[tuple[int, bytes], ...]:
        """Segments of IPTC (APP13), comments, and JFIF's density where it is that of square pixels."""
        return tuple(
            (marker, content)
            for marker, content in self.segments
            if marker in (_APP13, _COM)
            or (marker == _APP0 and content[:5] == b"JFIF\0" and len(content) >= 12 and content[8:10] == content[10:12])
        )


def remarks(segments: Sequence[tuple[int, bytes]]) -> list[str]:
    """Names of what people wrote into segments: IPTC, a comment."""
    found = [(IPTC, marker == _APP13 and _IPTC in content) for marker, content in segments]
    found += [("comment", marker == _COM) for marker, _ in segments]
    return list(dict.fromkeys(name for name, is_there in found if is_there))


def structure(data: bytes) -> Structure:
    """Walk the markers; a file that breaks off ends where it does."""
    segments: list[tuple[int, bytes]] = []
    place, zeros = 2, False
    while (found := _NEXT.search(data, place)) is not None:
        marker, place = data[found.start() + 1], found.end()
        if marker == _EOI:
            return Structure(tuple(segments), place, zeros)
        if place + 2 > len(data) or marker in (_SOI, 0x01):
            continue
        (length,) = struct.unpack_from(">H", data, place)
        segments.append((marker, data[place + 2 : place + length]))
        place += length
        if marker == _SOS:
            following = _NEXT.search(data, place)
            last = following.start() if following else len(data)
            zeros |= last - place >= _ZEROS and not any(data[last - _ZEROS : last])
    return Structure(tuple(segments), len(data), zeros)


def check_kind(parts: Structure, name: str) -> None:
    """Refuse what no decoder here takes.

    Raises:
        UnsupportedError: more than 8 bits a sample, lossless or hierarchical JPEG.
    """
    for marker, content in parts.segments:
        if marker in _FRAMES and content:
            kind = f"JPEG with {content[0]} bits a sample" if content[0] != 8 else "lossless or hierarchical JPEG"
            if content[0] != 8 or marker in _LOSSLESS_OR_HIERARCHICAL:
                raise UnsupportedError(f"{name}: this kind is not supported: {kind}. Convert it to PNG.")
            return


def decoded(data: bytes, parts: Structure, mode: str, name: str) -> tuple[Pixels | None, list[str]]:
    """Samples of a JPEG that Pillow opens in this mode, with notes; None where Pillow is to decode it.

    Equal to Pillow's, as both are libjpeg-turbo's.

    Raises:
        InputError: the data end before the picture does.
    """
    notes = [_MISSING_SCANS] if _misses_scans(parts) else []
    samples, trouble = complaint(data, {"L": "GRAY"}.get(mode, mode))
    if trouble:
        if "premature end" in trouble or "marker 0xd9 instead" in trouble or parts.ends_in_zeros:
            raise InputError(f"{name} is truncated: a part of its picture is missing ({trouble}). Get a whole copy.")
        if "Huffman" in trouble or "instead of RST" in trouble or "nconsisten" in trouble:
            notes.append(f"{_DAMAGED}, and parts of the picture may be wrong ({trouble})")
        return None, notes
    if samples is None or mode == "CMYK":  # CMYK is only checked: Pillow knows which are inverted
        return None, notes
    return np.ascontiguousarray(samples[:, :, 0]) if mode == "L" else samples, notes


def complaint(data: bytes, colours: str) -> tuple[Pixels | None, str]:
    """Samples (H, W, C) and libjpeg's warning; no samples where there is one, and neither where it is no warning."""
    import simplejpeg

    try:
        # The end marker alone may be missing: no loss.
        return simplejpeg.decode_jpeg(data + b"\xff\xd9", colorspace=colours, strict=True), ""
    except ValueError as error:
        text = str(error).strip()
        return None, text.removeprefix(_CORRUPT) if text.startswith(_CORRUPT) else ""


def tells_damage(note: str) -> bool:
    """Whether a note is on the file itself, however it is read."""
    return note.startswith((_DAMAGED, _MISSING_SCANS))


_CORRUPT = "Corrupt JPEG data: "
_DAMAGED = "its data are damaged"
_MISSING_SCANS = "its last scans are missing: the file may be truncated, and the picture lacks detail"


def _misses_scans(parts: Structure) -> bool:
    """Whether a progressive file ends before all bits of all coefficients have come."""
    planes: dict[int, list[int]] = {}
    for marker, content in parts.segments:
        if marker in _FRAMES:
            if marker not in _PROGRESSIVE or len(content) < 6:
                return False
            planes = {content[6 + 3 * i]: [16] * 64 for i in range(min(content[5], (len(content) - 6) // 3))}
        elif marker == _SOS and content and len(content) >= 4 + 2 * content[0]:
            first, last, bits = content[1 + 2 * content[0] : 4 + 2 * content[0]]
            for component in content[1 : 1 + 2 * content[0] : 2]:
                for index in range(first, min(last, 63) + 1):
                    planes.get(component, [0] * 64)[index] = bits & 15
    return any(any(bits) for bits in planes.values())


def left_out(data: bytes, parts: Structure, xmp: bytes | None) -> list[str]:
    """Further pictures and films in the file, in words."""
    found = []
    told = xmp or b""
    if b"hdrgm:" in told or b"HDRGainMap:" in told or any(parts.applications(_APP2, b"urn:iso:std:iso:ts:21496:-1\0")):
        found.append("gain map")
    if b"GDepth:" in told or b"DepthMap" in told:
        found.append("depth map")
    rest = data[parts.end :]
    if _FILM.search(rest):
        found.append("film of a motion photo")
    elif not found and any(parts.applications(_APP2, b"MPF\0")) and b"\xff\xd8\xff" in rest:
        found.append("further pictures (MPF)")
    if not found and b"\xff\xd8\xff" in rest:
        found.append("further pictures behind the first")
    if any(parts.applications(_APP1, b"http://ns.adobe.com/xmp/extension/\0")):
        found.append("extended XMP")
    return found
