"""HEVC's sequence parameter set (H.265, section 7.3.2.2): read, and its window written anew."""

from dataclasses import dataclass

from kcompress.bitstream.annexb import VPS, escape, kind, skip_profile, unescape
from kcompress.bitstream.bits import LARGEST, BitReader, BitWriter

MAX_BYTES = 65535
"""Largest parameter set that HEIF's length fields allow, bytes."""

MAX_SIDE = (1 << 30) - 1


@dataclass(frozen=True)
class Sps:
    """Fields of one sequence parameter set; sizes in pixels, ``crop`` in chroma units as written.

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
        scaling_lists: whether quantiser steps depend on the frequency.
        full_range: signalled in the VUI.
        matrix: H.273 code signalled in the VUI, 2 (unspecified) without.
        primaries: H.273 code, likewise.
        transfer: H.273 code, likewise.
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
    scaling_lists: bool
    full_range: bool
    matrix: int
    primaries: int
    transfer: int

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
    """The part of the parameter set that BPG keeps; logarithms base 2, as far as H.265 writes them.

    Raises:
        ValueError: sizes of blocks that H.265 does not have.
    """

    min_cb_minus3: int
    diff_max_min_cb: int
    min_tb_minus2: int
    diff_max_min_tb: int
    depth_intra: int
    sao: int
    pcm: tuple[int, int, int, int, int] | None
    strong_intra_smoothing: int
    range_extension: tuple[int, ...] | None

    def __post_init__(self) -> None:
        largest_cb = 3 + self.min_cb_minus3 + self.diff_max_min_cb
        min_tb, largest_tb = 2 + self.min_tb_minus2, min(largest_cb, 5)
        if not (
            4 <= largest_cb <= 6
            and min_tb < 3 + self.min_cb_minus3
            and min_tb + self.diff_max_min_tb <= largest_tb
            and self.depth_intra <= largest_cb - min_tb
            and (self.pcm is None or 3 + self.pcm[2] + self.pcm[3] <= largest_tb)
        ):
            raise ValueError("its sizes of blocks are none of HEVC's")

    @property
    def min_cb(self) -> int:
        """Smallest coding block, in pixels: coded sizes are multiples of it."""
        return 8 << self.min_cb_minus3


def coded_size(unit: bytes) -> tuple[int, int]:
    """Width and height before cropping, also of a set that `parse_sps` does not read.

    Raises:
        ValueError: it says what H.265 does not allow.
        EOFError: it is cut short.
    """
    r = BitReader(unescape(unit[:512]))
    skip_profile(r)
    r.ue(15)
    if r.ue(3) == 3:
        r.u(1)
    return r.ue(MAX_SIDE), r.ue(MAX_SIDE)


def read_pcm(r: BitReader) -> tuple[int, int, int, int, int] | None:
    """Depths, smallest size, range of sizes and filter flag of samples that are not coded; None without."""
    return (r.u(4), r.u(4), r.ue(2), r.ue(2), r.u(1)) if r.u(1) else None


def read_extension(r: BitReader) -> tuple[int, ...] | None:
    """Flags of the range extension; None without."""
    if not r.u(1):
        return None
    has_range = r.u(1)
    r.u(7)
    return tuple(r.u(1) for _ in range(9)) if has_range else None


def parse_sps(unit: bytes) -> Sps:
    """Read a sequence parameter set (H.265, 7.3.2.2) of a stream without temporal layers.

    Raises:
        ValueError: it uses what no still picture needs (sub-layers, separate planes), or says what H.265 does not
            allow.
        EOFError: it is cut short.
    """
    if len(unit) > MAX_BYTES:
        raise ValueError(f"a parameter set has {len(unit)} bytes")
    data = unescape(unit)
    r = BitReader(data)
    r.u(16 + 4)
    if r.u(3):
        raise ValueError("the stream has temporal sub-layers")
    r.u(1)
    r.u(96)
    r.ue(15)
    chroma_format = r.ue(3)
    if chroma_format == 3 and r.u(1):
        raise ValueError("the stream codes its colour planes separately")
    width, height = r.ue(MAX_SIDE), r.ue(MAX_SIDE)
    crop_bit = r.position
    crop = (r.ue(), r.ue(), r.ue(), r.ue()) if r.u(1) else (0, 0, 0, 0)
    crop_end = r.position
    bits_luma, bits_chroma = 8 + r.ue(8), 8 + r.ue(8)
    log2_poc = r.ue(12) + 4
    r.u(1)
    for highest in (15, 15, LARGEST):
        r.ue(highest)
    blocks = [r.ue(3) for _ in range(4)]
    r.ue(4)  # transform depth of inter blocks, which a still picture has not
    depth_intra = r.ue(4)
    scaling_lists = bool(r.u(1))
    if scaling_lists and r.u(1):
        _skip_scaling_lists(r)
    r.u(1)
    sao = r.u(1)
    pcm = read_pcm(r)
    _skip_reference_sets(r)
    if r.u(1):
        for _ in range(r.ue(32)):
            r.u(log2_poc + 1)
    r.u(1)
    strong = r.u(1)
    full_range, primaries, transfer, matrix = _vui(r) if r.u(1) else (False, 2, 2, 2)
    tools = CodingTools(blocks[0], blocks[1], blocks[2], blocks[3], depth_intra, sao, pcm, strong, read_extension(r))
    sps = Sps(
        data[3:15], chroma_format, width, height, crop, bits_luma, bits_chroma, crop_bit, crop_end, tools,
        scaling_lists, full_range, matrix, primaries, transfer,
    )  # fmt: skip
    if r.position > _stop_bit(data):
        raise EOFError("the parameter set ends too early")
    if not width or not height or width % tools.min_cb or height % tools.min_cb:
        raise ValueError(f"the coded size is {width}x{height}")
    if any(side.start >= side.stop for side in sps.shown):
        raise ValueError("its window is empty")
    return sps


def _skip_reference_sets(r: BitReader) -> None:
    """Short-term reference picture sets (7.3.7): not used by a still picture, but in the way."""
    delta_counts: list[int] = []
    for index in range(r.ue(64)):
        if index and r.u(1):
            r.u(1)
            r.ue(32767)
            used = 0
            for _ in range(delta_counts[index - 1] + 1):
                used += 1 if r.u(1) else r.u(1)
            delta_counts.append(used)
        else:
            negative, positive = r.ue(16), r.ue(16)
            for _ in range(negative + positive):
                r.ue(32767)
                r.u(1)
            delta_counts.append(negative + positive)


def _skip_scaling_lists(r: BitReader) -> None:
    """Scaling list data (7.3.4): decoders read them, nothing here does."""
    for size in range(4):
        for _ in range(2 if size == 3 else 6):
            if not r.u(1):
                r.ue(5)  # a list that is repeated
                continue
            if size > 1:
                r.ue(494)  # DC: -7..247 as H.265 writes signed numbers
            for _ in range(min(64, 16 << 2 * size)):
                r.ue(256)  # -128..127


def _vui(r: BitReader) -> tuple[bool, int, int, int]:
    """Video usability information (annex E.2.1): full range, primaries, transfer, matrix."""
    full_range, primaries, transfer, matrix = False, 2, 2, 2
    if r.u(1) and r.u(8) == 255:
        r.u(32)
    if r.u(1):
        r.u(1)
    if r.u(1):
        r.u(3)
        full_range = bool(r.u(1))
        if r.u(1):
            primaries, transfer, matrix = r.u(8), r.u(8), r.u(8)
    if r.u(1):
        r.ue(5)
        r.ue(5)
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
        for highest in (4095, 16, 16, 15, 15):
            r.ue(highest)
    return full_range, primaries, transfer, matrix


def _stop_bit(data: bytes) -> int:
    """Position of the last bit that is set; what follows only fills the byte."""
    rest = int.from_bytes(data, "big")
    return 8 * len(data) - (rest & -rest).bit_length()


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
    end = _stop_bit(source.data) + 1
    w.u(source.u(end - sps.crop_end), end - sps.crop_end)
    return escape(w.bytes())


def uncropped(unit: bytes) -> bytes:
    """The parameter set without a window."""
    sps = parse_sps(unit)
    return cropped(unit, sps.width, sps.height)


def as_main_10(unit: bytes) -> bytes:
    """The parameter set, video or sequence, with the profile Main 10 signalled (H.265, A.3.3)."""
    data, start = bytearray(unescape(unit)), 6 if kind(unit) == VPS else 3
    # Profile 2 and compatible with itself, progressive, frames only; the level stays.
    data[start : start + 11] = bytes.fromhex("02 20000000 900000000000")
    return escape(bytes(data))
