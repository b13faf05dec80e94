"""HEVC byte streams: NAL units and the sequence parameter set (H.265, annex B and section 7.3)."""

import re
from dataclasses import dataclass

from kcompress.codecs.containers.bits import BitReader, BitWriter

VPS, SPS, PPS = 32, 33, 34
START = b"\0\0\0\1"


@dataclass(frozen=True)
class Sps:
    """What one sequence parameter set says; sizes in pixels, ``crop`` in chroma units as written.

    Attributes:
        profile_tier_level: its 12 bytes, as HEIF repeats them.
        chroma_format: 0 grey, 1 4:2:0, 2 4:2:2, 3 4:4:4.
        width: coded, before cropping.
        height: coded, before cropping.
        crop: left, right, top, bottom; in units of the chroma subsampling.
        bits_luma: a sample.
        bits_chroma: a sample.
        crop_bit: position of the cropping flag in the unescaped unit, to write another.
        crop_end: position behind flag and values.
        coding_tools: what BPG's header repeats, in its order.
        full_range: signalled in the VUI.
        matrix: H.273 code signalled in the VUI, 2 (unspecified) without.
    """

    profile_tier_level: bytes
    chroma_format: int
    width: int
    height: int
    crop: tuple[int, int, int, int]
    bits_luma: int
    bits_chroma: int
    crop_bit: int
    crop_end: int
    coding_tools: "CodingTools"
    full_range: bool
    matrix: int

    @property
    def chroma_unit(self) -> tuple[int, int]:
        """Luma samples a chroma sample, vertically and horizontally: the unit of ``crop``."""
        return (2 if self.chroma_format == 1 else 1), (2 if self.chroma_format in (1, 2) else 1)

    @property
    def shown(self) -> tuple[slice, slice]:
        """Rows and columns of the coded picture that the window leaves."""
        unit_y, unit_x = self.chroma_unit
        left, right, top, bottom = self.crop
        return slice(top * unit_y, self.height - bottom * unit_y), slice(left * unit_x, self.width - right * unit_x)


@dataclass(frozen=True)
class CodingTools:
    """The part of the parameter set that BPG keeps; logarithms base 2, as far as H.265 writes them."""

    min_cb_minus3: int
    diff_max_min_cb: int
    min_tb_minus2: int
    diff_max_min_tb: int
    depth_intra: int
    sao: int
    pcm: tuple[int, int, int, int, int] | None
    strong_intra_smoothing: int
    range_extension: tuple[int, ...] | None

    @property
    def min_cb(self) -> int:
        """Smallest coding block, in pixels: coded sizes are multiples of it."""
        return 8 << self.min_cb_minus3


def units(stream: bytes) -> list[bytes]:
    """NAL units of a byte stream, without start codes and trailing zeros."""
    return [part.rstrip(b"\0") for part in stream.split(b"\0\0\1")[1:] if part.rstrip(b"\0")]


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


def is_picture(parts: list[bytes]) -> bool:
    """Whether these units can be decoded alone: both parameter sets and a slice of an IRAP picture."""
    kinds = {kind(unit) for unit in parts}
    return {SPS, PPS} <= kinds and any(16 <= number <= 23 for number in kinds)


def unescape(unit: bytes) -> bytes:
    """Without the emulation prevention bytes."""
    return unit.replace(b"\0\0\3", b"\0\0")


def escape(unit: bytes) -> bytes:
    """With an emulation prevention byte wherever a start code would appear."""
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", unit)


