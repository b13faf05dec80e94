"""Pictures in HEIC and AVIF that are larger than they tell, or end early."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import smooth
from PIL import Image as Pil

from kcompress.bitstream import annexb
from kcompress.codecs import decode, x265
from kcompress.codecs.containers import heif
from kcompress.errors import KcompressError
from kcompress.images import read
from kcompress.planes import BOX, from_rgb, grey_planes

FEW = settings(deadline=None, max_examples=200, derandomize=True)


def stream(side: int = 128, grey: bool = False) -> bytes:
    pixels = smooth(side, side)
    planes = grey_planes(pixels[:, :, 0]) if grey else from_rgb(pixels, "420", BOX)
    return x265.encode(x265.FfmpegX265(), planes, 26, 1)


def cut(data: bytes, share: float) -> bytes:
    *sets, picture = annexb.units(data)
    return annexb.stream([*sets, picture[: int(share * len(picture))]])


def avif(side: int) -> bytes:
    output = io.BytesIO()
    Pil.fromarray(smooth(side, side)).save(output, "AVIF", quality=40, speed=10)
    return output.getvalue()


def telling(data: bytes, width: int, height: int) -> bytes:
    """With other sizes in its ``ispe``."""
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


@pytest.fixture(scope="module")
def whole() -> heif.Heif:
    return heif.Heif(128, 128, stream(), stream(grey=True))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.97])
@pytest.mark.parametrize("part", ["picture", "alpha"])
def test_hevc_that_ends_early_is_refused(whole: heif.Heif, part: str, share: float) -> None:
    assert read(heif.mux(whole)).alpha is not None
    data = heif.mux(replace(whole, **{part: cut(getattr(whole, part), share)}))
    for reader in (read, lambda data: decode(data, strict=True)):
        with pytest.raises(KcompressError, match=r"is truncated.*whole copy\.$"):
            reader(data)


def test_what_was_just_written_is_not_examined_again(whole: heif.Heif, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heif.mux(whole)
    monkeypatch.setattr("kcompress.images.coded.check_whole", lambda *_: pytest.fail("examined"))
    assert decode(data).pixels.shape == (128, 128, 3)


def test_the_limit_holds_for_what_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "10000")
    honest = heif.mux(heif.Heif(64, 64, stream(64)))
    assert read(honest).width == read(avif(64)).width == 64
    for lying in (telling(heif.mux(heif.Heif(256, 256, stream(256))), 64, 64), telling(avif(256), 64, 64)):
        with pytest.raises(KcompressError, match="256x256 pixels, more than"):
            read(lying)


@pytest.mark.parametrize("told", [(64, 32), (16000, 16000), (65, 64)])
def test_an_avif_of_another_size_than_it_tells_is_refused(told: tuple[int, int]) -> None:
    with pytest.raises(KcompressError, match=rf"{told[0]}x{told[1]} pixels are told, and coded are 64x64"):
        read(telling(avif(64), *told))


def test_the_limit_holds_for_films(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.BytesIO()
    frames = [Pil.fromarray(smooth(256, 256)).rotate(turn) for turn in (0, 90)]
    frames[0].save(output, "AVIF", save_all=True, append_images=frames[1:], speed=10)
    data = output.getvalue()
    for place in range(len(data)):  # the boxes lie, the frames do not
        if data[place : place + 4] == b"ispe":
            data = data[: place + 8] + struct.pack(">II", 64, 64) + data[place + 16 :]
    assert read(output.getvalue(), frame=1).width == 256
    monkeypatch.setenv("KCOMPRESS_MAX_PIXELS", "10000")
    with pytest.raises(KcompressError, match="256x256"):
        read(data, frame=1)


FILES = (heif.mux(heif.Heif(64, 64, stream(64))), avif(64))


@FEW
@given(
    st.sampled_from(range(2)), st.lists(st.tuples(st.integers(0, 500), st.binary(min_size=1, max_size=4)), max_size=4)
)
def test_changed_boxes_end_well(which: int, changes: list[tuple[int, bytes]]) -> None:
    data = bytearray(FILES[which])
    for place, content in changes:
        data[place : place + len(content)] = content
    try:
        image = read(bytes(data), frame=0, strict=False)
    except KcompressError as error:
        assert str(error).endswith(".")
        return
    assert image.pixels.dtype == np.uint8
