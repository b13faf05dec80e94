"""Streams that end too early, hold more than they should, or lie about their size."""

import numpy as np
import pytest
from pictures import smooth

from kcompress.bitstream import annexb
from kcompress.codecs import x265
from kcompress.errors import InputError, ProgramError
from kcompress.planes import BOX, Planes, from_rgb, grey_planes

ENCODER = x265.FfmpegX265()


class Cutting:
    """An encoder that ends well and leaves something out."""

    name = "x265"
    install = ""

    def __init__(self, kept: object) -> None:
        self._kept = kept

    def version(self) -> str:
        return "1"

    def run(self, planes: Planes, preset: int, parameters: dict[str, str]) -> bytes:
        return self._kept(ENCODER.run(planes, preset, parameters))


def planes_of(sampling: str, side: int = 128) -> Planes:
    pixels = smooth(side, side)
    return grey_planes(pixels[:, :, 0]) if sampling == "400" else from_rgb(pixels, sampling, BOX)


def coded(planes: Planes, **more: str) -> list[bytes]:
    parameters = {"qp": "24", "keyint": "1", "info": "0", "range": "full", "colormatrix": "smpte170m"}
    return annexb.units(ENCODER.run(planes, 2, parameters | more))


def without_hash(data: bytes) -> bytes:
    return annexb.stream([unit for unit in annexb.units(data) if annexb.kind(unit) != annexb.SUFFIX_SEI])


@pytest.mark.parametrize("sampling", ["400", "420", "444"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.98])
def test_what_an_encoder_half_wrote_is_no_picture(sampling: str, share: float) -> None:
    def cut(data: bytes) -> bytes:
        whole = without_hash(data)
        return whole[: len(whole) - int((1 - share) * len(annexb.units(whole)[-1]))]

    with pytest.raises(ProgramError, match="no complete picture"):
        x265.encode(Cutting(cut), planes_of(sampling), 24, 2)


def test_an_encoder_that_writes_no_hash_is_judged_by_its_picture() -> None:
    planes = planes_of("420")
    whole = x265.encode(ENCODER, planes, 24, 2)
    assert x265.encode(Cutting(without_hash), planes, 24, 2) == whole
    # Neither costs a byte.
    assert whole == without_hash(whole)


@pytest.mark.parametrize("sampling", ["400", "420", "444"])
def test_a_stream_cut_anywhere_is_refused(sampling: str) -> None:
    units = annexb.units(x265.encode(ENCODER, planes_of(sampling), 24, 2))
    whole = x265.decode(annexb.stream(units))
    assert all(map(np.array_equal, x265.decode(annexb.stream(units), strict=True).all, whole.all))
    for end in (6, 20, len(units[-1]) // 2, len(units[-1]) - 4):
        with pytest.raises(InputError, match=r"truncated.*whole copy\.$"):
            x265.decode(annexb.stream([*units[:-1], units[-1][:end]]), strict=True)


@pytest.mark.parametrize("sampling", ["420", "444"])
def test_slices_have_to_cover_the_picture(sampling: str) -> None:
    units = coded(planes_of(sampling, 256), slices="3", wpp="1", ctu="16")
    slices = [unit for unit in units if annexb.is_slice(unit)]
    assert len(slices) == 3
    assert x265.decode(annexb.stream(units), strict=True).luma.shape == (256, 256)
    for missing in slices:
        with pytest.raises(InputError):
            x265.decode(annexb.stream([unit for unit in units if unit != missing]), strict=True)


def test_the_parameter_set_that_counts_is_the_one_the_picture_names(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (annexb.units(x265.encode(ENCODER, planes_of("420", side), 24, 2)) for side in (64, 256))
    # The large picture's sets replace the small one's before the first slice.
    stream = annexb.stream([*small[:3], *large])
    assert x265.decode(stream).luma.shape == (256, 256)
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "10000")
    assert x265.decode(annexb.stream(small)).luma.shape == (64, 64)
    with pytest.raises(InputError, match="256x256"):
        x265.decode(stream)
    # What follows the first picture is not looked at.
    assert x265.decode(annexb.stream([*small, *large])).luma.shape == (64, 64)


def test_the_first_picture_of_a_film_is_decoded_alone() -> None:
    units = annexb.units(x265.encode(ENCODER, planes_of("420"), 24, 2))
    film = annexb.stream(units * 3)
    assert all(map(np.array_equal, x265.decode(film, strict=True).all, x265.decode(annexb.stream(units)).all))


def test_without_the_sets_that_it_names_there_is_no_picture() -> None:
    units = annexb.units(x265.encode(ENCODER, planes_of("420", 64), 24, 2))
    assert annexb.first_picture(units).sps == next(unit for unit in units if annexb.kind(unit) == annexb.SPS)
    for number in (annexb.SPS, annexb.PPS, annexb.kind(units[-1])):
        with pytest.raises(ValueError, match=r"missing|no picture"):
            annexb.first_picture([unit for unit in units if annexb.kind(unit) != number])
    # A set that comes only behind the slices is none of theirs.
    with pytest.raises(ValueError, match="missing"):
        annexb.first_picture([units[0], units[1], units[3], units[2]])
