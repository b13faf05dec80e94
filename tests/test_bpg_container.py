import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import GOLDEN, smooth

from kcompress.bitstream import annexb
from kcompress.bitstream.bits import BitReader, BitWriter
from kcompress.bitstream.sps import CodingTools, parse_sps
from kcompress.codecs import x265
from kcompress.codecs.containers.bpg import (
    EXIF,
    ICC,
    MAGIC,
    MAX_NUMBER,
    XMP,
    Bpg,
    _read_ue7,
    _ue7,
    demux,
    mux,
)
from kcompress.errors import InputError, ProgramError, UnsupportedError
from kcompress.planes import BOX, from_rgb, grey_planes

METADATA = ((EXIF, b"II*\0\x08\0\0\0\0\0"), (ICC, bytes(range(256)) * 3), (XMP, b"<x/>"), (99, b""))
GOLDEN_FILES = sorted(GOLDEN.glob("*.bpg"))


@pytest.fixture(scope="module")
def plain() -> Bpg:
    planes = from_rgb(smooth(50, 34), "420", BOX)
    return Bpg(50, 34, "420", x265.encode(x265.FfmpegX265(), planes, 30, 1))


@pytest.fixture(scope="module")
def full(plain: Bpg) -> Bpg:
    plane = grey_planes(smooth(50, 34)[:, :, 1])
    extra = x265.encode(x265.FfmpegX265(), plane, 30, 1)
    return replace(plain, extra=extra, extensions=METADATA)


def slices(stream: bytes | None) -> list[bytes]:
    """What a file keeps byte for byte."""
    assert stream is not None
    return [u for u in annexb.units(stream) if annexb.is_slice(u) or annexb.kind(u) == annexb.PPS]


def tools(stream: bytes | None) -> CodingTools:
    assert stream is not None
    return parse_sps(next(u for u in annexb.units(stream) if annexb.kind(u) == annexb.SPS)).coding_tools


@pytest.mark.parametrize(
    ("value", "coded"),
    [
        (0, "00"), (1, "01"), (127, "7f"), (128, "8100"), (16383, "ff7f"), (16384, "818000"), (768, "8600"),
        (MAX_NUMBER, "83ffffff7f"),
    ],
)  # fmt: skip
def test_numbers_take_the_shortest_form(value: int, coded: str) -> None:
    assert _ue7(value).hex() == coded
    assert _read_ue7(BitReader(bytes.fromhex(coded))) == value


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.integers(0, MAX_NUMBER))
def test_numbers_come_back(value: int) -> None:
    assert _read_ue7(BitReader(_ue7(value))) == value


@pytest.mark.parametrize("coded", ["8001", "8000", "8480808000", "ffffffffffffff7f"])
def test_numbers_in_a_long_form_or_too_large_are_refused(coded: str) -> None:
    with pytest.raises(ValueError, match=r"leading zero|beyond"):
        _read_ue7(BitReader(bytes.fromhex(coded)))


def test_a_number_beyond_the_limit_is_not_written() -> None:
    with pytest.raises(UnsupportedError, match="cannot hold"):
        _ue7(MAX_NUMBER + 1)


def test_what_is_written_is_read(plain: Bpg, full: Bpg) -> None:
    for bpg in (plain, full, replace(full, extra_kind="premultiplied"), replace(full, extra_kind="white")):
        back = demux(mux(bpg))
        assert replace(back, picture=b"", extra=None) == replace(bpg, picture=b"", extra=None)
        assert slices(back.picture) == slices(bpg.picture)
        assert tools(back.picture) == tools(bpg.picture)
        if bpg.extra is not None:
            assert slices(back.extra) == slices(bpg.extra)
            assert tools(back.extra) == tools(bpg.extra)
        assert mux(back) == mux(bpg)