def parse_sps(unit: bytes) -> Sps:
    """Read a sequence parameter set (H.265, 7.3.2.2) of a stream without temporal layers.

    Raises:
        ValueError: it uses what no still picture needs (sub-layers, separate planes, scaling lists).
        EOFError: it is cut short.
    """
    data = unescape(unit)
    r = BitReader(data)
    r.u(16 + 4)
    if r.u(3):
        raise ValueError("the stream has temporal sub-layers")
    r.u(1)
    r.u(96)
    r.ue()
    chroma_format = r.ue()
    if chroma_format == 3 and r.u(1):
        raise ValueError("the stream codes its colour planes separately")
    width, height = r.ue(), r.ue()
    crop_bit = r.position
    crop = (r.ue(), r.ue(), r.ue(), r.ue()) if r.u(1) else (0, 0, 0, 0)
    crop_end = r.position
    bits_luma, bits_chroma = 8 + r.ue(), 8 + r.ue()
    log2_poc = r.ue() + 4
    r.u(1)
    for _ in range(3):
        r.ue()
    blocks = [r.ue() for _ in range(4)]
    r.ue()  # transform depth of inter blocks, which a still picture has not
    depth_intra = r.ue()
    if r.u(1):
        raise ValueError("the stream has scaling lists")
    r.u(1)
    sao = r.u(1)
    pcm = (r.u(4), r.u(4), r.ue(), r.ue(), r.u(1)) if r.u(1) else None
    _skip_reference_sets(r)
    if r.u(1):
        for _ in range(r.ue()):
            r.u(log2_poc + 1)
    r.u(1)
    strong = r.u(1)
    full_range, matrix = _vui(r) if r.u(1) else (False, 2)
    extension = None
    if r.u(1):
        has_range = r.u(1)
        r.u(7)
        extension = tuple(r.u(1) for _ in range(9)) if has_range else None
    tools = CodingTools(blocks[0], blocks[1], blocks[2], blocks[3], depth_intra, sao, pcm, strong, extension)
    return Sps(
        data[3:15], chroma_format, width, height, crop, bits_luma, bits_chroma, crop_bit, crop_end, tools,
        full_range, matrix,
    )  # fmt: skip


def _skip_reference_sets(r: BitReader) -> None:
    """Short-term reference picture sets (7.3.7): not used by a still picture, but in the way."""
    delta_counts: list[int] = []
    for index in range(r.ue()):
        if index and r.u(1):
            r.u(1)
            r.ue()
            used = 0
            for _ in range(delta_counts[index - 1] + 1):
                used += 1 if r.u(1) else r.u(1)
            delta_counts.append(used)
        else:
            negative, positive = r.ue(), r.ue()
            for _ in range(negative + positive):
                r.ue()
                r.u(1)
            delta_counts.append(negative + positive)


def _vui(r: BitReader) -> tuple[bool, int]:
    """Video usability information (annex E.2.1): full range, matrix."""
    full_range, matrix = False, 2
    if r.u(1) and r.u(8) == 255:
        r.u(32)
    if r.u(1):
        r.u(1)
    if r.u(1):
        r.u(3)
        full_range = bool(r.u(1))
        if r.u(1):
            r.u(16)
            matrix = r.u(8)
    if r.u(1):
        r.ue()
        r.ue()
    r.u(3)
    if r.u(1):
        for _ in range(4):
            r.ue()
    if r.u(1):
        r.u(64)
        if r.u(1):
            r.ue()
        if r.u(1):
            raise ValueError("the stream carries buffering parameters (HRD)")
    if r.u(1):
        r.u(3)
        for _ in range(5):
            r.ue()
    return full_range, matrix


def cropped(unit: bytes, width: int, height: int) -> bytes:
    """The parameter set with its picture cut to ``width`` x ``height``, rounded up to whole chroma samples."""
    sps = parse_sps(unit)
    unit_y, unit_x = sps.chroma_unit
    right, bottom = (sps.width - width) // unit_x, (sps.height - height) // unit_y
    source = BitReader(unescape(unit))
    w = BitWriter().u(source.u(sps.crop_bit), sps.crop_bit)
    if right or bottom:
        w.u(1, 1).ue(0).ue(right).ue(0).ue(bottom)
    else:
        w.u(0, 1)
    source.position = sps.crop_end
    # Copied to the stop bit, the last bit that is set; what follows only fills the byte.
    rest = int.from_bytes(source.data, "big")
    end = 8 * len(source.data) - ((rest & -rest).bit_length() - 1)
    w.u(source.u(end - sps.crop_end), end - sps.crop_end)
    return escape(w.bytes())
