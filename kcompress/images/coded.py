"""Coded pictures inside HEIC and AVIF files: sizes that differ from what the boxes tell, and data that end early."""

import struct
from collections.abc import Iterator

from kcompress.bitstream import annexb
from kcompress.bitstream.av1 import parse_sequence
from kcompress.bitstream.sps import coded_size
from kcompress.errors import InputError, ProgramError, ProgramTimeoutError
from kcompress.images.heif import AV1, HEADERS, Still, boxes, units
from kcompress.images.limits import check_size
from kcompress.programs import ffmpeg

Size = tuple[int, int]

_HEVC = {b"hvc1", b"hev1"}
_UNREADABLE = (EOFError, ValueError, LookupError, struct.error)
_INTO_TABLES = {b"trak", b"mdia", b"minf", b"stbl"}


def check_sizes(still: Still, name: str) -> None:
    """Refuse pictures that are larger than the file's boxes tell, before a decoder takes memory for them.

    Raises:
        InputError: there are more pixels than the limit, or an AV1 picture has another size than is told.
    """
    for item in still.kinds:
        told = [struct.unpack_from(">II", content, 4) for content in _properties(still, item, b"ispe", 12)]
        sizes = list(_sizes(still, item))
        for width, height in (*told, *sizes):
            check_size(width, height, name)
        if told and still.kinds[item] == AV1 and sizes and told[0] not in sizes:
            raise InputError(
                f"{name} is corrupt: {told[0][0]}x{told[0][1]} pixels are told, and coded are "
                f"{sizes[0][0]}x{sizes[0][1]}. Get a whole copy."
            )
    for film in still.film:
        for start in _first_frames(film):
            for width, height in _sequence_size(still.data[start : start + HEADERS]):
                check_size(width, height, name)


def check_whole(still: Still, name: str) -> None:
    """Refuse HEVC whose data end early: whatever is put behind them is then decoded, and shows.

    Raises:
        InputError: a picture, one of its tiles or its alpha channel is cut short.
    """
    streams: list[bytes] = []
    for item in still.parts():
        if still.kinds.get(item) in _HEVC:
            try:
                picture = annexb.first_picture(_units(still, item))
            except _UNREADABLE:
                return  # the decoder has taken it; whether it is whole cannot be told
            streams += [annexb.with_tail(picture, picture.sps, tail) for tail in annexb.TAILS]
    if not streams:
        return
    arguments = ["-v", "error", "-f", "hevc", "-i", "pipe:0", "-fps_mode", "passthrough", "-f", "framemd5", "pipe:1"]
    try:
        lines = ffmpeg().run(arguments, b"".join(streams)).splitlines()
    except ProgramTimeoutError:
        raise
    except (ProgramError, RuntimeError):  # RuntimeError: imageio-ffmpeg without its binary
        return
    sums = [line.rpartition(b",")[2].strip() for line in lines if not line.startswith(b"#")]
    if len(sums) == len(streams) and sums[::2] != sums[1::2]:
        raise InputError(f"{name} is truncated: a part of its picture is missing. Get a whole copy.")


def _sizes(still: Still, item: int) -> Iterator[Size]:
    """Sizes that an item's own data tell."""
    kind = still.kinds[item]
    try:
        if kind == AV1:
            yield from _sequence_size(still.content(item, HEADERS))
        elif kind in _HEVC:
            for unit in _units(still, item):
                if annexb.kind(unit) == annexb.SPS:
                    yield coded_size(unit)
        elif kind in (b"grid", b"iovl"):
            content = still.content(item, 32)
            wide, place = ">II" if content[1] & 1 else ">HH", 4 if kind == b"grid" else 10
            width, height = struct.unpack_from(wide, content, place)
            yield width, height
    except _UNREADABLE:
        return


def _sequence_size(data: bytes) -> Iterator[Size]:
    try:
        sequence = parse_sequence(data)
    except _UNREADABLE:
        return
    if sequence is not None:
        yield sequence.width, sequence.height


def _units(still: Still, item: int) -> list[bytes]:
    """Parameter sets of an item's configuration, then the units of its data."""
    found: list[bytes] = []
    length_size = 4
    for content in _properties(still, item, b"hvcC", 23):
        found += units(content)
        length_size = 1 + (content[21] & 3)
    data, place = still.content(item), 0
    while place + length_size <= len(data):
        size = int.from_bytes(data[place : place + length_size], "big")
        place += length_size
        found.append(data[place : place + size])
        place += size
    return [unit for unit in found if len(unit) > 2]


def _properties(still: Still, item: int, kind: bytes, least: int) -> Iterator[bytes]:
    return (content for name, content in still.properties.get(item, []) if name == kind and len(content) >= least)


def _first_frames(boxed: bytes) -> Iterator[int]:
    """Where each track's first frame lies in the file."""
    for kind, content in boxes(boxed):
        if kind in _INTO_TABLES:
            yield from _first_frames(content)
        elif kind in (b"stco", b"co64") and len(content) >= 16:
            yield struct.unpack_from(">I" if kind == b"stco" else ">Q", content, 8)[0]
