import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.bitstream import annexb
from kcompress.bitstream.bits import LARGEST, BitWriter
from kcompress.bitstream.sps import cropped, parse_sps
from kcompress.codecs import x265
from kcompress.images import Image
from kcompress.planes import BOX, Planes, from_rgb, grey_planes
from kcompress.programs import X265, ffmpeg

pytestmark = pytest.mark.encoders

MANY = settings(deadline=None, max_examples=200, derandomize=True)
ENCODERS = [
    pytest.param(
        encoder,
        id=encoder.name,
        marks=pytest.mark.skipif(encoder.name == "x265" and X265.find() is None, reason="x265 is not installed"),
    )
    for encoder in x265.STREAM_ENCODERS
]
EFFORT = 1
ZEROS = st.lists(st.sampled_from([0, 1, 2, 3, 4, 255]), max_size=60).map(bytes)
UNIT = st.tuples(st.integers(0, 40), ZEROS).map(lambda p: bytes([p[0] << 1, 1]) + annexb.escape(p[1]) + b"\x80")


def coded(encoder: x265.StreamEncoder, planes: Planes) -> list[bytes]:
    return annexb.units(x265.encode(encoder, planes, 30, EFFORT))


def sequence_set(units: list[bytes]) -> bytes:
    return next(unit for unit in units if annexb.kind(unit) == annexb.SPS)


def planes_of(image: Image, sampling: str) -> Planes:
    return grey_planes(image.pixels[:, :, 0]) if sampling == "400" else from_rgb(image.pixels, sampling, BOX)


@MANY
@given(ZEROS)
def test_escaped_bytes_hold_no_start_code_and_come_back(data: bytes) -> None:
    escaped = annexb.escape(data)
    assert not any(code in escaped for code in (b"\0\0\0", b"\0\0\1", b"\0\0\2"))
    assert annexb.unescape(escaped) == data


@MANY
@given(st.lists(UNIT))
def test_units_of_a_stream_come_back(parts: list[bytes]) -> None:
    assert annexb.units(annexb.stream(parts)) == parts


def test_both_kinds_of_start_code_and_trailing_zeros() -> None:
    data = b"\0\0\0\1\x40\1A" + b"\0\0\1\x42\1B\0\0" + b"\0\0\0\1\x26\1C"
    assert annexb.units(data) == [b"\x40\1A", b"\x42\1B", b"\x26\1C"]
    assert annexb.units(b"") == annexb.units(b"no start code") == []


@MANY
@given(UNIT, st.integers(0, 63))
def test_a_layer_number_is_kept_beside_the_kind(unit: bytes, number: int) -> None:
    moved = annexb.with_layer(unit, number)
    assert annexb.layer(moved) == number
    assert annexb.kind(moved) == annexb.kind(unit)
    assert annexb.with_layer(moved, 0) == unit


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("sampling", ["400", "420", "444"])
def test_the_parameter_set_of_each_encoder_is_read(encoder: x265.StreamEncoder, sampling: str, balloons: Image) -> None:
    units = coded(encoder, planes_of(balloons, sampling))
    sps = parse_sps(sequence_set(units))
    assert (sps.width, sps.height) == (336, 224)
    assert sps.chroma_format == {"400": 0, "420": 1, "444": 3}[sampling]
    assert (sps.bits_luma, sps.bits_chroma) == (8, 8)
    assert sps.crop == (0, 0, 0, 0)
    assert sps.full_range
    assert sps.matrix == 6
    assert sps.coding_tools.min_cb == 8
    # A 4:2:0 still is of profile 3, Main Still Picture, which every reader of HEIC takes.
    assert sps.profile_tier_level[0] & 31 == (3 if sampling == "420" else 4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_only_parameter_sets_and_the_picture_are_written(encoder: x265.StreamEncoder, balloons: Image) -> None:
    kinds = [annexb.kind(unit) for unit in coded(encoder, planes_of(balloons, "420"))]
    # No 39: x265 would tell 2 kB about itself in such a unit.
    assert kinds[:3] == [annexb.VPS, annexb.SPS, annexb.PPS]
    assert all(16 <= number <= 23 for number in kinds[3:])


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("sampling", "size", "seen"),
    [
        ("420", (333, 217), (334, 218)),
        ("444", (333, 217), (333, 217)),
        ("400", (333, 217), (333, 217)),
        ("420", (336, 224), (336, 224)),
        ("420", (330, 224), (330, 224)),
    ],
)
def test_a_decoder_obeys_the_written_window(
    encoder: x265.StreamEncoder, sampling: str, size: tuple[int, int], seen: tuple[int, int], balloons: Image
) -> None:
    units = coded(encoder, planes_of(balloons, sampling))
    sps = sequence_set(units)
    window = cropped(sps, *size)
    # Written twice, the window is the same; and taken off again, so is everything.
    assert cropped(cropped(sps, 320, 200), *size) == window
    assert cropped(window, 336, 224) == sps
    stream = annexb.stream([window if unit == sps else unit for unit in units])
    output = ["-pix_fmt", "gray", "-f", "rawvideo", "pipe:1"]
    raw = ffmpeg().run(["-v", "error", "-f", "hevc", "-i", "pipe:0", *output], stream)
    assert len(raw) == seen[0] * seen[1]
    whole = x265.decode(stream)
    assert whole.luma.shape == (224, 336)
    # ffmpeg's grey of a full-range stream is its luma plane.
    assert np.array_equal(np.frombuffer(raw, np.uint8).reshape(seen[::-1]), whole.luma[: seen[1], : seen[0]])


