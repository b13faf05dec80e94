"""AV1's sequence header (AV1 specification, 5.5): coded size, samples and colour."""

from dataclasses import dataclass

from kcompress.bitstream.bits import BitReader

_SEQUENCE_HEADER = 1
_SRGB = (1, 13, 0)
"""Primaries, transfer and matrix of RGB planes, which are not subsampled (5.5.2)."""


@dataclass(frozen=True)
class Sequence:
    """Fields of a sequence header.

    Attributes:
        width: largest coded one, pixels.
        height: largest coded one, pixels.
        primaries: H.273 code, 2 where nothing is said.
        transfer: H.273 code, 2 where nothing is said.
        profile: 0 Main, 1 High, 2 Professional.
        level: its index (annex A.3), of the first operating point.
        bits: a sample.
        monochrome: there is no chroma.
        subsampled: chroma, horizontally and vertically; both where there is none.
    """

    width: int
    height: int
    primaries: int
    transfer: int
    profile: int
    level: int
    bits: int
    monochrome: bool
    subsampled: tuple[bool, bool]


def parse_sequence(units: bytes) -> Sequence | None:
    """Read the first sequence header among open bitstream units (OBU); None where there is none.

    Raises:
        EOFError: it is cut short.
    """
    r = BitReader(units)
    while r.position < 8 * len(units):
        r.u(1)
        kind, extended, sized = r.u(4), r.u(1), r.u(1)
        r.u(9 if extended else 1)
        size = _leb128(r) if sized else len(units) - r.position // 8
        if kind == _SEQUENCE_HEADER:
            return _sequence(r)
        r.position += 8 * size  # past the end where the size makes no sense
    return None


def _leb128(r: BitReader) -> int:
    value = 0
    for index in range(8):
        more, part = r.u(1), r.u(7)
        value |= part << (7 * index)
        if not more:
            break
    return value


def _sequence(r: BitReader) -> Sequence:
    profile = r.u(3)
    r.u(1)
    reduced = r.u(1)
    level = r.u(5) if reduced else _operating_points(r)
    bits_x, bits_y = r.u(4) + 1, r.u(4) + 1
    width, height = r.u(bits_x) + 1, r.u(bits_y) + 1
    if not reduced and r.u(1):
        r.u(7)
    r.u(3)
    if not reduced:
        r.u(4)
        ordered = r.u(1)
        if ordered:
            r.u(2)
        forced = 2 if r.u(1) else r.u(1)
        if forced and not r.u(1):
            r.u(1)
        if ordered:
            r.u(3)
    r.u(3)
    bits = 10 if r.u(1) else 8
    if bits == 10 and profile == 2 and r.u(1):
        bits = 12
    monochrome = profile != 1 and bool(r.u(1))
    primaries, transfer, matrix = (r.u(8), r.u(8), r.u(8)) if r.u(1) else (2, 2, 2)
    subsampled = monochrome or profile == 0, monochrome or profile == 0
    if not monochrome and (primaries, transfer, matrix) == _SRGB:
        subsampled = False, False
    else:
        r.u(1)
        if profile == 2 and not monochrome:
            horizontal = bool(bits < 12 or r.u(1))
            subsampled = horizontal, bool(horizontal and bits == 12 and r.u(1))
    return Sequence(width, height, primaries, transfer, profile, level, bits, monochrome, subsampled)


def _operating_points(r: BitReader) -> int:
    """Level of the first operating point; timing, decoder model and others are in the way."""
    levels = []
    delay_bits = 0
    if r.u(1):
        r.u(64)
        if r.u(1):
            zeros = 0
            while not r.u(1):
                zeros += 1
            r.u(zeros)
        if r.u(1):
            delay_bits = r.u(5) + 1
            r.u(42)
    delayed = r.u(1)
    for _ in range(r.u(5) + 1):
        r.u(12)
        levels.append(r.u(5))
        if levels[-1] > 7:
            r.u(1)
        if delay_bits and r.u(1):
            r.u(2 * delay_bits + 1)
        if delayed and r.u(1):
            r.u(4)
    return levels[0]
