"""HEIF still images (ISO/IEC 23008-12): one picture, its alpha, its metadata; and HEVC streams as such pictures."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from kcompress.bitstream import annexb
from kcompress.bitstream.sps import Sps, parse_sps
from kcompress.errors import ProgramError

ALPHA_URN = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"
# H.273 codes: BT.709 primaries, sRGB transfer, BT.601 matrix; 2 is "unspecified, see the profile".
_SRGB_PRIMARIES, _SRGB_TRANSFER, _BT601, _UNSPECIFIED = 1, 13, 6, 2


@dataclass(frozen=True)
class Heif:
    """Content of one file.

    Attributes:
        width: pixels, as shown.
        height: pixels, as shown.
        picture: byte stream; coded size equal or larger, cut at its right and bottom.
        alpha: byte stream of one plane with the same coded size, or None.
        icc: profile, or None for sRGB.
        exif: TIFF data without prefix.
        xmp: packet.
    """

    width: int
    height: int
    picture: bytes
    alpha: bytes | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None


@dataclass(frozen=True)
class Coded:
    """One coded picture.

    Attributes:
        kind: of its item.
        data: as they lie in the file.
        configuration: of the decoder, a whole box.
        width: coded, pixels.
        height: coded, pixels.
        planes: 1 or 3.
        bits: a sample.
    """

    kind: bytes
    data: bytes
    configuration: bytes
    width: int
    height: int
    planes: int
    bits: int


def mux(heif: Heif) -> bytes:
    """Write a ``.heic`` file.

    Raises:
        ProgramError: a stream holds no complete picture.
    """
    picture, alpha = _coded(heif.picture), None if heif.alpha is None else _coded(heif.alpha)
    sps = parse_sps(_unit(annexb.units(heif.picture), annexb.SPS))
    # Main and Main Still Picture (profiles 1 and 3) are `heic`; Main 10 and range extensions (grey, 4:4:4) are `heix`.
    brand = b"heic" if sps.profile_tier_level[0] & 31 in (1, 3) else b"heix"
    return written(heif, picture, alpha, (brand, b"mif1", b"miaf", brand))


def written(heif: Heif, picture: Coded, alpha: Coded | None, brands: Sequence[bytes]) -> bytes:
    """A file of coded pictures; the first of the brands is the major one."""
    colour = [box(b"colr", b"nclx" + _nclx(heif.icc))]
    if heif.icc is not None:
        colour.append(box(b"colr", b"prof" + heif.icc))
    items = [_Item(picture.kind, picture.data, _described(picture, heif, colour))]
    references = []
    if alpha is not None:
        role = [full_box(b"auxC", ALPHA_URN)]
        items.append(_Item(alpha.kind, alpha.data, _described(alpha, heif, role)))
        references.append((b"auxl", len(items)))
    if heif.exif is not None:
        items.append(_Item(b"Exif", struct.pack(">I", 0) + heif.exif, ()))
        references.append((b"cdsc", len(items)))
    if heif.xmp is not None:
        items.append(_Item(b"mime", heif.xmp, ()))
        references.append((b"cdsc", len(items)))
    major, *compatible = brands
    ftyp = box(b"ftyp", major + bytes(4) + b"".join(compatible))
    # The offsets count from the file's start, and the boxes before the data have a fixed length: laid out twice.
    start = len(ftyp) + len(_meta(items, references, 0)) + 8
    meta = _meta(items, references, start)
    return ftyp + meta + box(b"mdat", b"".join(item.data for item in items))


@dataclass(frozen=True)
class _Item:
    """One item: kind, its bytes in the file, its properties with their "essential" flag."""

    kind: bytes
    data: bytes
    properties: tuple[tuple[bytes, bool], ...]


def _coded(stream: bytes) -> Coded:
    """An HEVC byte stream as a picture: length-prefixed slices, and apart from them the parameter sets."""
    units = annexb.units(stream)
    if not annexb.is_picture(units):
        raise ProgramError("the HEVC encoder wrote no complete picture. Try another --backend.")
    sps = parse_sps(_unit(units, annexb.SPS))
    rows, columns = sps.shown
    width, height = columns.stop - columns.start, rows.stop - rows.start
    data = b"".join(struct.pack(">I", len(unit)) + unit for unit in units if annexb.is_slice(unit))
    planes = 1 if sps.chroma_format == 0 else 3
    return Coded(b"hvc1", data, box(b"hvcC", _configuration(units, sps)), width, height, planes, sps.bits_luma)


def _described(coded: Coded, heif: Heif, further: list[bytes]) -> tuple[tuple[bytes, bool], ...]:
    """Properties of a coded picture."""
    properties = [
        (coded.configuration, True),
        (full_box(b"ispe", struct.pack(">II", coded.width, coded.height)), False),
        (full_box(b"pixi", bytes([coded.planes] + [coded.bits] * coded.planes)), False),
        *((each, False) for each in further),
    ]
    if (coded.width, coded.height) != (heif.width, heif.height):
        # Chroma-subsampled HEVC has even sizes; the clean aperture takes the rest off, right and bottom.
        properties.append((_clean_aperture(heif.width, heif.height, coded.width, coded.height), True))
    return tuple(properties)


def _configuration(units: list[bytes], sps: Sps) -> bytes:
    """HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1) with 4-byte lengths."""
    chroma_format = sps.chroma_format
    head = (
        b"\1"
        + sps.profile_tier_level
        + struct.pack(
            ">HBBBBHB",
            0xF000,
            0xFC,
            0xFC | chroma_format,
            0xF8 | sps.bits_luma - 8,
            0xF8 | sps.bits_chroma - 8,
            0,
            0x0F,
        )
    )
    arrays = []
    for number in (annexb.VPS, annexb.SPS, annexb.PPS):
        found = [unit for unit in units if annexb.kind(unit) == number]
        sets = b"".join(struct.pack(">H", len(unit)) + unit for unit in found)
        arrays.append(struct.pack(">BH", 0x80 | number, len(found)) + sets)
    return head + bytes([len(arrays)]) + b"".join(arrays)


def _clean_aperture(width: int, height: int, coded_width: int, coded_height: int) -> bytes:
    """Box ``clap``: size and the offset of its centre from the coded centre, as fractions."""
    offset_x, offset_y = width - coded_width, height - coded_height  # over 2, negative: top left is kept
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, offset_x, 2, offset_y, 2))


def _nclx(icc: bytes | None) -> bytes:
    primaries, transfer = (_SRGB_PRIMARIES, _SRGB_TRANSFER) if icc is None else (_UNSPECIFIED, _UNSPECIFIED)
    return struct.pack(">HHHB", primaries, transfer, _BT601, 0x80)  # 0x80: full range


def _meta(items: list[_Item], references: list[tuple[bytes, int]], start: int) -> bytes:
    """Box ``meta`` for data that begin at byte ``start`` of the file; item 1 is the picture."""
    boxes = [
        full_box(b"hdlr", struct.pack(">I4s12xB", 0, b"pict", 0)),
        full_box(b"pitm", struct.pack(">H", 1)),
    ]
    entries = []
    for number, item in enumerate(items, start=1):
        name = b"\0application/rdf+xml\0" if item.kind == b"mime" else b"\0"
        hidden = 0 if number == 1 else 1  # companions are not pictures of their own
        entries.append(full_box(b"infe", struct.pack(">HH4s", number, 0, item.kind) + name, version=2, flags=hidden))
    boxes.append(full_box(b"iinf", struct.pack(">H", len(items)) + b"".join(entries)))
    if references:
        links = [box(role, struct.pack(">HHH", number, 1, 1)) for role, number in references]
        boxes.append(full_box(b"iref", b"".join(links)))
    boxes.append(_properties(items))
    locations = b""
    for number, item in enumerate(items, start=1):
        locations += struct.pack(">HHHII", number, 0, 1, start, len(item.data))
        start += len(item.data)
    boxes.append(full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + locations))
    return full_box(b"meta", b"".join(boxes))


def _properties(items: list[_Item]) -> bytes:
    """Box ``iprp``: all property boxes once, and which belong to which item."""
    shared: list[bytes] = []
    associations = b""
    described = [(number, item) for number, item in enumerate(items, start=1) if item.properties]
    for number, item in described:
        associations += struct.pack(">HB", number, len(item.properties))
        for each, essential in item.properties:
            if each not in shared:
                shared.append(each)
            associations += bytes([0x80 * essential | shared.index(each) + 1])
    ipma = full_box(b"ipma", struct.pack(">I", len(described)) + associations)
    return box(b"iprp", box(b"ipco", b"".join(shared)) + ipma)


def _unit(units: list[bytes], number: int) -> bytes:
    return next(unit for unit in units if annexb.kind(unit) == number)


def box(kind: bytes, content: bytes) -> bytes:
    """A box: its length, its kind, its content."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    """A box whose content begins with a version and 24 flags."""
    return box(kind, struct.pack(">I", version << 24 | flags) + content)