def test_a_picture_needs_its_parameter_sets_and_a_slice(balloons: Image) -> None:
    units = coded(x265.FfmpegX265(), planes_of(balloons, "420"))
    assert annexb.is_picture(units)
    for number in (annexb.SPS, annexb.PPS, annexb.kind(units[-1])):
        assert not annexb.is_picture([unit for unit in units if annexb.kind(unit) != number])
    stream = annexb.stream(units)
    sets = len(annexb.stream(units[:3]))
    assert not any(annexb.is_picture(annexb.units(stream[:end])) for end in range(0, sets, 3))


def test_a_cut_parameter_set_says_so(balloons: Image) -> None:
    sps = sequence_set(coded(x265.FfmpegX265(), planes_of(balloons, "420")))
    for end in range(2, len(sps) - 2):
        with pytest.raises((EOFError, ValueError)):
            parse_sps(sps[:end])


HEADER = b"\x42\1\1" + bytes([4]) + bytes(11)
"""Of a parameter set, to behind its profile."""


def within_the_format(data: bytes) -> None:
    """Refused, or of values that H.265 allows."""
    try:
        sps = parse_sps(data)
    except (EOFError, ValueError):
        return
    rows, columns = sps.shown
    assert 0 <= rows.start < rows.stop <= sps.height < 1 << 30
    assert 0 <= columns.start < columns.stop <= sps.width < 1 << 30
    assert min(sps.bits_luma, sps.bits_chroma) >= 8 and max(sps.bits_luma, sps.bits_chroma) <= 16
    assert sps.chroma_format in range(4)
    assert sps.coding_tools.min_cb in (8, 16, 32, 64)
    assert parse_sps(cropped(data, columns.stop, rows.stop)).coding_tools == sps.coding_tools


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.binary(max_size=80))
def test_any_bytes_as_a_parameter_set_end_well(data: bytes) -> None:
    within_the_format(b"\x42\1" + data)
    within_the_format(HEADER + data)


@pytest.fixture(scope="module")
def real_set(balloons: Image) -> bytes:
    return sequence_set(coded(x265.FfmpegX265(), planes_of(balloons, "420")))


@settings(deadline=None, max_examples=300, derandomize=True)
@given(bits=st.lists(st.integers(0, 400), min_size=1, max_size=6))
def test_a_changed_parameter_set_ends_well(real_set: bytes, bits: list[int]) -> None:
    changed = bytearray(real_set)
    for bit in bits:
        changed[bit // 8 % len(changed)] ^= 128 >> bit % 8
    within_the_format(b"\x42\1" + bytes(changed[2:]))


# Fields of a parameter set in their order, and one beyond what H.265 allows for each.
FIELDS = {
    "number": 16, "chroma": 4, "width": 1 << 30, "height": 1 << 30, "luma": 9, "depth": 9, "poc": 13, "pictures": 16,
    "order": 16, "latency": None, "min_cb": 4, "diff_cb": 4, "min_tb": 4, "diff_tb": 4, "inter": 5, "intra": 5,
}  # fmt: skip


def written(**changed: int) -> bytes:
    values = {"chroma": 1, "width": 64, "height": 64, "poc": 4, "diff_cb": 3, "diff_tb": 3, **changed}
    w = BitWriter()
    for name in FIELDS:
        if name == "luma":
            w.u(0, 1)  # no window
        if name == "pictures":
            w.u(1, 1)
        w.ue(values.get(name, 0))
    w.u(0b0100, 4).ue(values.get("sets", 0)).u(0b000, 3).u(0, 2).u(1, 1)
    return annexb.escape(HEADER + w.bytes())


def test_every_number_of_a_parameter_set_is_bounded() -> None:
    assert parse_sps(written()).shown == (slice(0, 64), slice(0, 64))
    for name, beyond in FIELDS.items():
        for value in [] if beyond is None else [beyond, 1 << 20, LARGEST]:
            if name in ("width", "height") and value < beyond:
                continue
            with pytest.raises(ValueError, match=f"is {value}, where {beyond - 1} is the most"):
                parse_sps(written(**{name: value}))
    with pytest.raises(ValueError, match="where 64 is the most"):
        parse_sps(written(sets=1 << 28))
    for wrong in ({"width": 0}, {"height": 60}, {"width": 65}):
        with pytest.raises(ValueError, match="coded size"):
            parse_sps(written(**wrong))
    for wrong in ({"diff_cb": 0}, {"min_cb": 3, "diff_cb": 1}, {"min_tb": 1}, {"intra": 4, "diff_cb": 2}):
        with pytest.raises(ValueError, match="sizes of blocks"):
            parse_sps(written(**wrong))
    with pytest.raises(ValueError, match="32 bits"):
        parse_sps(HEADER + b"\x80" + bytes(20))
    with pytest.raises(ValueError, match="bytes"):
        parse_sps(written() + b"\x55" * 65536)


def test_units_that_are_no_whole_header_are_none() -> None:
    assert annexb.units(b"\0\0\1\x26" + b"\0\0\1\x26\1" + b"\0\0\1\x26\1\x80") == [b"\x26\1\x80"]
