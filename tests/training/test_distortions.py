"""What happens to pictures on their way: every kind changes them, as much as its numbers say, the same every time."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pictures import EMBEDDED as EVERYWHERE
from pictures import psnr

from kcompress.codecs import CODECS
from kcompress.images import Image, Pixels
from kcompress.networks.loading import load
from kcompress.training.distortions import (
    EMBEDDED,
    Distortion,
    blur,
    compression,
    darkening,
    filtering,
    median,
    noise,
    preprocessing,
    random_compression,
    resampling,
    sharpening,
    through,
)

# From weak to strong, family by family.
FAMILIES = {
    "jpeg": [compression("jpeg", quality, "420") for quality in (95, 75, 40, 10)],
    "webp": [compression("webp", quality) for quality in (95, 60, 5)],
    "hevc": [compression("hevc", quality) for quality in (14, 30, 48)],
    "noise": [noise(sigma, 0, 5) for sigma in (1.5, 6, 25)],
    "grain": [noise(sigma, 1.2, 5) for sigma in (1.5, 6, 25)],
    "blur": [blur(sigma) for sigma in (0.4, 1, 3)],
    "resampling": [resampling(factor) for factor in (1.2, 2, 4)],
    "sharpening": [sharpening(percent, 1.5) for percent in (30, 100, 300)],
    "nlm": [filtering(f"nlm:h={strength}") for strength in (2, 6, 20)],
    "detail": [filtering("detail")],
    "bpg": [compression("bpg", quality) for quality in (14, 30, 48)],
    "avif": [compression("avif", quality) for quality in (95, 60, 5)],
    "median": [median(side) for side in (3, 5)],
    "bilateral": [filtering(f"bilateral:h={height}") for height in (3, 7, 20)],
    "darkening": [darkening(gamma) for gamma in (1.2, 2)],
    "kuchen": [
        preprocessing("kuchen", "jpeg"),
        preprocessing("kuchen", "jpeg", 50),
        preprocessing("kuchen", "jpeg", 10),
    ],
    "rdo": [preprocessing("rdo", "jpeg", quality) for quality in (90, 50, 15)],
    "feedback": [preprocessing("feedback", "webp", quality) for quality in (90, 50, 15)],
}
EVERY = [pytest.param(step, id=step.name) for steps in FAMILIES.values() for step in steps]


@pytest.fixture(scope="module")
def photo(lake: Image) -> Pixels:
    """(65, 90, 3): odd, and more than a block."""
    return np.ascontiguousarray(lake.pixels[150:215, 200:290])


@pytest.mark.parametrize("step", EVERY)
def test_it_changes_the_picture_the_same_way_every_time(step: Distortion, photo: Pixels) -> None:
    before = photo.copy()
    first, second = step.apply(photo), step.apply(photo)
    assert first.dtype == np.uint8 and first.shape == photo.shape
    assert np.array_equal(first, second)
    assert not np.array_equal(first, photo)
    assert np.array_equal(photo, before)
    assert psnr(first, photo) > 10, "it is still the same picture"


@pytest.mark.parametrize("family", [name for name, steps in FAMILIES.items() if len(steps) > 1])
def test_stronger_is_farther_from_the_picture(family: str, photo: Pixels) -> None:
    distances = [psnr(step.apply(photo), photo) for step in FAMILIES[family]]
    assert distances == sorted(set(distances), reverse=True)


def test_names_tell_kind_and_strength() -> None:
    assert [FAMILIES[name][0].name for name in ("jpeg", "webp", "hevc", "noise", "nlm")] == [
        "jpeg q=95 420", "webp q=95", "hevc q=14", "noise sigma=1.5 grain=0.0", "nlm:h=2",
    ]  # fmt: skip
    names = [step.values[0].name for step in EVERY]
    assert len(set(names)) == len(names)


def test_noise_has_the_strength_it_is_asked_for_and_follows_its_seed() -> None:
    flat = np.full((200, 200, 3), 128, np.uint8)
    for grain in (0, 0.6, 1.2):
        change = noise(9, grain, 1).apply(flat).astype(float) - 128
        assert change.std() == pytest.approx(9, rel=0.03)
        assert abs(change.mean()) < 0.5
        # Half of its variance is alike in all channels.
        assert np.corrcoef(change[:, :, 0].ravel(), change[:, :, 2].ravel())[0, 1] == pytest.approx(0.5, abs=0.06)
    assert not np.array_equal(noise(9, 0, 1).apply(flat), noise(9, 0, 2).apply(flat))


def test_grain_is_coarser_than_white_noise() -> None:
    flat = np.full((100, 100, 3), 128, np.uint8)

    def alike(grain: float) -> float:
        """Correlation of neighbours."""
        change = noise(9, grain, 1).apply(flat).astype(float)
        return float(np.corrcoef(change[:, 1:].ravel(), change[:, :-1].ravel())[0, 1])

    assert abs(alike(0)) < 0.05 < 0.3 < alike(0.6) < alike(1.2)


def test_noise_stays_within_0_and_255() -> None:
    """Values beyond the ends are clipped, not wrapped."""
    for level in (0, 255):
        change = np.abs(noise(20, 0, 1).apply(np.full((50, 50, 3), level, np.uint8)).astype(int) - level)
        assert change.max() < 120 and np.median(change) < 20


def test_resampling_keeps_the_size_of_pictures_too_small_for_it() -> None:
    tiny = np.random.default_rng(0).integers(0, 256, (9, 30, 3), dtype=np.uint8)
    assert resampling(4).apply(tiny).shape == tiny.shape


def test_a_preprocessor_comes_before_its_codec(photo: Pixels) -> None:
    alone = preprocessing("kuchen", "jpeg").apply(photo)
    coded = preprocessing("kuchen", "jpeg", 60).apply(photo)
    assert np.array_equal(coded, compression("jpeg", 60).apply(alone))
    plain = compression("jpeg", 60).apply(photo)
    all_of_it = load("kuchen", device="cpu", codec="jpeg", strength=1)
    assert np.array_equal(alone, all_of_it(Image(photo), CODECS["jpeg"].setting()).pixels)
    behind_rdo = preprocessing("rdo", "jpeg", 60).apply(photo)
    assert not np.array_equal(behind_rdo, plain)


def test_chroma_is_asked_for(photo: Pixels) -> None:
    """Fine colour stripes survive in 4:4:4 alone."""
    stripes = np.where(np.arange(64)[None, :, None] % 2, (200, 60, 60), (60, 60, 200)).astype(np.uint8)
    stripes = np.ascontiguousarray(np.repeat(stripes, 64, axis=0))
    sharp, soft = (psnr(compression("jpeg", 95, chroma).apply(stripes), stripes) for chroma in ("444", "420"))
    assert sharp > soft + 10


def test_it_does_not_depend_on_the_programs_that_are_installed(
    photo: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(EMBEDDED.values()) <= set(EVERYWHERE) and set(EMBEDDED) == set(CODECS)
    steps = [compression(codec, 30) for codec in EMBEDDED]
    before = [step.apply(photo) for step in steps]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert all(np.array_equal(step.apply(photo), old) for step, old in zip(steps, before, strict=True))


def test_random_compression_covers_codecs_and_qualities() -> None:
    random = np.random.default_rng(0)
    names = [random_compression(random).name.split() for _ in range(2000)]
    codecs = Counter(name[0] for name in names)
    assert codecs["jpeg"] == pytest.approx(1000, abs=100)
    assert codecs["webp"] == pytest.approx(500, abs=80) and codecs["hevc"] == pytest.approx(500, abs=80)
    chroma = Counter(name[2] for name in names if name[0] == "jpeg")
    assert set(chroma) == {"420", "444"} and chroma["444"] == pytest.approx(250, abs=60)
    for codec, low, high in (("jpeg", 5, 97), ("webp", 5, 97), ("hevc", 12, 49)):
        qualities = [int(name[1].removeprefix("q=")) for name in names if name[0] == codec]
        assert (min(qualities), max(qualities)) == (low, high)
        assert CODECS[codec].setting(low) and CODECS[codec].setting(high), "the codec takes them"


def test_the_codec_may_be_chosen_and_the_seed_decides_the_rest() -> None:
    def drawn(seed: int, codec: str | None = None) -> list[str]:
        random = np.random.default_rng(seed)
        return [random_compression(random, codec).name for _ in range(20)]

    for codec in EMBEDDED:
        low, high = (12, 49) if codec in ("hevc", "bpg") else (5, 97)
        assert all(low <= int(name.split()[1].removeprefix("q=")) <= high for name in drawn(0, codec))
        assert all(name.startswith(codec) for name in drawn(0, codec))
    assert drawn(0) == drawn(0) != drawn(1)


def test_steps_are_applied_one_after_the_other(photo: Pixels) -> None:
    first, second = compression("jpeg", 20), blur(1)
    assert np.array_equal(through(photo, [first, second]), second.apply(first.apply(photo)))
    assert not np.array_equal(through(photo, [first, second]), through(photo, [second, first]))
    assert through(photo, []) is photo
