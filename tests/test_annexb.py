import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.codecs import x265
from kcompress.codecs.containers import annexb
from kcompress.images import Image
from kcompress.planes import BOX, Planes, from_rgb, grey_planes
from kcompress.programs import X265, ffmpeg

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
    return annexb.units(x265.encode(encoder, planes, 30, EFFORT, exact_qp=True))


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
    sps = annexb.parse_sps(sequence_set(units))
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
    window = annexb.cropped(sps, *size)
    # Written twice, the window is the same; and taken off again, so is everything.
    assert annexb.cropped(annexb.cropped(sps, 320, 200), *size) == window
    assert annexb.cropped(window, 336, 224) == sps
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
            annexb.parse_sps(sps[:end])


@settings(deadline=None, max_examples=300, derandomize=True)
@given(st.binary(max_size=80))
def test_any_bytes_as_a_parameter_set_end_well(data: bytes) -> None:
    try:
        sps = annexb.parse_sps(b"\x42\1" + data)
    except (EOFError, ValueError):
        return
    assert sps.width >= 0
