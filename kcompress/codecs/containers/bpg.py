"""The BPG container (Bellard, BPG specification 0.9.8): header, HEVC with shortened parameter sets, extensions."""

from dataclasses import dataclass, replace

from kcompress.bitstream import annexb
from kcompress.bitstream.bits import BitReader, BitWriter
from kcompress.bitstream.sps import CodingTools, parse_sps, read_extension, read_pcm
from kcompress.errors import InputError, ProgramError, UnsupportedError
from kcompress.planes import Matrix, Sampling, Siting

MAGIC = b"BPG\xfb"
MAX_NUMBER = (1 << 30) - 1
"""Largest width, height or length that decoders accept."""

EXIF, ICC, XMP = 1, 2, 3
_MATRICES: tuple[Matrix, ...] = ("bt601", "rgb", "ycgco", "bt709", "bt2020")
_FORMATS: tuple[tuple[Sampling, Siting], ...] = (
    ("400", "centre"), ("420", "centre"), ("422", "centre"), ("444", "centre"), ("420", "left"), ("422", "left"),
)  # fmt: skip


@dataclass(frozen=True)
class Bpg:
    """One BPG picture.

    Attributes:
        width: pixels.
        height: pixels.
        sampling: of the chroma planes.
        siting: of the chroma planes.
        matrix: between RGB and the planes.
        full_range: of the samples; alpha is always full range.
        bits: a sample, 8..14.
        picture: HEVC byte stream of the colour planes.
        extra: HEVC byte stream of one more plane, or None.
        extra_kind: what that plane is.
        extensions: (tag, bytes).
        animated: more pictures follow the first.
    """

    width: int
    height: int
    sampling: Sampling
    picture: bytes
    siting: Siting = "centre"
    matrix: Matrix = "bt601"
    full_range: bool = True
    bits: int = 8
    extra: bytes | None = None
    extra_kind: str = "alpha"  # alpha | premultiplied | white (the W of CMYK)
    extensions: tuple[tuple[int, bytes], ...] = ()
    animated: bool = False

    def extension(self, tag: int) -> bytes | None:
        """The first extension of this kind."""
        return next((data for found, data in self.extensions if found == tag), None)


_EXTRA_BITS = {(1, 0): "alpha", (1, 1): "premultiplied", (0, 1): "white"}


def mux(bpg: Bpg) -> bytes:
    """Write a BPG file, with the true length of its data, so that a cut file is found out.

    Raises:
        ProgramError: the HEVC streams are not such as BPG can hold.
    """
    streams = [bpg.picture] if bpg.extra is None else [bpg.extra, bpg.picture]
    headers, parts = [], []
    for number, stream in enumerate(streams):
        header, kept = _shortened(stream, bpg)
        # The alpha stream is layer 1 of the shared data, and its header comes first.
        is_extra = bpg.extra is not None and number == 0
        headers.append(header)
        parts.append([annexb.with_layer(unit, 1) if is_extra else unit for unit in kept])
    if len({len(kept) for kept in parts}) > 1:
        raise ProgramError("the alpha stream has another number of slices than the picture. Try another --backend.")
    # alpha PPS, colour PPS, alpha slice, colour slice, ...
    nals = [unit for together in zip(*parts, strict=True) for unit in together]
    data = b"".join(headers) + nals[0] + b"".join(b"\0\0\1" + unit for unit in nals[1:])
    flags = {name: bits for bits, name in _EXTRA_BITS.items()}[bpg.extra_kind] if bpg.extra is not None else (0, 0)
    head = BitWriter().u(_FORMATS.index((bpg.sampling, bpg.siting)), 3).u(flags[0], 1).u(bpg.bits - 8, 4)
    head.u(_MATRICES.index(bpg.matrix), 4).u(1 if bpg.extensions else 0, 1).u(flags[1], 1)
    head.u(0 if bpg.full_range else 1, 1).u(0, 1)
    extensions = b"".join(_ue7(tag) + _ue7(len(content)) + content for tag, content in bpg.extensions)
    return b"".join(
        [MAGIC, head.bytes(), _ue7(bpg.width), _ue7(bpg.height), _ue7(len(data))]
        + ([_ue7(len(extensions)), extensions] if extensions else [])
        + [data]
    )


