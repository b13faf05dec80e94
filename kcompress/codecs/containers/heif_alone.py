"""HEIC and AVIF files of one picture alone: the same coded data, without metadata, thumbnails and further pictures."""

import struct
from collections.abc import Iterator

from kcompress.codecs.containers.heif import ALPHA_URN, box, full_box
from kcompress.images.heif import Still, associations, boxes, parse

_BOXES = {b"ftyp", b"meta", b"mdat"}
_OF_META = {b"hdlr", b"pitm", b"dinf", b"iinf", b"iref", b"iprp", b"iloc", b"idat"}
_ALPHA = (ALPHA_URN, b"urn:mpeg:hevc:2015:auxid:1\0")
_PROFILES = (b"prof", b"rICC")


def picture_alone(data: bytes, *, icc: bool) -> bytes | None:
    """A file with its picture and its alpha channel alone, with or without its profile, none of it encoded again.

    None for a film, and for data that lie where nothing is known of.

    Raises:
        Exception: nearly any, where the file is broken.
    """
    still = parse(data)
    if still is None or any(kind == b"moov" for kind, _ in boxes(data)):
        return None
    kept = _kept(still)
    has_profile = any(kind == b"colr" and content[:4] in _PROFILES
                      for item in kept for kind, content in still.properties.get(item, []))  # fmt: skip
    (meta,) = (content for kind, content in boxes(data) if kind == b"meta")
    (head,) = (box(kind, content) for kind, content in boxes(data) if kind == b"ftyp")
    beside = {kind for kind, _ in boxes(data)} - _BOXES | {kind for kind, _ in boxes(meta[4:])} - _OF_META
    if kept == set(still.kinds) and not beside and (icc or not has_profile):
        return data
    places = [still.places[item] for item in kept if item in still.places]
    # Length 0: all that follows.
    size = sum(length or max(len(data) - offset, 0) for _, extents in places for offset, length in extents)
    if any(method > 1 for method, _ in places) or size > len(data):
        return None
    # Places count from the file's start, and the boxes before the data have a fixed length: laid out twice.
    start = len(head) + len(_meta(still, meta, kept, 0, icc=icc)) + 8
    pictures = b"".join(still.content(item) for item in _in(still, kept, method=0))
    return head + _meta(still, meta, kept, start, icc=icc) + box(b"mdat", pictures)


def _kept(still: Still) -> set[int]:
    """Items of the picture: itself, those that it is made of, and their alpha."""
    beside: dict[int, list[int]] = {}
    for role, source, targets in still.references:
        if role == b"dimg":
            beside.setdefault(source, []).extend(targets)
        elif role == b"auxl" and _is_alpha(still, source):
            for target in targets:
                beside.setdefault(target, []).append(source)
    found, left = set(), [still.primary]
    while left:
        item = left.pop()
        if item not in found:
            found.add(item)
            left += beside.get(item, [])
    return found


def _is_alpha(still: Still, item: int) -> bool:
    texts = (content[4:] for kind, content in still.properties.get(item, []) if kind == b"auxC")
    return any((text + b"\0").startswith(_ALPHA) for text in texts)


def _in(still: Still, kept: set[int], method: int) -> list[int]:
    """Items whose data lie in the file (method 0) or among the boxes (1), in the order in which they are written."""
    return [item for item, (found, _) in still.places.items() if item in kept and found == method]


def _meta(still: Still, meta: bytes, kept: set[int], start: int, *, icc: bool) -> bytes:
    """Box ``meta`` for the items that are kept, whose data begin at byte ``start`` of the file."""
    parts = []
    for kind, body in boxes(meta[4:]):
        if kind == b"iinf":
            parts.append(_information(body, kept))
        elif kind == b"iref":
            parts.append(_references(body, kept))
        elif kind == b"iprp":
            parts.append(_properties(body, kept, icc=icc))
        elif kind == b"iloc":
            parts.append(_locations(still, kept, start))
        elif kind == b"idat":
            parts.append(box(kind, b"".join(still.content(item) for item in _in(still, kept, method=1))))
        elif kind in (b"hdlr", b"pitm", b"dinf"):
            parts.append(box(kind, body))
    return box(b"meta", meta[:4] + b"".join(parts))


def _information(body: bytes, kept: set[int]) -> bytes:
    size = 2 if body[0] == 0 else 4
    entries = []
    for kind, entry in boxes(body[4 + size :]):
        width = 2 if entry[0] == 2 else 4
        if int.from_bytes(entry[4 : 4 + width], "big") in kept:
            entries.append(box(kind, entry))
    return box(b"iinf", body[:4] + len(entries).to_bytes(size, "big") + b"".join(entries))


def _references(body: bytes, kept: set[int]) -> bytes:
    number = "H" if body[0] == 0 else "I"
    links = []
    for role, link in boxes(body[4:]):
        source, count = struct.unpack_from(f">{number}H", link)
        targets = struct.unpack_from(f">{count}{number}", link, struct.calcsize(f">{number}H"))
        left = [target for target in targets if target in kept]
        if source in kept and left:
            links.append(box(role, struct.pack(f">{number}H{len(left)}{number}", source, len(left), *left)))
    return box(b"iref", body[:4] + b"".join(links)) if links else b""


def _properties(body: bytes, kept: set[int], *, icc: bool) -> bytes:
    """Box ``iprp``: properties of the items that are kept, numbered anew."""
    known = [each for kind, inner in boxes(body) if kind == b"ipco" for each in boxes(inner)]
    there = [each for kind, inner in boxes(body) if kind == b"ipma" for each in associations(inner)]
    goes = set() if icc else {
        number for number, (kind, content) in enumerate(known, start=1)
        if kind == b"colr" and content[:4] in _PROFILES
    }  # fmt: skip
    there = [(item, number, essential) for item, number, essential in there if item in kept and number not in goes]
    left = sorted({number for _, number, _ in there})
    renumbered = {number: place for place, number in enumerate(left, start=1)}
    by_item: dict[int, list[int]] = {}
    for item, number, essential in there:
        by_item.setdefault(item, []).append(0x8000 * essential | renumbered[number])
    entries = b"".join(struct.pack(f">IB{len(own)}H", item, len(own), *own) for item, own in by_item.items())
    # Version 1 and flag 1: numbers of items of 32 bits, of properties of 15.
    ipma = full_box(b"ipma", struct.pack(">I", len(by_item)) + entries, version=1, flags=1)
    return box(b"iprp", box(b"ipco", b"".join(box(*known[number - 1]) for number in left)) + ipma)


def _locations(still: Still, kept: set[int], start: int) -> bytes:
    """Box ``iloc``, version 2: numbers of items of 32 bits, places and lengths too."""
    entries = b"".join(_placed(still, kept, 0, start)) + b"".join(_placed(still, kept, 1, 0))
    count = sum(item in kept for item in still.places)
    return full_box(b"iloc", struct.pack(">BBI", 0x44, 0, count) + entries, version=2)


def _placed(still: Still, kept: set[int], method: int, place: int) -> Iterator[bytes]:
    for item in _in(still, kept, method):
        length = len(still.content(item))
        yield struct.pack(">IHHHII", item, method, 0, 1, place, length)
        place += length
