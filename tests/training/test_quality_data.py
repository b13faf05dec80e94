"""The distorted regions that VQscore learns from: targets, kinds, and a preparation that may be interrupted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import smooth
from PIL import Image as Pil

from kcompress.images import Pixels
from kcompress.metrics import METRICS
from kcompress.training import quality_data
from kcompress.training.quality_data import KINDS, KNEE, QualityData, distorted, prepare, source, target

SIDE = 40
QUICK = ["clean", "jpeg 1", "webp", "noise"]
COLUMNS = [[*KINDS].index(kind) for kind in QUICK]
WITH_AR = ["restored", "filtered"]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three photographs whose red and green tell the place of a pixel; regions are small."""
    monkeypatch.setattr(quality_data, "SIDE", SIDE)
    y, x = np.mgrid[0:100, 0:130].astype(np.uint8)
    paths = []
    for number in range(3):
        blue = smooth(130, 100)[:, :, number]
        paths.append(tmp_path / f"{number}.png")
        Pil.fromarray(np.dstack([y, x, blue])).save(paths[-1])
    return paths


def complete(photos: Sequence[Path], folder: Path, seed: int = 7, kinds: Sequence[str] = QUICK) -> QualityData:
    """Two regions of each photograph, in one go."""
    *_, (done, data) = prepare(photos, folder, 2, seed, kinds)
    assert done == 2 * len(photos)
    return data


def same(one: QualityData, other: QualityData) -> bool:
    return np.array_equal(one.scores, other.scores, equal_nan=True) and np.array_equal(one.pixels, other.pixels)


@given(st.lists(st.floats(-2000, 100), min_size=2, max_size=20))
def test_targets_keep_the_order_and_stay_between_0_and_100(scores: list[float]) -> None:
    ordered = np.sort(np.array(scores))
    found = target(ordered)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0 and found.max() <= 100
    assert np.array_equal(found[ordered >= KNEE], ordered[ordered >= KNEE])
    assert (found[ordered < KNEE] < KNEE).all() and (found[ordered < 0] > ordered[ordered < 0]).all()


def test_targets_are_smooth_at_the_knee() -> None:
    below, at, above = target(np.array([KNEE - 1e-4, KNEE, KNEE + 1e-4]))
    assert at == KNEE
    assert (at - below) == pytest.approx(above - at, rel=1e-4)
    assert target(np.array([0.0]))[0] == pytest.approx(KNEE / np.e)


def test_nan_is_no_target() -> None:
    assert np.isnan(target(np.array([np.nan, 50.0]))).tolist() == [True, False]


def test_every_region_comes_from_its_photograph_at_a_corner_of_blocks(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_data, "source", lambda random: [])  # the photograph as it is
    data = complete(photos, tmp_path / "data")
    assert data.pixels.shape == (6, len(KINDS), SIDE, SIDE, 3) and data.scores.shape == (6, len(KINDS))
    assert data.pictures.tolist() == [0, 0, 1, 1, 2, 2]
    corners = set()
    for region, number in enumerate(data.pictures):
        clean = data.pixels[region, 0]
        top, left = map(int, clean[0, 0, :2])
        picture = np.asarray(Pil.open(photos[number]))
        assert np.array_equal(clean, picture[top : top + SIDE, left : left + SIDE])
        assert top % 8 == left % 8 == 0
        corners.add((top, left))
    assert len(corners) == 6


def test_most_sources_stay_and_some_get_soft_or_noisy() -> None:
    random = np.random.default_rng(0)
    names = [" ".join(step.name.split()[0] for step in source(random)) for _ in range(2000)]
    assert set(names) == {"", "blur", "resampling", "noise", "blur noise", "resampling noise"}
    assert 0.72 < names.count("") / len(names) < 0.81


def test_scores_are_those_of_the_pixels(photos: list[Path], tmp_path: Path) -> None:
    data = complete(photos, tmp_path / "data")
    assert (data.scores[:, 0] == 100).all(), "clean"
    judge = METRICS["ssimulacra2"].scorer(np.ascontiguousarray(data.pixels[3, 0]))
    for column in COLUMNS[1:]:
        assert data.scores[3, column] == judge(np.ascontiguousarray(data.pixels[3, column])) < 100
    others = [column for column in range(len(KINDS)) if column not in COLUMNS]
    assert np.isnan(data.scores[:, others]).all() and not data.pixels[:, others].any()


def test_the_seed_decides(photos: list[Path], tmp_path: Path) -> None:
    first = complete(photos, tmp_path / "one")
    assert same(first, complete(photos, tmp_path / "two"))
    assert not same(first, complete(photos, tmp_path / "three", seed=8))


