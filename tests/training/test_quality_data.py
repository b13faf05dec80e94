"""The distorted regions that VQscore learns from: targets, kinds, and a preparation that may be interrupted."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import smooth
from PIL import Image as Pil

from kcompress.errors import InputError, UsageError
from kcompress.images import Image, Pixels
from kcompress.metrics import METRICS
from kcompress.pool import filter_named
from kcompress.training import quality_data
from kcompress.training.distortions import filtering, grey, half
from kcompress.training.drawn import page
from kcompress.training.judges import Judges
from kcompress.training.measure_quality import FILTERS
from kcompress.training.pointed_kinds import PAIRED, POINTED, POOL, PUBLISHED
from kcompress.training.quality_data import SOFT, JudgedRegions, distorted, is_sharp, prepare, sharpest
from kcompress.training.quality_kinds import KINDS, SOFTENING, source

SIDE = 40
QUICK = ["clean", "jpeg 1", "webp", "noise"]
JUDGES = ["ssimulacra2", "butteraugli"]
COLUMNS = [[*KINDS].index(kind) for kind in QUICK]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three photographs whose red and green tell the place of a pixel; regions are small."""
    monkeypatch.setattr(quality_data, "DRAWN", 0)
    monkeypatch.setattr(quality_data, "SHRUNK", 0)
    y, x = np.mgrid[0:100, 0:130].astype(np.uint8)
    paths = []
    for number in range(3):
        blue = smooth(130, 100)[:, :, number]
        paths.append(tmp_path / f"{number}.png")
        Pil.fromarray(np.dstack([y, x, blue])).save(paths[-1])
    return paths


def complete(photos: Sequence[Path], folder: Path, seed: int = 7, kinds: Sequence[str] = QUICK) -> JudgedRegions:
    """Two regions of each photograph, in one go."""
    *_, (done, data) = prepare(photos, folder, 2, SIDE, seed, JUDGES, kinds)
    assert done == 2 * len(photos)
    return data


def same(one: JudgedRegions, other: JudgedRegions) -> bool:
    return np.array_equal(one.scores, other.scores, equal_nan=True) and np.array_equal(one.pixels, other.pixels)


def test_every_region_comes_from_anywhere_in_its_photograph(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_data, "source", lambda random: [])  # the photograph as it is
    data = complete(photos, tmp_path / "data")
    assert data.pixels.shape == (6, len(KINDS), SIDE, SIDE, 3) and data.scores.shape == (6, len(KINDS), 2)
    assert data.pictures.tolist() == [0, 0, 1, 1, 2, 2]
    corners = set()
    for region, number in enumerate(data.pictures):
        clean = data.pixels[region, 0]
        top, left = map(int, clean[0, 0, :2])
        picture = np.asarray(Pil.open(photos[number]))
        assert np.array_equal(clean, picture[top : top + SIDE, left : left + SIDE])
        corners.add((top, left))
    assert len(corners) == 6 and any(top % 8 for top, _ in corners) and any(left % 8 for _, left in corners)


def test_some_photographs_are_made_smaller_first_and_some_regions_are_pages(
    photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quality_data, "source", lambda random: [])
    plain = complete(photos, tmp_path / "plain", kinds=["clean"])
    for name in ("SHRUNK", "DRAWN"):
        with monkeypatch.context() as patch:
            patch.setattr(quality_data, name, 1)
            other = complete(photos, tmp_path / name, kinds=["clean"])
        assert not any(np.array_equal(*pair) for pair in zip(plain.pixels[:, 0], other.pixels[:, 0], strict=True))
        steps = np.diff(other.pixels[:, 0, :, :, 1].astype(int), axis=2)
        assert (name == "SHRUNK") == bool((steps >= 0).all()), "green tells the column"


