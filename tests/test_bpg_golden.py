from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import GOLDEN, psnr

from kcompress.codecs import CODECS, decode
from kcompress.codecs.containers.bpg import demux
from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Image, Pixels, read

BPG = CODECS["bpg"]
FILES = sorted(GOLDEN.glob("*.bpg"))
BY_NAME = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def samples(image: Image) -> Pixels:
    return image.pixels if image.alpha is None else np.dstack([image.pixels, image.alpha])


@BY_NAME
def test_pixels_are_those_of_bpgdec(file: Path) -> None:
    expected = samples(read(file.with_suffix(".decoded.png").read_bytes()))
    decoded = samples(decode(file.read_bytes()))
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).max() <= (1 if "10bit" in file.stem else 0)


def test_only_the_grey_file_is_grey() -> None:
    assert [file.stem for file in FILES if decode(file.read_bytes()).grey] == ["gray-q29"]


@pytest.mark.parametrize("name", ["photo.png", "photo-161x97.png", "gray.png", "alpha.png"])
@pytest.mark.parametrize("chroma", ["420", "444"])
def test_the_same_sources_round_trip_through_ours(name: str, chroma: str) -> None:
    image = read((GOLDEN / name).read_bytes())
    data = BPG.backend("ffmpeg").encode(image, BPG.setting(15, chroma, 1))
    back = decode(data)
    assert (back.width, back.height, back.grey) == (image.width, image.height, image.grey)
    assert psnr(back.pixels, image.pixels) > 36
    assert (back.alpha is None) == (image.alpha is None)
    if image.alpha is not None and back.alpha is not None:
        assert psnr(back.alpha, image.alpha) > 40


def test_one_quality_is_about_as_good_as_in_the_original() -> None:
    """Ours at -q is never worse, and less than one step larger."""
    image = read((GOLDEN / "photo.png").read_bytes())
    original = (GOLDEN / "ycbcr420-q29.bpg").read_bytes()
    data = BPG.backend("ffmpeg").encode(image, BPG.setting(29, "420", 8))
    assert psnr(decode(data).pixels, image.pixels) > psnr(decode(original).pixels, image.pixels) - 0.1
    assert 0.9 < len(data) / len(original) < 1.2


@BY_NAME
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_cut_file_without_a_length_never_ends_badly(file: Path, part: float) -> None:
    """Files of bpgenc do not tell their length: ffmpeg finds most cuts, not all, and none crashes."""
    data = file.read_bytes()
    try:
        image = decode(data[: int(len(data) * part)])
    except InputError as error:
        assert str(error).endswith(".")
    else:
        assert image.pixels.size


def test_a_cut_file_of_ours_is_always_found_out() -> None:
    image = read((GOLDEN / "photo-161x97.png").read_bytes())
    data = BPG.backend("ffmpeg").encode(image, BPG.setting(29, "420", 1))
    for end in range(1, len(data), 97):
        with pytest.raises(InputError, match=r"\.$"):
            decode(data[:end])


def test_a_flipped_byte_is_found_where_a_hash_was_written() -> None:
    """The suffix text unit with the MD5 of the planes is kept and obeyed."""
    data = bytearray((GOLDEN / "hash-q29.bpg").read_bytes())
    assert decode(bytes(data))
    data[len(data) // 2] ^= 0x10
    with pytest.raises(InputError, match="corrupt or truncated"):
        decode(bytes(data))


def test_a_size_beyond_the_limit_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (GOLDEN / "ycbcr420-q29.bpg").read_bytes()
    huge = data[:6] + bytes.fromhex("83a960") * 2 + data[10:]  # 60000 x 60000
    assert (demux(huge).width, demux(huge).height) == (54496, 54496)
    with pytest.raises(InputError, match="KCOMPRESS_MAX_PIXELS"):
        decode(huge)
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "1000")
    with pytest.raises(InputError, match="192x144 pixels, more than the 1,000"):
        decode(data)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    st.sampled_from(FILES),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_damaged_files_end_well(file: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(file.read_bytes())
    for place, value in changes:
        data[place] = value
    try:
        image = decode(bytes(data))
    except InputError as error:
        assert not isinstance(error, UnsupportedError)
        assert str(error).endswith(".")
    else:
        assert image.pixels.size
