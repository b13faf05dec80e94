import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.bitstream.bits import LARGEST, BitReader, BitWriter

NUMBERS = st.integers(0, 32).flatmap(lambda count: st.tuples(st.integers(0, (1 << count) - 1), st.just(count)))
MANY = settings(deadline=None, max_examples=100, derandomize=True)


@MANY
@given(st.lists(NUMBERS))
def test_unsigned_numbers_round_trip(fields: list[tuple[int, int]]) -> None:
    writer = BitWriter()
    for value, count in fields:
        writer.u(value, count)
    reader = BitReader(writer.bytes())
    assert [reader.u(count) for _, count in fields] == [value for value, _ in fields]


@MANY
@given(st.lists(st.integers(0, LARGEST)))
def test_exp_golomb_codes_round_trip(values: list[int]) -> None:
    writer = BitWriter()
    for value in values:
        writer.ue(value)
    reader = BitReader(writer.bytes())
    assert [reader.ue() for _ in values] == values


def test_exp_golomb_codes_are_those_of_the_standard() -> None:
    # H.265, table 9-2: 1 010 011 00100 00101 stand for 0..4.
    data = BitWriter().u(0b1_010_011_00100_00101, 17).bytes()
    reader = BitReader(data)
    assert [reader.ue() for _ in range(5)] == [0, 1, 2, 3, 4]


def test_bits_are_big_endian_and_filled_with_zeros() -> None:
    assert BitWriter().u(1, 1).u(0b0011, 4).bytes() == bytes([0b1001_1000])
    assert BitWriter().bytes() == b""


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0"])
def test_reading_past_the_end_says_so(data: bytes) -> None:
    with pytest.raises(EOFError):
        BitReader(data).ue()
    with pytest.raises(EOFError):
        BitReader(data).u(8 * len(data) + 1)
