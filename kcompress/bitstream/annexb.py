"""HEVC byte streams: NAL units and the pictures they make (H.265, annex B and section 7.3)."""

import re
from dataclasses import dataclass

from kcompress.bitstream.bits import BitReader

VPS, SPS, PPS = 32, 33, 34
END_OF_SEQUENCE = b"\x48\x01"
SUFFIX_SEI = 40
START = b"\0\0\0\1"
_SETS = {VPS: 16, SPS: 16, PPS: 64}  # as many numbers as there are


def units(stream: bytes) -> list[bytes]:
    """NAL units of a byte stream, without start codes and trailing zeros; what is shorter than a header is none."""
    return [unit for part in stream.split(b"\0\0\1")[1:] if len(unit := part.rstrip(b"\0")) > 2]


def stream(parts: list[bytes]) -> bytes:
    """A byte stream of NAL units."""
    return b"".join(START + part for part in parts)


def kind(unit: bytes) -> int:
    """nal_unit_type."""
    return (unit[0] >> 1) & 63


def layer(unit: bytes) -> int:
    """nuh_layer_id."""
    return (unit[0] & 1) << 5 | unit[1] >> 3


def with_layer(unit: bytes, number: int) -> bytes:
    """The same unit with another nuh_layer_id (0..63)."""
    return bytes([unit[0] & 0xFE | number >> 5, unit[1] & 7 | (number & 31) << 3]) + unit[2:]


def is_slice(unit: bytes) -> bool:
    """Whether it holds picture data."""
    return kind(unit) < 32


def is_irap(unit: bytes) -> bool:
    """Whether it is a slice of a picture that can be decoded alone."""
    return 16 <= kind(unit) <= 23


def is_picture(parts: list[bytes]) -> bool:
    """Whether these units can be decoded alone: both parameter sets and a slice of an IRAP picture."""
    return {SPS, PPS} <= {kind(unit) for unit in parts} and any(map(is_irap, parts))


def unescape(unit: bytes) -> bytes:
    """Without the emulation prevention bytes."""
    return unit.replace(b"\0\0\3", b"\0\0")


def escape(unit: bytes) -> bytes:
    """With an emulation prevention byte wherever a start code would appear."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", unit)


@dataclass(frozen=True)
class Picture:
    """NAL units of one picture.

    Attributes:
        vps: video parameter sets.
        sps: the sequence parameter set that it names.
        pps: likewise.
        slices: in their order.
        hashes: what the encoder wrote about the decoded samples; may be empty.
    """

    vps: tuple[bytes, ...]
    sps: bytes
    pps: bytes
    slices: tuple[bytes, ...]
    hashes: tuple[bytes, ...]


def first_picture(parts: list[bytes]) -> Picture:
    """The first IRAP picture.

    Raises:
        ValueError: there is none, or its first slice or a parameter set is missing.
        EOFError: a unit is cut short.
    """
    sets: dict[tuple[int, int], bytes] = {}
    slices: list[bytes] = []
    hashes: list[bytes] = []
    for unit in parts:
        if layer(unit):
            continue
        if kind(unit) in _SETS and not slices:
            sets[kind(unit), _set_number(unit)] = unit
        elif kind(unit) == SUFFIX_SEI and slices:
            hashes.append(unit)
        elif is_slice(unit):
            if slices and (_begins(unit) or not is_irap(unit)):
                break
            slices += [unit] if is_irap(unit) else []
    if not slices or not _begins(slices[0]):
        raise ValueError("it holds no picture that begins with its first slice")
    header = BitReader(unescape(slices[0][2:16]))
    header.u(2)
    try:
        pps = sets[PPS, header.ue()]
        reader = BitReader(unescape(pps[2:16]))
        reader.ue()
        sps = sets[SPS, reader.ue()]
    except KeyError:
        raise ValueError("a parameter set is missing") from None
    vps = tuple(unit for (number, _), unit in sets.items() if number == VPS)
    return Picture(vps, sps, pps, tuple(slices), tuple(hashes))


TAILS = (b"\x55" * 64, b"\xaa" * 64)
"""Put behind slices: a decoder that gets so far has missed the end, and shows something else for each."""


def with_tail(picture: Picture, sps: bytes, tail: bytes) -> bytes:
    """A byte stream of this picture alone, with bytes behind each slice; ``sps`` in place of its own."""
    slices = (unit + tail for unit in picture.slices)
    return stream([*picture.vps, sps, picture.pps, *slices, *picture.hashes, END_OF_SEQUENCE])


def _begins(unit: bytes) -> bool:
    """first_slice_segment_in_pic_flag."""
    return bool(unit[2] & 128)


def _set_number(unit: bytes) -> int:
    """The number by which others name a parameter set."""
    if kind(unit) == VPS:
        return unit[2] >> 4
    reader = BitReader(unescape(unit[:256]))
    if kind(unit) == SPS:
        skip_profile(reader)
    else:
        reader.u(16)
    return reader.ue(_SETS[kind(unit)] - 1)


def skip_profile(r: BitReader) -> None:
    """A sequence parameter set to behind its profile, tier and level, those of sub-layers too (7.3.3)."""
    r.u(16 + 4)
    layers = r.u(3)
    r.u(1 + 96)
    present = [(r.u(1), r.u(1)) for _ in range(layers)]
    r.u(2 * (8 - layers) if layers else 0)
    for profile, level in present:
        r.u(88 * profile + 8 * level)
