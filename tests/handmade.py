"""Files by hand, for what libraries do not write."""

import io
import struct
import zlib
from typing import Any

from PIL import Image as Pil

from kcompress.images import Pixels


def saved(picture: Pil.Image, format: str, **options: Any) -> bytes:
    output = io.BytesIO()
    picture.save(output, format, **options)
    return output.getvalue()


def file_of(samples: Pixels, format: str, **options: Any) -> bytes:
    return saved(Pil.fromarray(samples), format, **options)


def png(
    width: int,
    height: int,
    bits: int,
    kind: int,
    rows: bytes,
    clear: bytes = b"",
    further: dict[bytes, bytes] | None = None,
) -> bytes:
    """A PNG written by hand, for what Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + b"".join(chunk(*item) for item in (further or {}).items())
    body += chunk(b"tRNS", clear) if clear else b""
    body += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile (version 2, display) of a data colour space."""
    place, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, place + len(body), len(content))
        body += content
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02100000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D) + bytes(48)
    return head + struct.pack(">I", len(tags)) + table + body


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(value * 65536) for value in values))


NAMED = {b"desc": b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(78), b"wtpt": xyz(0.9642, 1, 0.8249)}
GREY_GAMMA_1 = profile(b"GRAY", {**NAMED, b"kTRC": curve(1)})
ADOBE_RGB = profile(
    b"RGB ",
    {
        **NAMED,
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        b"rTRC": curve(2.2),
        b"gTRC": curve(2.2),
        b"bTRC": curve(2.2),
    },
)


def boxes_without(data: bytes, kind: bytes) -> bytes:
    """A HEIF file in which the properties that hold ``kind`` are of a kind that nobody knows."""
    place = data.index(kind)
    return data[: place - 4] + b"free" + data[place:]