def test_pages_have_text_and_follow_the_seed() -> None:
    one, same, other = (page(96, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (96, 96, 3) and one.dtype == np.uint8
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert (np.abs(np.diff(one.astype(int), axis=1)).max(axis=2) > 40).mean() > 0.02, "edges of letters"


def test_a_folder_of_other_regions_is_refused(photos: list[Path], tmp_path: Path) -> None:
    complete(photos, tmp_path / "data", kinds=["clean"])
    for arguments in (
        (photos[:2], tmp_path / "data", 2, SIDE, 7, JUDGES), (photos, tmp_path / "data", 2, SIDE, 7, JUDGES[:1]),
        (photos, tmp_path / "data", 2, SIDE + 8, 7, JUDGES),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"holds 6 regions in .* or another --prepared"):
            next(prepare(*arguments))


def test_a_photograph_without_room_for_a_region_is_told(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"0.png has 130x100 pixels, no room for a region of 101"):
        next(prepare(photos, tmp_path / "data", 2, 101, 7, JUDGES))


def test_most_sources_stay_and_some_get_soft_noisy_or_grey() -> None:
    random = np.random.default_rng(0)
    names = [" ".join(step.name.split()[0] for step in source(random)) for _ in range(2000)]
    kinds = {
        name: sum(name in one.split() for one in names) / 2000
        for name in ("blur", "resampling", "darkening", "noise", "grey")
    }
    assert all(0.02 < share < 0.12 for share in kinds.values())
    assert {part for name in names for part in name.split()} == {*kinds}
    assert 0.7 < names.count("") / len(names) < 0.78


def test_scores_are_those_of_the_pixels(photos: list[Path], tmp_path: Path) -> None:
    data = complete(photos, tmp_path / "data")
    assert (data.scores[:, 0] == [100, 0]).all(), "clean"
    for number, name in enumerate(JUDGES):
        judge = METRICS[name].scorer(np.ascontiguousarray(data.pixels[3, 0]))
        for column in COLUMNS[1:]:
            assert data.scores[3, column, number] == judge(np.ascontiguousarray(data.pixels[3, column]))
    judges = Judges.fitted(JUDGES, data.scores[:, COLUMNS].reshape(-1, 2))
    known = data.judged_by(judges)
    assert known.pixels is data.pixels and known.pictures is data.pictures
    assert np.array_equal(known.targets, judges.mean(data.scores), equal_nan=True)
    assert (known.targets[:, 0] == 100).all() and (known.targets[:, COLUMNS[1:]] < 100).all()
    others = [column for column in range(len(KINDS)) if column not in COLUMNS]
    assert np.isnan(data.scores[:, others]).all() and not data.pixels[:, others].any()


def test_the_seed_decides(photos: list[Path], tmp_path: Path) -> None:
    first = complete(photos, tmp_path / "one")
    assert same(first, complete(photos, tmp_path / "two"))
    assert not same(first, complete(photos, tmp_path / "three", seed=8))


def failing_after(calls: int) -> Callable[..., Iterator[tuple[str, Pixels, dict[str, float]]]]:
    """``distorted`` until it has given so many pictures."""
    left = [calls]

    def interrupted(*arguments: Any) -> Iterator[tuple[str, Pixels, dict[str, float]]]:
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
    steps = prepare(photos, tmp_path / "data", 2, SIDE, 7, JUDGES, QUICK)
    done, _ = next(steps)
    steps.close()
    assert done == 1
    seeds: list[list[int]] = []

    def watched(clean: Pixels, seed: list[int], *arguments: Any) -> Iterator[tuple[str, Pixels, dict[str, float]]]:
        seeds.append(seed)
        return distorted(clean, seed, *arguments)

    monkeypatch.setattr(quality_data, "distorted", watched)
    assert [done for done, _ in prepare(photos, tmp_path / "data", 2, SIDE, 7, JUDGES, QUICK)] == [2, 3, 4, 5, 6, 6]
    assert seeds == [[7, 1], [7, 2], [7, 3], [7, 4], [7, 5]]
    assert [done for done, _ in prepare(photos, tmp_path / "data", 2, SIDE, 7, JUDGES, QUICK)] == [6]
    assert len(seeds) == 5


def test_kinds_may_be_made_at_another_time(photos: list[Path], tmp_path: Path) -> None:
    complete(photos, tmp_path / "parts", kinds=QUICK[:2])
    assert same(complete(photos, tmp_path / "parts", kinds=QUICK), complete(photos, tmp_path / "whole"))


def test_a_kind_does_not_depend_on_the_others() -> None:
    clean = smooth(48, 48)
    together = {kind: (pixels, score) for kind, pixels, score in distorted(clean, [1, 2], QUICK, JUDGES)}
    for kind in reversed(QUICK):
        ((_, pixels, score),) = distorted(clean, [1, 2], [kind], JUDGES)
        assert np.array_equal(pixels, together[kind][0]) and score == together[kind][1]


def test_every_kind_can_be_made() -> None:
    clean = smooth(48, 40)
    for seed in range(3):
        found = {kind: pixels for kind, pixels, _ in distorted(clean, [seed], [*KINDS], JUDGES)}
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
    for kind, codecs in (("webp", {"webp"}), ("hevc", {"hevc", "bpg"}), ("avif", {"avif"})):
        assert {step.split()[0] for (step,) in names(kind)} == codecs
    assert {len(steps) for steps in names("twice")} == {2}
    assert {len(steps) for steps in names("mixture 1")} == {2, 3}
    assert {steps[1] for steps in names("restored")} == {steps[0] for steps in names("filtered")} == {"ar"}
    camera = {"soft": {"blur"}, "noise": {"noise"}, "blur": {"blur", "resampling"}, "sharpening": {"sharpening"}}
    for kind, expected in camera.items():
        assert {step.split()[0] for (step,) in names(kind)} == expected
    smoothing = {"nlm", "bilateral", "median"}
    filters = {"detail", "ar", "shrink", "blur"} | smoothing
    firsts = {
        kind: {steps[0].split()[0].partition(":")[0] for steps in names(kind)} for kind in KINDS if kind != "clean"
    }
    assert firsts["filter 1"] == firsts["filter 2"] == filters
    assert firsts["mixture 1"] == filters.union(*camera.values())
    assert firsts["softened 1"] == firsts["softened 2"] == smoothing | {"blur"}
    assert firsts["filter 3"] == {"guided", "bilateral", "chroma", "sharpen"}
    assert firsts["kuchen 1"] == {"kuchen"} and firsts["preprocessed"] == {"rdo", "feedback", "shrink"}
    alone = [len(steps[0].split()) == 2 for steps in names("kuchen 1")]
    assert 0.2 < np.mean(alone) < 0.4
    assert set(SOFTENING) < {*KINDS, *POINTED, *POOL, *PUBLISHED}


def test_a_photograph_has_a_sharp_place_and_blurred_it_has_none(lake: Image, balloons: Image) -> None:
    for picture in (lake, balloons):
        sharp = [sharpest(filter_named(f"blur:s={sigma}").apply(picture.pixels)) for sigma in (0.3, 0.6, 0.9, 1.2)]
        assert sharpest(picture.pixels) >= sharp[0] and sharp == sorted(sharp, reverse=True)
        assert is_sharp(picture.pixels) and sharp[-1] < SOFT
    half = lake.pixels.copy()
    half[:, :200] = filter_named("blur:s=2").apply(half)[:, :200]
    assert is_sharp(half), "shallow depth of field"


def test_every_pointed_kind_is_soft_or_faint() -> None:
    clean = smooth(48, 40)
    found = {kind: pixels for kind, pixels, _ in distorted(clean, [1], [*POINTED], JUDGES, POINTED)}
    assert list(found) == list(POINTED) and np.array_equal(found["clean"], clean)
    random = np.random.default_rng(0)
    steps = {
        kind: {step.name.split()[0].split(":")[0] for _ in range(60) for step in make(random)}
        for kind, make in POINTED.items()
    }
    codecs = {"jpeg", "webp"}
    assert steps["soft"] == {"blur"} and steps["soft, coded"] == {"blur", *codecs} and steps["coded"] == codecs
    assert steps["soft, restored"] == {"blur", "ar", "jpeg"}
    assert steps["kuchen, jpeg"] == steps["kuchen"] == {"kuchen"}
    faint = {"nlm", "guided", "bilateral", "shrink", "chroma", "ar", "detail", "sharpen"}
    assert steps["filtered, coded"] == faint | codecs
    alone = [steps[kind] for kind in ("denoised", "smoothed", "thinned", "restored", "sharpened")]
    assert set().union(*alone) == faint and sum(map(len, alone)) == len(faint)


def test_every_quick_filter_of_the_pool_is_a_kind_at_its_default_and_around_it() -> None:
    random = np.random.default_rng(0)
    steps = {kind: {make(random)[0].name for _ in range(60)} for kind, make in POOL.items() if kind != "clean"}
    families = [{step.split(":")[0] for step in names} for names in steps.values()]
    assert all(len(family) == 1 for family in families)
    assert sorted(name for family in families for name in family) == sorted({name.split(":")[0] for name in FILTERS})
    for kind in ("ar", "bilateral", "guided", "chroma", "sharpen"):
        assert {kind} < steps[kind]
    for kind in ("nlm", "gaussian", "bilateral", "sharpen"):
        assert len(steps[kind]) > 20
    assert len(POOL["clean"](random)) == 0


def test_published_kinds_are_noisy_filtered_and_coded_in_this_order() -> None:
    random = np.random.default_rng(0)
    drawn = {
        kind: [[step.name.split()[0].split(":")[0] for step in make(random)] for _ in range(80)]
        for kind, make in PUBLISHED.items()
    }
    filters = {"nlm", "guided", "bilateral", "shrink", "chroma", "ar"}
    for kind, every in drawn.items():
        assert all(steps[:2] == ["noise", "jpeg"] for steps in every) is kind.startswith("published")
        assert all(bool(steps) and steps[-1] in ("jpeg", "webp") for steps in every) is (
            "coded" in kind or kind == "published"
        )
        between = {step for steps in every for step in steps[2 * kind.startswith("published") :]} - {"jpeg", "webp"}
        assert between == (
            filters if "cleaned" in kind else {"guided"} if "wide" in kind else
            {"blur", "chroma"} if "mild" in kind else set()
        )  # fmt: skip
    radii = [int(step.name.split(":")[1][2:]) for _ in range(80) for step in PUBLISHED["wide"](random)]
    assert min(radii) < 5 and max(radii) > 16, "wider than those of POOL"


def test_paired_kinds_share_camera_and_codec_and_differ_by_the_filter() -> None:
    seen = set()
    for seed in range(40):
        steps = {kind: [step.name for step in make(np.random.default_rng(seed))] for kind, make in PAIRED.items()}
        assert steps.pop("clean") == []
        *before, codec = steps.pop("coded")
        *same, finer = steps.pop("finer")
        assert same == before and finer != codec and finer.split()[0] == codec.split()[0]
        assert all(each[:-2] == before and each[-1] == codec for each in steps.values())
        assert [name.split()[0] for name in before] in ([], ["noise", "jpeg"])
        filters = [each[-2].replace("half ", "").split()[0].split(":")[0] for each in steps.values()]
        assert set(filters) - {"nlm", "bilateral"} == {"shrink", "guided", "blur", "chroma", "ar"}
        seen |= {codec.split()[0], *filters, len(before)}
    assert {"jpeg", "webp", "hevc", "nlm", "bilateral", 0, 2} <= seen


def test_paired_regions_are_made_from_one_seed() -> None:
    clean = smooth(48, 40)
    found = {kind: pixels for kind, pixels, _ in distorted(clean, [1], ["coded", "guided 3"], JUDGES, PAIRED)}
    assert not np.array_equal(found["coded"], found["guided 3"])
    for kind, pixels in found.items():
        again = clean
        for step in PAIRED[kind](np.random.default_rng([1])):
            again = step.apply(again)
        assert np.array_equal(pixels, again)


def test_half_a_filter_is_half_way(lake: Image) -> None:
    whole = filtering("guided:s=4:h=12")
    far, near = (each.apply(lake.pixels).astype(int) - lake.pixels for each in (whole, half(whole)))
    assert np.abs(far - 2 * near).max() <= 1 and np.abs(near).max() > 2
    assert half(whole).name == "half guided:s=4:h=12"


def test_a_picture_may_have_no_colour(lake: Image) -> None:
    made = grey().apply(lake.pixels)
    luma = np.asarray(Pil.fromarray(lake.pixels).convert("L"), np.int16)
    assert np.ptp(made, axis=2).max() == 0 and np.abs(made[..., 0] - luma).max() <= 1


def test_a_folder_may_hold_the_pointed_kinds(photos: list[Path], tmp_path: Path) -> None:
    *_, (_, data) = prepare(photos, tmp_path / "data", 1, SIDE, 7, JUDGES, ["clean", "coded"], POINTED)
    assert data.pixels.shape[:2] == (3, len(POINTED)) and data.kinds == tuple(POINTED)
    made = [[*POINTED].index(kind) for kind in ("clean", "coded")]
    assert np.flatnonzero(~np.isnan(data.scores).any(axis=(0, 2))).tolist() == made
