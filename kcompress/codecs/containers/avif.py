"""AVIF still images (AOM, AV1 Image File Format 1.1): AV1 streams in HEIF boxes."""

import struct

from kcompress.bitstream.av1 import Sequence, parse_sequence
from kcompress.codecs.containers import heif
from kcompress.codecs.containers.heif import Coded, Heif, box
from kcompress.errors import ProgramError
from kcompress.images.heif import AV1, parse

_TEMPORAL_DELIMITER = b"\x12\0"
_BASELINE, _ADVANCED = (0, 13), (1, 16)
"""Highest AV1 profile and level (5.1, 6.0) of AVIF's profiles."""


def mux(file: Heif) -> bytes:
    """Write a ``.avif`` file.

    Raises:
        ProgramError: a stream holds no sequence header.
    """
    sequence = _sequence(file.picture)
    profiles = ((b"MA1B", _BASELINE), (b"MA1A", _ADVANCED))
    held = [name for name, (profile, level) in profiles if sequence.profile <= profile and sequence.level <= level]
    alpha = None if file.alpha is None else _coded(file.alpha)
    return heif.written(file, _coded(file.picture), alpha, (b"avif", b"avif", b"mif1", b"miaf", *held[:1]))


def is_complete(data: bytes) -> bool:
    """Whether it is AVIF and its items, which encoders write last, end where it ends."""
    still = parse(data)
    if still is None or not still.is_avif:
        return False
    ends = [offset + length for method, parts in still.places.values() if not method for offset, length in parts]
    return max(ends, default=0) == len(data)


def _sequence(stream: bytes) -> Sequence:
    try:
        sequence = parse_sequence(stream)
    except EOFError:
        sequence = None
    if sequence is None:
        raise ProgramError("the AV1 encoder wrote no complete picture. Try another --backend.")
    return sequence


def _coded(stream: bytes) -> Coded:
    """A stream of open bitstream units as a picture: without the delimiter, which a file needs not."""
    sequence = _sequence(stream)
    format = sequence.bits == 10, False, sequence.monochrome, *sequence.subsampled
    flags = sum(bit << shift for bit, shift in zip(format, (6, 5, 4, 3, 2), strict=True))
    configuration = box(b"av1C", struct.pack(">BBBB", 0x81, sequence.profile << 5 | sequence.level, flags, 0))
    data = stream.removeprefix(_TEMPORAL_DELIMITER)
    planes = 1 if sequence.monochrome else 3
    return Coded(AV1, data, configuration, sequence.width, sequence.height, planes, sequence.bits)