@pytest.mark.parametrize("siting", ["centre", "left"])
@pytest.mark.parametrize("matrix", ["bt601", "ycgco", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [True, False])
def test_every_header_field_comes_back(plain: Bpg, siting: str, matrix: str, full_range: bool) -> None:
    bpg = replace(plain, siting=siting, matrix=matrix, full_range=full_range)
    assert replace(demux(mux(bpg)), picture=b"") == replace(bpg, picture=b"")


def test_metadata_are_found_by_their_tag(full: Bpg) -> None:
    back = demux(mux(full))
    assert {tag: back.extension(tag) for tag, _ in METADATA} == dict(METADATA)
    assert back.extension(4) is None


def test_the_layout_is_that_of_the_specification(plain: Bpg) -> None:
    data = mux(plain)
    assert data[:8] == MAGIC + bytes([0b001_0_0000, 0, 50, 34])
    r = BitReader(data)
    r.position = 8 * 8
    length = _read_ue7(r)
    assert r.position // 8 + length == len(data)  # the true length, which bpgenc leaves at 0


def test_the_decoded_planes_are_those_of_the_untouched_stream(full: Bpg) -> None:
    back = demux(mux(full))
    for one, other in ((full.picture, back.picture), (full.extra, back.extra)):
        assert one is not None
        assert other is not None
        planes = zip(x265.decode(one).all, x265.decode(other).all, strict=True)
        assert all((a == b).all() for a, b in planes)


def test_a_stream_of_another_size_is_not_written(plain: Bpg) -> None:
    with pytest.raises(ProgramError, match="56x40, but BPG needs 64x40"):
        mux(replace(plain, width=60))
    with pytest.raises(ProgramError, match="no complete picture"):
        mux(replace(plain, picture=plain.picture[:60]))


def test_a_file_cut_anywhere_is_refused(full: Bpg) -> None:
    data = mux(full)
    for end in range(len(data)):
        with pytest.raises(InputError):
            demux(data[:end])


def test_what_follows_the_data_is_left_alone(plain: Bpg) -> None:
    data = mux(plain)
    assert demux(data + bytes(100)) == demux(data + b"junk") == demux(data)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, ord("b")), (4, 0b110_0_0000), (4, 0b111_0_0000), (4, 0b001_0_0111), (5, 0b0101_0000), (5, 0b1111_0000),
        (6, 0), (7, 0), (6, 128), (8, 0x80), (9, 0x7F),
    ],
)  # fmt: skip
def test_values_that_the_format_does_not_have_are_refused(plain: Bpg, place: int, value: int) -> None:
    data = bytearray(mux(plain))
    data[place] = value
    with pytest.raises(InputError, match=r"\.$"):
        demux(bytes(data))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.binary(max_size=60))
def test_any_bytes_end_well(data: bytes) -> None:
    for tried in (data, MAGIC + data):
        try:
            demux(tried)
        except InputError as error:
            assert str(error).endswith(".")


@settings(deadline=None, max_examples=600, derandomize=True)
@given(
    st.sampled_from(GOLDEN_FILES),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 10_000),
)
def test_flipped_bytes_end_well(file: Path, changes: list[tuple[int, int]], end: int) -> None:
    data = bytearray(file.read_bytes()[: end or None])
    for place, value in changes:
        if place < len(data):
            data[place] = value
    try:
        bpg = demux(bytes(data))
    except InputError:
        return
    assert annexb.units(bpg.picture)


@settings(deadline=None, max_examples=400, derandomize=True)
@given(
    st.sampled_from(GOLDEN_FILES),
    st.lists(st.tuples(st.integers(0, 40), st.binary(min_size=1, max_size=6)), min_size=1, max_size=3),
)
def test_changed_headers_end_well_and_soon(file: Path, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(file.read_bytes())
    for place, content in changes:
        data[place : place + len(content)] = content
    start = time.perf_counter()
    try:
        bpg = demux(bytes(data))
        parse_sps(annexb.first_picture(annexb.units(bpg.picture)).sps)
    except (InputError, ValueError, EOFError):
        pass
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("power", [28, 32, 70, 2000])
@pytest.mark.parametrize("field", range(5))
def test_sizes_of_blocks_are_bounded_before_anything_is_computed(plain: Bpg, power: int, field: int) -> None:
    data = mux(plain)
    w = BitWriter()
    for number in range(5):
        w.ue((1 << power) - 1 if number == field else 0)
    header = w.u(0, 3).bytes()
    body = _ue7(len(header)) + header + b"\x44\1\xc0"
    with pytest.raises(InputError, match=r"longer than 32 bits|where [34] is the most"):
        demux(data[:8] + _ue7(len(body)) + body)


def test_parameter_sets_of_ones_own_do_not_count(plain: Bpg) -> None:
    """BPG has none: its header tells the size."""
    foreign = x265.encode(x265.FfmpegX265(), from_rgb(smooth(256, 256), "420", BOX), 30, 1)
    data = mux(plain)
    sps = next(unit for unit in annexb.units(foreign) if annexb.kind(unit) == annexb.SPS)
    start = 8 + len(_ue7(len(data)))
    header = 1 + data[start]
    body = data[start:][:header] + sps + b"\0\0\1" + data[start:][header:]
    changed = demux(data[:8] + _ue7(len(body)) + body)
    assert parse_sps(annexb.first_picture(annexb.units(changed.picture)).sps).width == 56


def test_metadata_that_reach_beyond_their_end_are_refused(full: Bpg) -> None:
    data = mux(replace(full, extensions=((XMP, b"<x/>"),)))
    place = data.index(b"\3\4<x/>")
    with pytest.raises(InputError, match="metadata"):
        demux(data[: place + 1] + b"\5" + data[place + 2 :])
