"""Chunks of a WebP file (RFC 9649, section 2.3)."""

import struct


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and content of each chunk; the last is shorter than it says where the file breaks off."""
    found, place = [], 12
    while place + 8 <= len(data):
        name, (size,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        found.append((name, data[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    return found