def failing_after(calls: int) -> Callable[..., Iterator[tuple[str, Pixels, float]]]:
    """``distorted`` until it has given so many pictures."""
    left = [calls]

    def interrupted(*arguments: Any) -> Iterator[tuple[str, Pixels, float]]:
        for found in distorted(*arguments):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            yield found

    return interrupted


@pytest.mark.parametrize("calls", [0, 1, len(QUICK), 2 * len(QUICK) + 1, 5 * len(QUICK)])
def test_an_interrupted_preparation_goes_on(
    photos: list[Path], tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = complete(photos, tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(quality_data, "distorted", failing_after(calls))
        complete(photos, tmp_path / "parts")
    assert same(complete(photos, tmp_path / "parts"), expected)


def test_what_is_done_is_not_done_again(photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = prepare(photos, tmp_path / "data", 2, 7, QUICK)
    done, _ = next(steps)
    steps.close()
    assert done == 2
    seeds: list[list[int]] = []

    def watched(clean: Pixels, seed: list[int], kinds: Sequence[str]) -> Iterator[tuple[str, Pixels, float]]:
        seeds.append(seed)
        return distorted(clean, seed, kinds)

    monkeypatch.setattr(quality_data, "distorted", watched)
    assert [done for done, _ in prepare(photos, tmp_path / "data", 2, 7, QUICK)] == [4, 6, 6]
    assert seeds == [[7, 2], [7, 3], [7, 4], [7, 5]]
    assert [done for done, _ in prepare(photos, tmp_path / "data", 2, 7, QUICK)] == [6]
    assert len(seeds) == 4


def test_kinds_may_be_made_at_another_time(photos: list[Path], tmp_path: Path) -> None:
    complete(photos, tmp_path / "parts", kinds=QUICK[:2])
    assert same(complete(photos, tmp_path / "parts", kinds=QUICK), complete(photos, tmp_path / "whole"))


def test_a_kind_does_not_depend_on_the_others() -> None:
    clean = smooth(48, 48)
    together = {kind: (pixels, score) for kind, pixels, score in distorted(clean, [1, 2], QUICK)}
    for kind in reversed(QUICK):
        ((_, pixels, score),) = distorted(clean, [1, 2], [kind])
        assert np.array_equal(pixels, together[kind][0]) and score == together[kind][1]


def test_every_kind_can_be_made(tiny_weights: Path, shipped: Callable[[Path], None]) -> None:
    shipped(tiny_weights)
    clean = smooth(48, 40)
    for seed in range(3):
        found = {kind: pixels for kind, pixels, _ in distorted(clean, [seed], [*KINDS])}
        assert list(found) == list(KINDS)
        assert all(pixels.shape == clean.shape and pixels.dtype == np.uint8 for pixels in found.values())
        unchanged = [kind for kind, pixels in found.items() if np.array_equal(pixels, clean)]
        assert unchanged == ["clean"]


def test_kinds_differ_in_their_steps() -> None:
    """Some compress once, some twice, some in a series; the qualities of the first three JPEGs do not overlap."""

    def names(kind: str) -> list[list[str]]:
        random = np.random.default_rng(0)
        return [[step.name for step in KINDS[kind](random)] for _ in range(150)]

    assert names("clean") == [[]] * 150
    for kind, low, high in (("jpeg 1", 5, 39), ("jpeg 2", 40, 74), ("jpeg 3", 75, 97)):
        qualities = [int(name.removeprefix("jpeg q=")) for (name,) in names(kind)]
        assert (min(qualities), max(qualities)) == (low, high)
    for kind in ("webp", "hevc"):
        assert all(len(steps) == 1 and steps[0].startswith(kind) for steps in names(kind))
    assert {len(steps) for steps in names("twice")} == {2}
    assert {len(steps) for steps in names("mixture 1")} == {2, 3}
    assert {steps[1] for steps in names("restored")} == {steps[0] for steps in names("filtered")} == {"ar"}
    camera = {"noise": {"noise"}, "blur": {"blur", "resampling"}, "sharpening": {"sharpening"}}
    for kind, expected in camera.items():
        assert {step.split()[0] for (step,) in names(kind)} == expected
    begins = {steps[0].split()[0].partition(":")[0] for steps in names("mixture 1")}
    assert begins == {"detail", "nlm"}.union(*camera.values())
    assert {steps[0].partition("=")[0] for steps in names("filter")} == {"detail", "nlm:h"}
    assert [kind for kind in KINDS if any("ar" in steps for steps in names(kind))] == WITH_AR
