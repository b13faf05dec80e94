"""One picture: every row by hand, filters applied once, failures that stay where they are."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from math import comb, perm
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labeling.tools import Filters, pixels, plan, save
from pictures import smooth

from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session, encode
from kcompress.errors import KcompressError, ProgramError, ProgramTimeoutError, UsageError
from kcompress.images import Image, Pixels, luma, read_canonical
from kcompress.labeling import picture
from kcompress.labeling.decision import choose
from kcompress.labeling.picture import Labelled, label_picture
from kcompress.labeling.plan import Patches, Plan
from kcompress.labels import Row
from kcompress.metrics import METRICS
from kcompress.pool.detail import detail
from kcompress.pool.nonlocal_means import nonlocal_means

BY_HAND: dict[str, Callable[[Pixels], Pixels]] = {
    "identity": lambda pixels: pixels,
    "nlm": nonlocal_means,
    "detail": detail,
    "nlm+detail": lambda pixels: detail(nonlocal_means(pixels)),
    "detail+nlm": lambda pixels: nonlocal_means(detail(pixels)),
}


def rows_of(found: Labelled) -> dict[str, Row]:
    assert not found.error
    assert len({row.group for row in found.rows}) == len(found.rows)
    return {row.group: row for row in found.rows}


def chosen(found: Labelled) -> Row:
    (row,) = [row for row in found.rows if row.chosen]
    return row


def compressed(image: Image, plan: Plan) -> bytes:
    return encode(image, plan.chosen_codec, plan.setting, None, plan.backend).data


@pytest.mark.parametrize(
    "changes",
    [{}, {"codec": "webp", "quality": 40}, {"quality": 20, "ordered": True}],
    ids=["jpeg", "webp", "low, ordered"],
)
def test_a_row_is_what_filter_codec_and_metrics_say(photos: Path, photo: Pixels, changes: dict) -> None:
    this = plan(photos, metrics=("psnr", "ssimulacra2"), **changes)
    rows = rows_of(label_picture(this, "a.png"))
    assert list(rows) == list(BY_HAND)[: 5 if this.ordered else 4]
    backend = CODECS[this.codec].backend("pillow")
    for group, row in rows.items():
        data = compressed(Image(BY_HAND[group](photo)), this)
        back = decode(data).pixels
        assert (row.bytes, row.bpp) == (len(data), 8 * len(data) / (64 * 48))
        assert row.scores == {name: METRICS[name].scorer(photo)(back) for name in ("psnr", "ssimulacra2")}
        assert (row.path, row.sha256) == ("a.png", hashlib.sha256((photos / "a.png").read_bytes()).hexdigest())
        assert (row.patch, row.left, row.top, row.width, row.height) == ("", 0, 0, 64, 48)
        assert (row.codec, row.backend, row.version) == (this.codec, "pillow", backend.version())
        assert row.quality == this.quality
        assert row.seconds >= 0 and row.error == ""


def test_the_first_metric_decides_and_the_groups_of_one_picture_compete(photos: Path) -> None:
    for metrics in (("psnr", "ssimulacra2"), ("ssimulacra2", "psnr")):
        found = label_picture(plan(photos, metrics=metrics, pool=("nlm", "nlm:h=20", "detail")), "a.png")
        bare = [replace(row, z_quality=None, z_bpp=None, score=None, chosen=0, label="") for row in found.rows]
        judged = choose(bare, metrics[0], higher_is_better=True)
        assert [replace(row, label="") for row in found.rows] == judged
        assert chosen(found).score == max(row.score for row in found.rows)


@pytest.mark.skipif(not METRICS["butteraugli"].available(), reason="butteraugli is not installed")
def test_of_butteraugli_less_is_better(photos: Path) -> None:
    rows = rows_of(label_picture(plan(photos, metrics=("butteraugli", "psnr")), "a.png"))
    by_score = sorted(rows.values(), key=lambda row: row.scores["butteraugli"])
    assert [row.z_quality for row in by_score] == sorted((row.z_quality for row in rows.values()), reverse=True)


def test_plus_turns_the_choice_round(photos: Path) -> None:
    minus, plus = (label_picture(plan(photos, pool=("detail",), rate_weight=weight), "a.png") for weight in (1, -1))
    assert [row.score for row in minus.rows] == [row.z_quality - row.z_bpp for row in minus.rows]
    assert [row.score for row in plus.rows] == [row.z_quality + row.z_bpp for row in plus.rows]


@pytest.mark.parametrize(("longest", "ordered"), [(1, False), (2, False), (3, False), (2, True), (3, True)])
def test_filters_share_what_they_begin_with(photos: Path, filters: Filters, longest: int, ordered: bool) -> None:
    filters.add("red", lambda pixels: pixels // np.array([1, 2, 2], np.uint8))
    this = plan(photos, pool=("red", "nlm", "detail"), longest=longest, ordered=ordered)
    assert len(rows_of(label_picture(this, "a.png"))) == len(this.groups)
    ways = perm if ordered else comb
    assert filters.calls.total() == sum(ways(3, length) for length in range(1, longest + 1))


def test_filters_are_applied_in_the_order_of_the_groups_name(photos: Path, photo: Pixels, filters: Filters) -> None:
    filters.add("half", lambda pixels: pixels // 2)
    filters.add("more", lambda pixels: np.minimum(pixels, 205) + np.uint8(50))
    this = plan(photos, pool=("half", "more"), ordered=True)
    rows = rows_of(label_picture(this, "a.png"))
    assert rows["half+more"].bytes == len(compressed(Image(photo // 2 + np.uint8(50)), this))
    assert rows["more+half"].bytes == len(compressed(Image((np.minimum(photo, 205) + np.uint8(50)) // 2), this))
    assert rows["half+more"].scores != rows["more+half"].scores


def test_the_label_is_the_picture_before_the_codec(photos: Path, photo: Pixels) -> None:
    # Of two groups that trade quality for size, the smaller file wins.
    found = label_picture(plan(photos, pool=("nlm:h=10",)), "a.png")
    assert chosen(found).group == "nlm:h=10"
    ((name, png),) = found.pictures
    assert name == chosen(found).label == "pictures/a.png.png"
    assert png.startswith(b"\x89PNG")
    assert np.array_equal(pixels(png), nonlocal_means(photo, 10))


def test_the_label_may_be_what_the_codec_gives_back(photos: Path, photo: Pixels) -> None:
    this = plan(photos, pool=("nlm:h=10",), stage="decoded", quality=30)
    found = label_picture(this, "below/b.png")
    ((name, png),) = found.pictures
    assert name == "pictures/below/b.png.png"
    source = pixels(photos / "below" / "b.png")
    back = decode(compressed(Image(nonlocal_means(source, 10)), this)).pixels
    assert np.array_equal(pixels(png), back)
    assert METRICS["psnr"].scorer(source)(pixels(png)) == chosen(found).scores["psnr"]


def test_the_label_of_the_identity_is_the_picture(photos: Path, photo: Pixels) -> None:
    found = label_picture(plan(photos, pool=("detail",)), "a.png")
    assert chosen(found).group == "identity"
    assert np.array_equal(pixels(found.pictures[0][1]), photo)


def broken(pixels: Pixels) -> Pixels:
    raise ValueError("first line\n  and second line")


def slow(pixels: Pixels) -> Pixels:
    raise ProgramTimeoutError("it was stopped after 1 second.")


def cut(pixels: Pixels) -> Pixels:
    return pixels[:-1]


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (broken, "odd: ValueError: first line and second line"),
        (slow, "it was stopped after 1 second."),
        (cut, "the filter odd changed the size of the picture. Leave it out of --pool."),
        (lambda pixels: None, "odd: AttributeError: "),
    ],
    ids=["raises", "times out", "cuts", "gives nothing"],
)
def test_a_filter_that_fails_is_an_error_in_its_rows_and_no_other(
    photos: Path, filters: Filters, work: Callable[[Pixels], Pixels], words: str
) -> None:
    filters.add("odd", work)
    this = plan(photos, pool=("odd", "nlm", "detail"), ordered=True)
    found = label_picture(this, "a.png")
    rows = rows_of(found)
    assert filters.calls["odd"] == 3  # odd, nlm+odd, detail+odd; what begins with odd is not tried again
    sound = rows_of(label_picture(replace(this, pool=("nlm", "detail")), "a.png"))
    for group, row in rows.items():
        if "odd" in group:
            assert row.error.startswith(words) and "\n" not in row.error
            assert (row.bytes, row.bpp, row.z_quality, row.z_bpp, row.score) == (None,) * 5
            assert (row.scores, row.chosen, row.label) == ({}, 0, "")
        else:
            assert replace(row, seconds=0) == replace(sound[group], seconds=0)
    assert found.computed == len(rows) == 1 + 3 + 6


def test_a_group_that_cannot_be_decoded_or_scored_is_an_error_in_its_row(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(9))

    def decode(data: bytes, name: str) -> Image:
        if next(calls) == 1:
            raise KcompressError("not this one.")
        return read_canonical(data, name)

    monkeypatch.setattr(picture, "decode", decode)
    rows = rows_of(label_picture(plan(photos), "a.png"))
    assert [row.error for row in rows.values()] == ["", "not this one.", "", ""]
    assert (rows["nlm"].bytes, rows["nlm"].bpp, rows["nlm"].scores) == (None, None, {})


def test_a_picture_where_every_group_fails_has_rows_and_no_label(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*arguments: object) -> None:
        raise ProgramError("cjpeg failed.")

    monkeypatch.setattr(Session, "encode", encode)
    found = label_picture(plan(photos), "a.png")
    assert found.error == "no group could be applied: cjpeg failed."
    assert found.pictures == ()
    assert [(row.error, row.chosen, row.label) for row in found.rows] == [("cjpeg failed.", 0, "")] * 4


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"nonsense", "cannot be read as a picture"), (b"", "is empty"), (None, "cannot be read: No such file")],
)
def test_an_unreadable_picture_is_an_error(photos: Path, content: bytes | None, words: str) -> None:
    if content is not None:
        (photos / "odd.png").write_bytes(content)
    found = label_picture(plan(photos), "odd.png")
    assert (found.rows, found.pictures, found.computed) == ((), (), 0)
    assert found.error.startswith("odd.png") and words in found.error


def test_a_picture_too_small_for_a_metric_is_an_error(photos: Path) -> None:
    save(smooth(40, 7), photos / "small.png")
    found = label_picture(plan(photos, metrics=("psnr", "ssimulacra2")), "small.png")
    assert found.rows == () and "ssimulacra2 needs 8 pixels a side" in found.error


def test_transparency_lies_over_white(photos: Path, alpha: Image) -> None:
    save(np.dstack([alpha.pixels, alpha.alpha]), photos / "alpha.png")
    weight = alpha.alpha[:, :, None] / 255
    flat = np.rint(alpha.pixels * weight + 255 * (1 - weight)).astype(np.uint8)
    save(flat, photos / "flat.png")
    this = plan(photos, codec="webp", quality=80)  # which could hold the alpha
    one, other = label_picture(this, "alpha.png"), label_picture(this, "flat.png")
    assert [row.scores for row in one.rows] == [row.scores for row in other.rows]
    assert [row.bytes for row in one.rows] == [row.bytes for row in other.rows]
    assert np.array_equal(pixels(one.pictures[0][1]), pixels(other.pictures[0][1]))


def test_grey_stays_grey_through_every_filter(photos: Path, grey: Image, filters: Filters) -> None:
    save(grey.pixels[:, :, 0], photos / "grey.png")
    seen: list[Pixels] = []

    def red(pixels: Pixels) -> Pixels:
        return pixels // np.array([1, 2, 2], np.uint8)

    def seeing(pixels: Pixels) -> Pixels:
        seen.append(pixels)
        return pixels // 4 * 4

    filters.add("red", red)
    filters.add("coarse", seeing)
    this = plan(photos, pool=("red", "coarse"))
    found = label_picture(this, "grey.png")
    reddish = np.repeat(luma(red(grey.pixels))[:, :, None], 3, axis=2)
    assert np.array_equal(seen[0], grey.pixels) and np.array_equal(seen[1], reddish)
    rows = rows_of(found)
    assert rows["red"].bytes == len(compressed(Image(reddish, grey=True), this))
    assert rows["red"].bytes < len(compressed(Image(reddish), this))  # which has planes of colour
    (one,) = label_picture(replace(this, pool=("red",)), "grey.png").pictures
    assert np.array_equal(pixels(one[1]), reddish)


PATCHES = Patches(24, 16, 20)


def test_patches_are_labelled_like_pictures_of_their_own(photos: Path, photo: Pixels) -> None:
    this = plan(photos, patches=PATCHES)
    found = label_picture(this, "a.png")
    corners = [(left, top) for top in (0, 20) for left in (0, 20, 40)]
    assert [(row.left, row.top) for row in found.rows[::4]] == corners
    assert len(found.rows) == 4 * len(corners) == found.computed
    assert {row.patch for row in found.rows} == {"24x16"}
    assert {(row.width, row.height) for row in found.rows} == {(24, 16)}
    names = [name for name, _ in found.pictures]
    assert names == [f"pictures/a.png@{left},{top}.png" for left, top in corners]
    assert names == [row.label for row in found.rows if row.chosen]
    for number, (left, top) in enumerate(corners):
        save(photo[top : top + 16, left : left + 24], photos / "piece.png")
        alone = label_picture(replace(this, patches=None), "piece.png")
        for row, other in zip(found.rows[4 * number : 4 * number + 4], alone.rows, strict=True):
            assert (row.group, row.bytes, row.bpp, row.scores) == (other.group, other.bytes, other.bpp, other.scores)
            assert (row.z_quality, row.z_bpp, row.chosen) == (other.z_quality, other.z_bpp, other.chosen)
        assert np.array_equal(pixels(found.pictures[number][1]), pixels(alone.pictures[0][1]))


def test_a_picture_smaller_than_a_patch_is_an_error(photos: Path) -> None:
    found = label_picture(plan(photos, patches=Patches(65, 16, 20)), "a.png")
    assert found.rows == ()
    assert found.error == "a.png has 64x48 pixels, too few for a patch of 65x16. Take smaller patches."


@settings(deadline=None, derandomize=True)
@given(
    width=st.integers(1, 90), height=st.integers(1, 90),
    patches=st.builds(Patches, st.integers(1, 40), st.integers(1, 40), st.integers(1, 40)),
)  # fmt: skip
def test_patches_lie_inside_and_none_is_missing(width: int, height: int, patches: Patches) -> None:
    found = patches.corners(width, height)
    expected = {
        (left, top)
        for left in range(width)
        for top in range(height)
        if left % patches.stride == top % patches.stride == 0
        and left + patches.width <= width
        and top + patches.height <= height
    }
    assert len(found) == len(expected) and set(found) == expected
    assert found == sorted(found, key=lambda corner: corner[::-1])


def test_the_papers_patches() -> None:
    assert str(Patches()) == "320x180"
    assert Patches().corners(640, 340) == [(left, top) for top in (0, 160) for left in (0, 160, 320)]


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "raw"},
        {"pool": ("sepia",)},
        {"pool": ()},
        {"longest": 0},
        {"quality": 101},
        {"backend": "nonsense"},
        {"patches": Patches(0, 16, 16)},
        {"patches": Patches(16, 16, 0)},
        {"patches": Patches(16, 7, 16), "metrics": ("psnr", "ssimulacra2")},
    ],
    ids=lambda changes: ",".join(map(str, changes)),
)
def test_a_plan_that_cannot_run_is_refused(photos: Path, changes: dict) -> None:
    plan(photos).check()
    with pytest.raises(UsageError):
        plan(photos, **changes).check()


def test_what_is_known_is_not_computed_again(photos: Path, filters: Filters) -> None:
    this = plan(photos, pool=("nlm", "detail"))
    whole = label_picture(this, "a.png")
    filters.calls.clear()
    again = label_picture(this, "a.png", whole.rows[:3])
    assert again.computed == 1 and again.pictures == whole.pictures
    assert [replace(row, seconds=0) for row in again.rows] == [replace(row, seconds=0) for row in whole.rows]
    assert [row.seconds for row in again.rows[:3]] == [row.seconds for row in whole.rows[:3]]
    assert filters.calls == {"nlm": 1, "detail": 1}  # for nlm+detail
