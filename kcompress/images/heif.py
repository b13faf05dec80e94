"""HEIF boxes (ISO/IEC 23008-12, 14496-12) of HEIC and AVIF files: what Pillow and libheif do not tell."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from kcompress.bitstream import annexb
from kcompress.bitstream.av1 import Sequence, parse_sequence
from kcompress.bitstream.sps import Sps, parse_sps
from kcompress.images.colour import Colour, by_codes

AV1, HEVC = b"av01", b"hvc1"
_PICTURES = {AV1, HEVC, b"grid", b"iovl", b"iden", b"jpeg", b"avc1"}
HEADERS = 4096  # bytes at an AV1 picture's beginning, in which its sequence header lies
_AUXILIARIES = {b"gainmap": "gain map", b"depth": "depth map", b"auxid:2": "depth map", b"matte": "mattes"}


@dataclass
class Still:
    """Items of a HEIF file.

    Attributes:
        data: the file.
        brands: major and compatible ones.
        primary: number of the item that is shown.
        kinds: of each item.
        hidden: items that are no pictures of their own.
        references: (role, from, to).
        properties: of each item, (kind, content).
        places: of each item's data: method (0 in the file, 1 in ``inside``), (offset, length) of its parts.
        inside: data that lie among the boxes.
        film: boxes about frames beside the items.
    """

    data: bytes
    brands: set[bytes] = field(default_factory=set)
    primary: int = 0
    kinds: dict[int, bytes] = field(default_factory=dict)
    hidden: set[int] = field(default_factory=set)
    references: list[tuple[bytes, int, tuple[int, ...]]] = field(default_factory=list)
    properties: dict[int, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    places: dict[int, tuple[int, list[tuple[int, int]]]] = field(default_factory=dict)
    inside: bytes = b""
    film: list[bytes] = field(default_factory=list)

    @property
    def is_avif(self) -> bool:
        """Whether the picture is coded by AV1: by its item, or in a file without items by the brands."""
        tiles = self._tiles(self.primary)
        kind = self.kinds.get(tiles[0] if tiles else self.primary)
        return kind == AV1 if kind in (AV1, HEVC) else bool(self.brands & {b"avif", b"avis"})

    def primary_properties(self, kind: bytes) -> Iterator[bytes]:
        """Properties of the picture; those of its first tile where it has none itself."""
        for item in (self.primary, *self._tiles(self.primary)[:1]):
            found = [content for name, content in self.properties.get(item, []) if name == kind]
            if found:
                yield from found
                return

    def colour(self, name: str) -> Colour | None:
        """Colour that is told without a profile.

        Raises:
            UnsupportedError: codes without a meaning here.
        """
        for content in self.primary_properties(b"colr"):
            if content[:4] == b"nclx" and len(content) >= 8:
                primaries, transfer = struct.unpack_from(">HH", content, 4)
                return by_codes(primaries, transfer, "nclx", name)
        coded = self.coded()
        return None if coded is None else by_codes(coded.primaries, coded.transfer, "stream", name)

    def coded(self) -> Sequence | Sps | None:
        """Header of the coded picture or of its first tile; None where it cannot be read."""
        item = next(iter(self._tiles(self.primary)), self.primary)
        try:
            if self.kinds.get(item) == AV1:
                return parse_sequence(self.content(item, HEADERS))
            for content in self.primary_properties(b"hvcC"):
                return next((parse_sps(unit) for unit in units(content) if annexb.kind(unit) == annexb.SPS), None)
        except (EOFError, ValueError, LookupError, struct.error):
            pass
        return None

    def content(self, item: int, most: int | None = None) -> bytes:
        """An item's data, or what they begin with.

        Raises:
            ValueError: they are longer than the file.
        """
        method, parts = self.places.get(item, (0, []))
        source = {0: self.data, 1: self.inside}.get(method, b"")
        found, limit = bytearray(), len(source) if most is None else most
        for offset, length in parts:
            found += source[offset : offset + min(length or limit, limit)]  # length 0: all that follows
            if len(found) > len(source):
                raise ValueError("an item is longer than the file")
            if most is not None and len(found) >= most:
                break
        return bytes(found)

    def bits(self) -> int:
        """Bits a sample, 8 where nothing is said."""
        return max((max(content[5:], default=8) for content in self.primary_properties(b"pixi")), default=8)

    def is_grey(self) -> bool:
        """Whether the picture is told to have one channel alone."""
        return any(content[4:5] == b"\1" for content in self.primary_properties(b"pixi"))

    def left_out(self) -> list[str]:
        """Further pictures and films in the file, in words."""
        found = []
        parts: set[int] = {self.primary}
        for role, source, targets in self.references:
            if role == b"auxl":
                parts.add(source)
                texts = [content for kind, content in self.properties.get(source, []) if kind == b"auxC"]
                found += [word for text in texts for urn, word in _AUXILIARIES.items() if urn in text]
            elif role == b"dimg":
                parts |= set(targets)
                if self.kinds.get(source) == b"tmap":
                    found.append("gain map")
            elif role == b"thmb":
                parts.add(source)
        others = [item for item, kind in self.kinds.items() if kind in _PICTURES and item not in parts | self.hidden]
        if others:
            found.append(f"{len(others)} further picture" + "s" * (len(others) > 1))
        if self.film:
            found.append("film of a motion photo")
        return list(dict.fromkeys(found))

    def parts(self) -> set[int]:
        """Items that the picture is made of: itself, its tiles, and what is beside them (alpha)."""
        found = {self.primary, *self._tiles(self.primary)}
        return found | {source for role, source, targets in self.references if role == b"auxl" and found & set(targets)}

    def _tiles(self, item: int) -> tuple[int, ...]:
        return next((to for role, source, to in self.references if role == b"dimg" and source == item), ())


def parse(data: bytes) -> Still | None:
    """Items of a file that begins with a ``ftyp`` box; None for other files and for boxes that make no sense."""
    if data[4:8] != b"ftyp":
        return None
    still = Still(data)
    try:
        for kind, content in boxes(data):
            if kind == b"ftyp":
                brands = content[:4] + content[8:]
                still.brands |= {brands[place : place + 4] for place in range(0, len(brands), 4)}
            elif kind == b"meta":
                _meta(still, content[4:])
            elif kind in (b"moov", b"mpvd"):
                still.film.append(content)
    except (struct.error, IndexError):
        return still if still.brands else None
    return still


def units(configuration: bytes) -> Iterator[bytes]:
    """Parameter sets of a HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1)."""
    place = 23
    for _ in range(configuration[22]):
        (count,) = struct.unpack_from(">H", configuration, place + 1)
        place += 3
        for _ in range(count):
            (size,) = struct.unpack_from(">H", configuration, place)
            yield configuration[place + 2 : place + 2 + size]
            place += 2 + size


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each box, the pictures' data aside."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, place + 8)
            head = 16
        elif size == 0:
            size = len(data) - place
        if size < head:
            return
        # Pictures' data are large and never looked at.
        yield kind, b"" if kind == b"mdat" else data[place + head : place + size]
        place += size


def _meta(still: Still, content: bytes) -> None:
    for kind, body in boxes(content):
        wide = ">I" if body[:1] != b"\0" else ">H"
        if kind == b"pitm":
            (still.primary,) = struct.unpack_from(wide, body, 4)
        elif kind == b"iinf":
            for _, entry in boxes(body[4 + struct.calcsize(wide) :]):
                number = ">H" if entry[0] == 2 else ">I"
                (item,) = struct.unpack_from(number, entry, 4)
                still.kinds[item] = entry[6 + struct.calcsize(number) :][:4]
                if entry[3] & 1:
                    still.hidden.add(item)
        elif kind == b"iloc":
            _locations(still, body)
        elif kind == b"idat":
            still.inside = body
        elif kind == b"iref":
            for role, links in boxes(body[4:]):
                each = struct.calcsize(wide)
                source, count = struct.unpack_from(wide + "H", links)
                targets = struct.unpack_from(f">{count}{wide[1]}", links, each + 2)
                still.references.append((role, source, targets))
        elif kind == b"iprp":
            known = [box for name, inner in boxes(body) if name == b"ipco" for box in boxes(inner)]
            for name, inner in boxes(body):
                for item, place, _ in associations(inner) if name == b"ipma" else ():
                    if 0 < place <= len(known):
                        still.properties.setdefault(item, []).append(known[place - 1])


def _locations(still: Still, body: bytes) -> None:
    version, sizes = body[0], struct.unpack_from(">H", body, 4)[0]
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    number = 2 if version < 2 else 4
    place = 6

    def take(size: int) -> int:
        nonlocal place
        place += size
        if place > len(body):
            raise IndexError("a box is cut short")
        return int.from_bytes(body[place - size : place], "big")

    for _ in range(take(number)):
        item, method = take(number), take(2) & 15 if version else 0
        take(2)
        base, extents = take(base_size), take(2)
        parts: list[tuple[int, int]] = []
        if not offset_size + length_size:
            extents = min(extents, 1)  # they take no bytes, and any number of them could be told
        for _ in range(extents):
            take(index_size if version else 0)
            offset = take(offset_size)
            parts.append((base + offset, take(length_size)))
        still.places[item] = method, parts


def associations(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Item, number of a property (from 1) and whether a reader must know it, 0 or 1, of each entry of ``ipma``."""
    number = ">H" if body[0] == 0 else ">I"
    index, bits = (">H", 15) if body[3] & 1 else (">B", 7)
    (entries,) = struct.unpack_from(">I", body, 4)
    place = 8
    for _ in range(entries):
        item, count = struct.unpack_from(number + "B", body, place)
        place += struct.calcsize(number) + 1
        for _ in range(count):
            (which,) = struct.unpack_from(index, body, place)
            place += struct.calcsize(index)
            yield item, which & (1 << bits) - 1, which >> bits