def demux(data: bytes, name: str = "the picture") -> Bpg:
    """Read a BPG file into decodable HEVC byte streams.

    Raises:
        InputError: it is no BPG file, or cut short, or broken.
    """
    try:
        return _demux(data, name)
    except (EOFError, ValueError, IndexError) as error:
        raise InputError(f"{name} is a corrupt or truncated BPG file ({error}). Get a whole copy.") from error


def _demux(data: bytes, name: str) -> Bpg:
    if data[:4] != MAGIC:
        raise InputError(f"{name} is not a BPG file. Give one that begins with 'BPG'.")
    r = BitReader(data)
    r.u(32)
    form, alpha1, bits = r.u(3), r.u(1), r.u(4) + 8
    matrix, has_extensions, alpha2, limited, animated = r.u(4), r.u(1), r.u(1), r.u(1), r.u(1)
    if form >= len(_FORMATS) or matrix >= len(_MATRICES) or bits > 14:
        raise ValueError(f"pixel format {form}, colour space {matrix}, {bits} bits")
    width, height, length = _read_ue7(r), _read_ue7(r), _read_ue7(r)
    if not width or not height:
        raise ValueError(f"size {width}x{height}")
    extensions = _extensions(r) if has_extensions else ()
    start = r.position // 8
    if length and start + length > len(data):
        raise ValueError(f"{start + length} bytes are announced, {len(data)} are there")
    # With a length, what follows is not ours; without, the data run to the end of the file.
    body = data[start : start + length] if length else data[start:]
    sampling, siting = _FORMATS[form]
    bpg = Bpg(
        width, height, sampling, b"", siting, _MATRICES[matrix], not limited, bits, None,
        _EXTRA_BITS.get((alpha1, alpha2), "alpha"), extensions, bool(animated),
    )  # fmt: skip
    has_extra = bool(alpha1 or alpha2)
    r = BitReader(body)
    tools = [_read_tools(r) for _ in range(1 + has_extra)]
    units = annexb.units(b"\0\0\1" + body[r.position // 8 :])
    kept = [unit for unit in units if annexb.is_slice(unit) or annexb.kind(unit) in (annexb.PPS, annexb.SUFFIX_SEI)]
    picture = [unit for unit in kept if annexb.layer(unit) == 0]
    extra = [annexb.with_layer(unit, 0) for unit in kept if annexb.layer(unit) == 1]
    for found in (picture, extra) if has_extra else (picture,):
        if not any(annexb.is_slice(unit) for unit in found):
            raise ValueError("it holds no picture data")
    rebuilt = replace(bpg, picture=annexb.stream(_parameter_sets(tools[-1], bpg, bpg.sampling) + picture))
    if has_extra:
        rebuilt = replace(rebuilt, extra=annexb.stream(_parameter_sets(tools[0], bpg, "400") + extra))
    return rebuilt


def _shortened(stream: bytes, bpg: Bpg) -> tuple[bytes, list[bytes]]:
    """An HEVC stream as BPG's hevc_header and the units that stay."""
    units = annexb.units(stream)
    if not annexb.is_picture(units):
        raise ProgramError("the HEVC encoder wrote no complete picture. Try another --backend.")
    sps = parse_sps(next(unit for unit in units if annexb.kind(unit) == annexb.SPS))
    tools = sps.coding_tools
    expected = tuple(-(-side // tools.min_cb) * tools.min_cb for side in (bpg.width, bpg.height))
    if (sps.width, sps.height) != expected or sps.crop[0] or sps.crop[2]:
        raise ProgramError(
            f"the HEVC stream is {sps.width}x{sps.height}, but BPG needs {expected[0]}x{expected[1]}. "
            "Try another --backend."
        )
    if sps.scaling_lists:
        raise ProgramError("the HEVC stream has scaling lists, and BPG has no place for them. Try another --backend.")
    w = BitWriter().ue(tools.min_cb_minus3).ue(tools.diff_max_min_cb).ue(tools.min_tb_minus2)
    w.ue(tools.diff_max_min_tb).ue(tools.depth_intra).u(tools.sao, 1).u(tools.pcm is not None, 1)
    _write_pcm(w, tools)
    w.u(tools.strong_intra_smoothing, 1)
    _write_range_extension(w, tools)
    header = w.bytes()
    kept = [unit for unit in units if annexb.is_slice(unit) or annexb.kind(unit) == annexb.PPS]
    return _ue7(len(header)) + header, kept


def _write_pcm(w: BitWriter, tools: CodingTools) -> None:
    if tools.pcm is not None:
        depth_luma, depth_chroma, smallest, difference, no_filter = tools.pcm
        w.u(depth_luma, 4).u(depth_chroma, 4).ue(smallest).ue(difference).u(no_filter, 1)


def _write_range_extension(w: BitWriter, tools: CodingTools) -> None:
    w.u(tools.range_extension is not None, 1)
    if tools.range_extension is not None:
        w.u(1, 1).u(0, 7)
        for flag in tools.range_extension:
            w.u(flag, 1)


def _read_tools(r: BitReader) -> CodingTools:
    """hevc_header."""
    length = _read_ue7(r)
    end = r.position + 8 * length
    blocks = [r.ue(limit) for limit in (3, 3, 3, 3, 4)]
    sao, pcm, strong = r.u(1), read_pcm(r), r.u(1)
    tools = CodingTools(blocks[0], blocks[1], blocks[2], blocks[3], blocks[4], sao, pcm, strong, read_extension(r))
    if r.position > end:
        raise ValueError("its HEVC header is longer than it says")
    r.position = end
    return tools


def _parameter_sets(tools: CodingTools, bpg: Bpg, sampling: Sampling) -> list[bytes]:
    """The VPS and SPS that BPG leaves out (H.265, 7.3.2.1 and 7.3.2.2)."""
    # General profile 4 (range extensions) allows every tool a BPG may use; level 8.5 every size.
    level = BitWriter().u(0, 3).u(4, 5).u(1 << (31 - 4), 32).u(0, 48).u(255, 8)
    level_bytes = int.from_bytes(level.bytes(), "big")
    vps = BitWriter().u(0x4001, 16).u(0, 4).u(3, 2).u(0, 6).u(0, 3).u(1, 1).u(0xFFFF, 16).u(level_bytes, 96)
    vps.u(1, 1).ue(0).ue(0).ue(0).u(0, 6).ue(0).u(0, 1).u(0, 1).u(1, 1)
    chroma_format = ("400", "420", "422", "444").index(sampling)
    width, height = (-(-side // tools.min_cb) * tools.min_cb for side in (bpg.width, bpg.height))
    sps = BitWriter().u(0x4201, 16).u(0, 4).u(0, 3).u(1, 1).u(level_bytes, 96).ue(0).ue(chroma_format)
    if chroma_format == 3:
        sps.u(0, 1)
    sps.ue(width).ue(height).u(0, 1).ue(bpg.bits - 8).ue(bpg.bits - 8).ue(4).u(1, 1).ue(0).ue(0).ue(0)
    sps.ue(tools.min_cb_minus3).ue(tools.diff_max_min_cb).ue(tools.min_tb_minus2).ue(tools.diff_max_min_tb)
    sps.ue(tools.depth_intra).ue(tools.depth_intra).u(0, 1).u(1, 1).u(tools.sao, 1).u(tools.pcm is not None, 1)
    _write_pcm(sps, tools)
    sps.ue(0).u(0, 1).u(1, 1).u(tools.strong_intra_smoothing, 1).u(0, 1)
    _write_range_extension(sps, tools)
    return [annexb.escape(w.u(1, 1).bytes()) for w in (vps, sps)]


def _extensions(r: BitReader) -> tuple[tuple[int, bytes], ...]:
    length = _read_ue7(r)
    end = r.position // 8 + length
    if end > len(r.data):
        raise ValueError("its metadata are cut short")
    found = []
    while r.position // 8 < end:
        tag, size = _read_ue7(r), _read_ue7(r)
        start = r.position // 8
        if start + size > end:
            raise ValueError("its metadata are cut short")
        found.append((tag, r.data[start : start + size]))
        r.position = 8 * (start + size)
    r.position = 8 * end
    return tuple(found)


def _ue7(value: int) -> bytes:
    """7 bits a byte, most significant first, the top bit set on all but the last."""
    if value > MAX_NUMBER:
        raise UnsupportedError(f"BPG cannot hold the size {value:,}; {MAX_NUMBER:,} is its limit. Use --codec hevc.")
    groups = [value & 127]
    while value := value >> 7:
        groups.append(value & 127 | 128)
    return bytes(reversed(groups))


def _read_ue7(r: BitReader) -> int:
    value = r.u(8)
    if value == 128:
        raise ValueError("a number has a leading zero group")
    result = value & 127
    while value & 128:
        value = r.u(8)
        result = result << 7 | value & 127
    if result > MAX_NUMBER:
        raise ValueError(f"the number {result} is beyond the format's limit")
    return result
