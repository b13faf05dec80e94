import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import BACKENDS, EMBEDDED, in_grey, psnr, smooth

from kcompress import programs
from kcompress.codecs import CODECS, Backend, Codec, decode
from kcompress.encoding import encode
from kcompress.errors import InputError, MissingProgramError, UnsupportedError, UsageError
from kcompress.images import Image

pytestmark = pytest.mark.encoders

WAYS = pytest.mark.parametrize(("codec", "backend"), BACKENDS)
EVERY_CODEC = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))
FINE = {"jpeg": 92, "webp": 92, "hevc": 14, "bpg": 17, "avif": 90}
LADDERS = {"jpeg": (95, 80, 60, 35, 10), "webp": (95, 80, 60, 35, 5), "hevc": (12, 20, 28, 36, 44),
           "avif": (95, 80, 60, 35, 10)}  # fmt: skip
LADDERS["bpg"] = LADDERS["hevc"]


def fast(codec: Codec) -> int:
    """An effort that takes little time."""
    return codec.effort.finest


def round_trip(codec: Codec, backend: Backend, image: Image, quality: int, chroma: str | None = None) -> Image:
    setting = codec.setting(quality, chroma, fast(codec))
    return decode(encode(image, codec, setting, backend=backend.name).data)


PLANAR = [way for way in BACKENDS if way.values[1].name in ("x265", "ffmpeg")]


@pytest.mark.parametrize(("codec", "backend"), PLANAR)
def test_while_an_encoder_works_on_planes_nothing_holds_the_pixels(
    codec: Codec, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.version()  # which runs programs, too
    made: list[weakref.ref[Any]] = []
    held: list[bool] = []
    run = programs._run

    def picture() -> Image:
        pixels = smooth(64, 64).copy()
        made.append(weakref.ref(pixels))
        return Image(pixels, alpha=pixels[:, :, 0].copy())

    def watched(*arguments: Any) -> Any:
        held.append(made[0]() is not None)
        return run(*arguments)

    monkeypatch.setattr(programs, "_run", watched)
    data = encode(picture(), codec, codec.setting(effort=fast(codec)), backend=backend.name).data
    assert held and not any(held)
    assert decode(data).alpha is not None


def untaken(backend: Backend, image: Image) -> bool:
    return backend.refuses(image) is not None


@WAYS
@pytest.mark.parametrize("kind", ["lake", "balloons", "grey", "alpha", "one_pixel", "thin"])
def test_round_trip(codec: Codec, backend: Backend, kind: str, request: pytest.FixtureRequest) -> None:
    image: Image = request.getfixturevalue(kind)
    if untaken(backend, image):
        with pytest.raises(UnsupportedError, match=f"--backend {backend.name}"):
            round_trip(codec, backend, image, FINE[codec.name])
        return
    if image.alpha is not None and not codec.alpha:
        with pytest.raises(UnsupportedError, match="--background"):
            round_trip(codec, backend, image, FINE[codec.name])
        return
    for chroma in backend.chromas or codec.chromas:
        back = round_trip(codec, backend, image, FINE[codec.name], chroma)
        assert back.pixels.shape == image.pixels.shape
        assert psnr(back.pixels, image.pixels) > 31
        assert np.abs(back.pixels.mean(axis=(0, 1)) - image.pixels.mean(axis=(0, 1))).max() <= 3
        assert (back.alpha is None) == (image.alpha is None)
        if image.alpha is not None and back.alpha is not None:
            assert psnr(back.alpha, image.alpha) > 38
        # WebP has no grey: its pixels are still without colour.
        assert back.grey == (image.grey and codec.grey)
        if image.grey:
            assert psnr(in_grey(back).pixels, back.pixels) > 50


@WAYS
@pytest.mark.parametrize("size", [(3, 9000), (9000, 3), (1, 1), (2, 2), (8, 8), (9, 64), (65, 33)], ids=str)
def test_extreme_sizes(codec: Codec, backend: Backend, size: tuple[int, int]) -> None:
    image = Image(smooth(*size))
    if untaken(backend, image):
        pytest.skip(f"{backend.name} refuses it")
    back = round_trip(codec, backend, image, FINE[codec.name])
    assert (back.width, back.height) == size
    assert psnr(back.pixels, image.pixels) > 27


@pytest.mark.parametrize("side", [4208, 4209, 4216, 4217, 4300])
@pytest.mark.parametrize("other", [3, 20, 25])
@pytest.mark.parametrize("codec", ["hevc", "bpg"])
def test_long_and_thin_where_hevc_changes_its_level(codec: str, side: int, other: int) -> None:
    """From level 5 on, H.265 wants coding tree units of 32 at least."""
    image = Image(smooth(side, other))
    back = round_trip(CODECS[codec], CODECS[codec].backend(), image, 20)
    assert back.pixels.shape == image.pixels.shape
    assert psnr(back.pixels, image.pixels) > 27


@WAYS
def test_a_lower_quality_is_a_smaller_and_worse_file(codec: Codec, backend: Backend, balloons: Image) -> None:
    files = [backend.encode(balloons, codec.setting(quality, effort=fast(codec))) for quality in LADDERS[codec.name]]
    sizes = [len(data) for data in files]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 4
    errors = [psnr(decode(data).pixels, balloons.pixels) for data in files]
    assert errors == sorted(errors, reverse=True)


@WAYS
def test_neighbouring_qualities_differ(codec: Codec, backend: Backend, balloons: Image) -> None:
    middle = codec.quality.default
    one = 2 if codec.name == "avif" else 1  # of its 101 qualities some pairs are one of AV1's 64 quantisers
    files = {backend.encode(balloons, codec.setting(middle + step, effort=fast(codec))) for step in (-one, 0, one)}
    assert len(files) == 3


@WAYS
def test_effort_and_chroma_change_the_file(codec: Codec, backend: Backend, balloons: Image) -> None:
    lowest, highest = codec.effort.finest, min(codec.effort.finest + 4, codec.effort.coarsest)
    few, much = (backend.encode(balloons, codec.setting(effort=effort)) for effort in (lowest, highest))
    assert few != much
    chromas = backend.chromas or codec.chromas
    files = {backend.encode(balloons, codec.setting(chroma=chroma, effort=lowest)) for chroma in chromas}
    assert len(files) == len(chromas)
    for chroma in set(codec.chromas) - set(chromas):
        with pytest.raises(UsageError, match=f"--chroma {chroma}: the backend {backend.name} has only"):
            codec.backend(backend.name, setting=codec.setting(chroma=chroma))


@WAYS
def test_the_same_picture_gives_the_same_bytes(codec: Codec, backend: Backend, balloons: Image) -> None:
    setting = codec.setting(effort=fast(codec))
    assert backend.encode(balloons, setting) == backend.encode(balloons, setting)


@EVERY_CODEC
def test_values_off_the_scales_name_the_allowed_ones(codec: Codec) -> None:
    for scale, option in ((codec.quality, "quality"), (codec.effort, "effort")):
        low, high = sorted((scale.finest, scale.coarsest))
        for value in (low - 1, high + 1, -1000, 1000):
            with pytest.raises(UsageError, match=rf"--{option} {value} .* Allowed: {low}\.\.{high}\."):
                codec.setting(**{option: value})
        for value in (low, high, None):
            assert codec.setting(**{option: value})
    with pytest.raises(UsageError, match=r"--chroma 411 is not known\. Allowed: 420, 444"):
        codec.setting(chroma="411")


def test_webp_has_no_444() -> None:
    with pytest.raises(UsageError, match="--chroma 444: webp has only 420"):
        CODECS["webp"].setting(chroma="444")


@EVERY_CODEC
def test_coarseness_runs_from_finest_to_coarsest(codec: Codec) -> None:
    assert codec.setting(codec.quality.finest).coarseness == 0
    assert codec.setting(codec.quality.coarsest).coarseness == 1
    assert 0 < codec.setting().coarseness < 1


@EVERY_CODEC
@pytest.mark.parametrize("turned", [False, True])
def test_sides_beyond_the_limit_are_refused_before_any_work(codec: Codec, turned: bool) -> None:
    def of(side: int) -> Image:
        # Square and of one byte in memory: any work on it would not end well.
        shape = (side, codec.max_side, 3) if turned else (codec.max_side, side, 3)
        return Image(np.broadcast_to(np.zeros((), np.uint8), shape))

    with pytest.raises(UnsupportedError, match=f"at most {codec.max_side}"):
        encode(of(codec.max_side + 1), codec, codec.setting())
    assert codec.conformed(of(codec.max_side)).pixels.size


@EVERY_CODEC
def test_the_longest_side_is_possible(codec: Codec) -> None:
    """What the limit allows, the embedded encoders can do."""
    image = Image(np.full((1, codec.max_side, 3), 90, np.uint8))
    backend = next(way for way in codec.backends if way.name in EMBEDDED)
    back = round_trip(codec, backend, image, codec.quality.default)
    assert (back.width, back.height) == (codec.max_side, 1)


@EVERY_CODEC
def test_an_unknown_backend_names_the_known(codec: Codec) -> None:
    with pytest.raises(UsageError, match=f"--backend guess: {codec.name} has none of this name. Allowed: auto, "):
        codec.backend("guess")


@pytest.mark.parametrize(
    ("codec", "name"),
    [("jpeg", "cjpeg"), ("webp", "cwebp"), ("hevc", "x265"), ("bpg", "bpgenc"), ("avif", "avifenc")],
)
def test_a_missing_program_says_how_to_get_it(
    codec: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balloons: Image
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingProgramError, match=rf"--backend {name} is not installed\. (Debian: apt install|Build )"):
        encode(balloons, CODECS[codec], CODECS[codec].setting(), backend=name)


@EVERY_CODEC
def test_without_any_program_the_embedded_encoders_do_it(
    codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, balloons: Image
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    encoded = encode(balloons, codec, codec.setting(effort=fast(codec)))
    assert encoded.backend in EMBEDDED
    assert encoded.version
    assert encoded.bpp == 8 * len(encoded.data) / (333 * 217)
    assert decode(encoded.data).width == 333


@EVERY_CODEC
def test_no_backend_at_all(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    programs = tuple(backend for backend in codec.backends if backend.name not in EMBEDDED)
    with pytest.raises(MissingProgramError, match=f"no encoder for {codec.name} is installed"):
        replace(codec, backends=programs).backend()


def test_bpgenc_is_passed_by_for_narrow_pictures(thin: Image, balloons: Image) -> None:
    bpgenc = CODECS["bpg"].backends[0]
    assert bpgenc.refuses(thin)
    assert bpgenc.refuses(balloons) is None
    assert CODECS["bpg"].backend("auto", thin).name != "bpgenc"


RAW = pytest.mark.parametrize(("codec", "backend"), [way for way in BACKENDS if str(way.id).startswith("hevc")])


@RAW
@pytest.mark.parametrize(("chroma", "size"), [("420", (334, 218)), ("444", (333, 217))])
def test_a_bare_stream(codec: Codec, backend: Backend, chroma: str, size: tuple[int, int], balloons: Image) -> None:
    encoded = encode(balloons, codec, codec.setting(12, chroma, 1, raw=True), backend=backend.name)
    assert encoded.data.startswith(b"\0\0\0\1")
    back = decode(encoded.data)
    assert (back.width, back.height) == size
    assert psnr(back.pixels[:217, :333], balloons.pixels) > 31
    # The last column is there twice.
    assert np.abs(back.pixels[:, 332].astype(int) - back.pixels[:, -1]).mean() < 4
    assert [note.split(":")[0] for note in encoded.notes] == (["a bare 4"] if chroma == "420" else [])


@RAW
def test_a_bare_stream_of_one_plane(codec: Codec, backend: Backend, grey: Image) -> None:
    encoded = encode(grey, codec, codec.setting(12, effort=1, raw=True), backend=backend.name)
    back = decode(encoded.data)
    assert (back.width, back.height, back.grey) == (101, 67, True)
    assert psnr(back.pixels, grey.pixels) > 38
    assert encoded.notes == ()


def test_a_bare_stream_tells_what_it_leaves_out(alpha: Image) -> None:
    hevc = CODECS["hevc"]
    encoded = encode(replace(alpha, xmp=b"<x/>"), hevc, hevc.setting(30, "444", 0, raw=True), backend="ffmpeg")
    assert [note.split(" (")[0] for note in encoded.notes] == [
        "a bare stream has no alpha channel: it was left out",
        "a bare stream has no metadata: profile, EXIF and XMP were left out",
    ]


@pytest.mark.parametrize("part", [0.005, 0.02, 0.1, 0.5, 0.9])
def test_a_cut_bare_stream_ends_well(part: float, balloons: Image) -> None:
    """Only a container tells the length: of a bare slice, ffmpeg decodes what there is without a complaint."""
    hevc = CODECS["hevc"]
    data = encode(balloons, hevc, hevc.setting(30, effort=0, raw=True), backend="ffmpeg").data
    try:
        image = decode(data[: int(len(data) * part)])
    except InputError as error:
        assert str(error).endswith(".")
    else:
        assert part > 0.01
        assert (image.width, image.height) == (334, 218)


@cache
def bare() -> bytes:
    hevc = CODECS["hevc"]
    return encode(Image(smooth(40, 40)), hevc, hevc.setting(30, effort=0, raw=True), backend="ffmpeg").data


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 110), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_bare_stream_ends_well(changes: list[tuple[int, int]]) -> None:
    data = bytearray(bare())
    for place, value in changes:
        data[place] = value
    try:
        image = decode(bytes(data))
    except InputError as error:
        assert str(error).endswith(".")
    else:
        assert image.pixels.size


@pytest.mark.parametrize(
    ("codec", "name"),
    [("jpeg", "pillow"), ("webp", "pillow"), ("hevc", "ffmpeg"), ("bpg", "ffmpeg"), ("avif", "pillow")],
)
@settings(deadline=None, max_examples=15, derandomize=True)
@given(width=st.integers(1, 80), height=st.integers(1, 80), place=st.floats(0, 1), finest_chroma=st.booleans())
def test_any_small_size_and_quality(
    codec: str, name: str, width: int, height: int, place: float, finest_chroma: bool
) -> None:
    chosen = CODECS[codec]
    scale = chosen.quality
    quality = round(scale.finest + place * (scale.coarsest - scale.finest))
    image = Image(smooth(width, height))
    back = round_trip(chosen, chosen.backend(name), image, quality, chosen.chromas[-1 if finest_chroma else 0])
    assert back.pixels.shape == image.pixels.shape
    assert psnr(back.pixels, image.pixels) > 14
