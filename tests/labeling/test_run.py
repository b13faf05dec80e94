"""The whole run: what lies in the folder, what is resumed, and that no kill spoils it."""

import csv
import gc
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from labeling.tools import Filters, labelled, pictures, plan, save, state, table
from pictures import smooth

from kcompress import labels, storage
from kcompress.csv_rows import Journal
from kcompress.encoding import Encoded, Session
from kcompress.errors import InputError, OutputError, ProgramError, UsageError
from kcompress.images import Image, Pixels
from kcompress.labeling.picture import Labelled
from kcompress.labeling.plan import Patches, Plan
from kcompress.labels import file
from kcompress.pool.detail import detail
from kcompress.pool.nonlocal_means import nonlocal_means

NAMES = ["a.png", "below/b.png", "c.png"]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "labels"


def fresh(plan: Plan, output: Path) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """What the same plan leaves in an empty folder."""
    place = output.with_name("fresh")
    shutil.rmtree(place, ignore_errors=True)
    labelled(plan, place)
    return state(place)


def as_fresh(plan: Plan, output: Path) -> bool:
    """Whether the folder holds what the plan leaves in an empty one, and nothing chosen behind that."""
    rows, found = state(output)
    expected, labels = fresh(plan, output)
    behind = rows[len(expected) :]
    return (
        rows[: len(expected)] == expected
        and {name: found[name] for name in labels} == labels
        and not any(int(row["chosen"]) or row["label"] or row["score"] or row["z_bpp"] for row in behind)
    )


def test_a_run_leaves_its_rows_and_the_chosen_pictures(photos: Path, output: Path) -> None:
    this = plan(photos)
    outcome = labelled(this, output)
    assert [row.path for row in outcome.rows] == [name for name in NAMES for _ in this.groups]
    assert [row.group for row in outcome.rows] == [group.name for group in this.groups] * 3
    assert outcome.computed == 12 and outcome.failures == []
    assert file(("psnr",)).read(output / "labels.csv") == outcome.rows
    chosen = {row.path: row.label for row in outcome.rows if row.chosen}
    assert chosen == {name: f"pictures/{name}.png" for name in NAMES}
    assert set(pictures(output)) == set(chosen.values())
    assert sorted(path.name for path in output.iterdir()) == ["labels.csv", "pictures", labels.PLAN]


def test_the_columns(photos: Path, output: Path) -> None:
    labelled(plan(photos, metrics=("psnr", "ssimulacra2")), output)
    assert (output / "labels.csv").read_text().splitlines()[0] == (
        "path,sha256,patch,left,top,group,codec,backend,version,quality,width,height,bytes,bpp,"
        "z_quality,z_bpp,score,chosen,label,seconds,error,psnr,ssimulacra2"
    )


def test_a_label_that_is_written_is_let_go(photos: Path, output: Path) -> None:
    """Ten thousand photographs do not fit into memory."""
    held: list[int] = []

    def look() -> None:
        held.append(sum(type(each) is Labelled and bool(each.pictures) for each in gc.get_objects()))

    assert labelled(plan(photos), output, progress=look).computed == 12
    assert held == [1, 1, 1]


def test_what_cannot_be_read_is_listed_in_order_and_the_rest_is_labelled(photos: Path, output: Path) -> None:
    (photos / "Z.png").write_bytes(b"nonsense")
    (photos / "below" / "a.png").write_bytes(b"")
    outcome = labelled(plan(photos), output)
    assert [failure.path for failure in outcome.failures] == ["Z.png", "below/a.png"]
    assert list(dict.fromkeys(row.path for row in outcome.rows)) == NAMES
    again = labelled(plan(photos), output, resume=True)
    assert (again.failures, again.computed) == (outcome.failures, 0)


def test_where_nothing_can_be_read_there_are_no_rows(tmp_path: Path, output: Path) -> None:
    save(smooth(20, 7), tmp_path / "photos" / "small.png")
    outcome = labelled(plan(tmp_path / "photos", metrics=("ssimulacra2",)), output)
    assert outcome.rows == [] and len(outcome.failures) == 1
    assert table(output) == [] and pictures(output) == {}
    assert labelled(plan(tmp_path / "photos", metrics=("ssimulacra2",)), output, resume=True).rows == []


def test_the_number_of_jobs_and_a_url_change_nothing(photos: Path, output: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    (photos / "odd.png").write_bytes(b"nonsense")
    changes: dict[str, Any] = {"patches": Patches(32, 24, 30), "stage": "decoded"}
    one = labelled(plan(photos, **changes), tmp_path / "one")
    two = labelled(plan(photos.as_uri(), **changes), output, jobs=2)
    assert state(output) == state(tmp_path / "one")
    assert two.failures == one.failures and len(two.failures) == 1 and two.computed == one.computed > 12


def test_a_url_in_memory(photos: Path, output: Path, tmp_path: Path) -> None:
    files = pytest.importorskip("fsspec").filesystem("memory")
    try:
        for name in NAMES:
            files.pipe_file(f"/kcompress-label/photos/{name}", (photos / name).read_bytes())
        labelled(plan("memory://kcompress-label/photos"), output)
        assert state(output) == fresh(plan(photos), output)
        assert labelled(plan("memory://kcompress-label/photos"), output, resume=True).computed == 0
    finally:
        files.rm("/kcompress-label", recursive=True)


def test_the_same_picture_under_two_names_is_two_pictures(photos: Path, output: Path) -> None:
    shutil.copy(photos / "a.png", photos / "twin.png")
    outcome = labelled(plan(photos), output)
    rows = table(output)
    assert [{**row, "path": "", "label": ""} for row in rows[:4]] == [
        {**row, "path": "", "label": ""} for row in rows[-4:]
    ]
    assert {row["path"] for row in rows} == {*NAMES, "twin.png"}
    found = pictures(output)
    assert found["pictures/twin.png.png"] == found["pictures/a.png.png"]
    assert outcome.computed == 16
    before = state(output)
    (output / "pictures" / "a.png.png").unlink()
    assert labelled(plan(photos), output, resume=True).computed == 0
    assert state(output) == before


def test_a_resumed_run_with_nothing_to_do_does_nothing(photos: Path, output: Path, filters: Filters) -> None:
    labelled(plan(photos, patches=Patches(32, 24, 30)), output)
    content = (output / "labels.csv").read_bytes()
    times = [path.stat().st_mtime_ns for path in sorted((output / "pictures").rglob("*.png"))]
    filters.calls.clear()
    outcome = labelled(plan(photos, patches=Patches(32, 24, 30)), output, resume=True)
    assert (outcome.computed, filters.calls.total()) == (0, 0)
    assert (output / "labels.csv").read_bytes() == content  # with the seconds of before
    assert times == [path.stat().st_mtime_ns for path in sorted((output / "pictures").rglob("*.png"))]
    assert file(("psnr",)).read(output / "labels.csv") == outcome.rows


def test_a_changed_picture_is_computed_again_and_no_other(photos: Path, output: Path, filters: Filters) -> None:
    labelled(plan(photos), output)
    first = file(("psnr",)).read(output / "labels.csv")
    save(smooth(50, 40), photos / "below" / "b.png")
    filters.calls.clear()
    outcome = labelled(plan(photos), output, resume=True)
    assert outcome.computed == 4 and filters.calls == {"nlm": 1, "detail": 2}
    assert outcome.rows[:4] + outcome.rows[8:] == first[:4] + first[8:]
    assert {(row.width, row.height) for row in outcome.rows[4:8]} == {(50, 40)}
    assert as_fresh(plan(photos), output)
    assert len(table(output)) == 12 + 4


def test_a_renamed_picture_is_known_by_its_bytes(photos: Path, output: Path) -> None:
    labelled(plan(photos), output)
    (photos / "c.png").rename(photos / "new.png")
    outcome = labelled(plan(photos), output, resume=True)
    assert outcome.computed == 0 and [row.path for row in outcome.rows[-4:]] == ["new.png"] * 4
    assert as_fresh(plan(photos), output)


def test_more_filters_compute_only_the_new_groups(photos: Path, output: Path, filters: Filters) -> None:
    first = labelled(plan(photos, pool=("nlm",)), output)
    filters.calls.clear()
    outcome = labelled(plan(photos), output, resume=True)
    assert outcome.computed == 3 * 2  # detail, nlm+detail
    assert [row.seconds for row in outcome.rows if row.group in ("identity", "nlm")] == [
        row.seconds for row in first.rows
    ]
    assert filters.calls["detail"] == 3 * 2
    assert as_fresh(plan(photos), output)


@pytest.mark.parametrize(
    "change",
    [{"pool": ("nlm:h=10",)}, {"longest": 1}, {"pool": ("detail", "nlm:h=10")}, {"pool": ("nlm:h=10",), "quality": 30}],
    ids=str,
)
def test_labels_follow_the_plan_to_and_fro(photos: Path, output: Path, filters: Filters, change: dict) -> None:
    """Also where all rows are known: the picture of another choice is not taken for the label."""
    wide, other = plan(photos, pool=("nlm:h=10", "detail")), plan(photos, **change)
    filters.add("nlm", lambda pixels: nonlocal_means(pixels, 10))  # whatever its number, so that it wins
    labelled(wide, output)
    labelled(other, output, resume=True)
    assert as_fresh(other, output)
    filters.calls.clear()
    back = labelled(wide, output, resume=True)
    assert back.computed == 0 and as_fresh(wide, output)


def test_rows_of_an_old_plan_stay_behind_and_choose_nothing(photos: Path, output: Path) -> None:
    labelled(plan(photos, quality=30), output)
    old = table(output)
    outcome = labelled(plan(photos), output, resume=True)
    rows = table(output)
    assert len(outcome.rows) == 12 and len(rows) == 24
    nothing = {"z_quality": "", "z_bpp": "", "score": "", "chosen": "0", "label": ""}
    assert rows[12:] == [{**row, **nothing} for row in old]
    assert as_fresh(plan(photos), output)


def test_rows_of_another_encoder_are_not_taken(photos: Path, output: Path) -> None:
    labelled(plan(photos), output)
    path = output / "labels.csv"
    version = table(output)[0]["version"]
    path.write_text(path.read_text().replace(version, "older, and other"))
    outcome = labelled(plan(photos), output, resume=True)
    assert outcome.computed == 12 and as_fresh(plan(photos), output)
    assert {row["version"] for row in table(output)[12:]} == {"older, and other"}


@pytest.mark.parametrize("stage", ["filtered", "decoded"])
def test_a_label_that_is_gone_is_written_again(photos: Path, output: Path, stage: str) -> None:
    this = plan(photos, stage=stage, pool=("nlm:h=10",))
    labelled(this, output)
    before = state(output)
    (output / "pictures" / "below" / "b.png.png").unlink()
    assert labelled(this, output, resume=True).computed == 0
    assert state(output) == before


def failing(pixels: Pixels) -> Pixels:
    if pixels.shape[1] == 41:  # below/b.png
        raise ProgramError("not this one.")
    return detail(pixels)


def test_rows_with_an_error_are_tried_again(photos: Path, output: Path, filters: Filters) -> None:
    filters.add("detail", failing)
    first = labelled(plan(photos), output)
    assert [row.error for row in first.rows[4:8]] == ["", "", "not this one.", "not this one."]
    assert first.failures == [] and first.computed == 12
    assert [row["error"] for row in table(output)[4:8]] == ["", "", "not this one.", "not this one."]
    again = labelled(plan(photos), output, resume=True)
    assert again.computed == 2 and [row.error for row in again.rows] == [row.error for row in first.rows]
    filters.add("detail", detail)
    filters.calls.clear()
    repaired = labelled(plan(photos), output, resume=True)
    assert repaired.computed == 2 and filters.calls["detail"] == 2
    assert as_fresh(plan(photos), output) and not any(row["error"] for row in table(output))


def test_a_picture_where_every_group_failed_is_listed_and_tried_again(
    photos: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Session.encode

    def sometimes(session: Session, image: Image) -> Encoded:
        if image.width == 41:
            raise ProgramError("cjpeg failed.")
        return encode(session, image)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "encode", sometimes)
        outcome = labelled(plan(photos), output)
    assert [(each.path, each.error) for each in outcome.failures] == [
        ("below/b.png", "no group could be applied: cjpeg failed.")
    ]
    assert [row["error"] for row in table(output)].count("cjpeg failed.") == 4
    assert set(pictures(output)) == {"pictures/a.png.png", "pictures/c.png.png"}
    assert labelled(plan(photos), output, resume=True).computed == 4
    assert as_fresh(plan(photos), output)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"stage": "decoded"}, UsageError, "--label-stage was filtered before and is decoded now"),
        ({"metrics": ("ssimulacra2",)}, InputError, r"other columns than this run \(psnr are its metrics\)"),
        ({"metrics": ("psnr", "ssimulacra2")}, InputError, "other columns"),
    ],
)
def test_another_kind_of_label_is_refused(
    photos: Path, output: Path, change: dict, error: type[Exception], words: str
) -> None:
    labelled(plan(photos), output)
    before = state(output)
    with pytest.raises(error, match=words):
        labelled(plan(photos, **change), output, resume=True)
    with pytest.raises(OutputError, match="Give --resume"):
        labelled(plan(photos), output)
    assert state(output) == before
    assert labelled(plan(photos), output, resume=True).computed == 0


def test_other_weights_are_refused_even_after_a_run_without_them(
    photos: Path, output: Path, shipped: Callable[[Path], None], tiny_weights: Path
) -> None:
    labelled(plan(photos), output)
    kept = json.loads((output / labels.PLAN).read_text())
    (output / labels.PLAN).write_text(json.dumps({**kept, "same": {**kept["same"], "weights of ar": "old"}}))
    labelled(plan(photos), output, resume=True)
    shipped(tiny_weights)
    with pytest.raises(UsageError, match=r"weights of ar was old before and is [0-9a-f]{16} now"):
        labelled(plan(photos, pool=("ar",)), output, resume=True)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"same": 3}'])
def test_a_broken_plan_is_told(photos: Path, output: Path, content: str) -> None:
    labelled(plan(photos), output)
    (output / labels.PLAN).write_text(content)
    with pytest.raises(InputError, match="is no plan of a labelling"):
        labelled(plan(photos), output, resume=True)
    (output / labels.PLAN).unlink()
    assert labelled(plan(photos), output, resume=True).computed == 0
    assert json.loads((output / labels.PLAN).read_text())["metric"] == "psnr"


@pytest.mark.parametrize("place", ["labels", "labels/pictures", "labels/labels.csv/x"])
def test_a_folder_that_cannot_be_written_is_told(photos: Path, output: Path, place: str) -> None:
    path = output.parent / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(OutputError, match=r"cannot be written|exists"):
        labelled(plan(photos), output)


class Killed(BaseException):
    """Ends a run as kill -9 does: nothing that follows is written."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """``killed(number, work)``: run ``work`` up to a write; False where it ended before."""
    write, append = storage.write, Journal.append

    def attempt(number: int, work: Callable[[], object]) -> bool:
        left = number

        def reached() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        def written(target: str, data: bytes) -> None:
            if reached():
                raise Killed
            write(target, data)

        def appended(self: Journal[Any], rows: Iterable[Any]) -> None:
            rows = list(rows)
            if reached():
                append(self, rows[: len(rows) // 2])
                raise Killed
            append(self, rows)
            if reached():
                raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(storage, "write", written)
            patched.setattr(Journal, "append", appended)
            try:
                work()
            except Killed:
                return True
        return False

    return attempt


WIDE: dict[str, Any] = {"pool": ("nlm:h=10", "detail"), "stage": "decoded"}
NARROW: dict[str, Any] = {"pool": ("nlm:h=10",), "stage": "decoded"}
LOW: dict[str, Any] = {**WIDE, "quality": 30}


@pytest.mark.parametrize(
    ("before", "during", "after"),
    [(None, WIDE, WIDE), (WIDE, NARROW, WIDE), (WIDE, NARROW, NARROW), (NARROW, WIDE, NARROW), (WIDE, LOW, WIDE)],
    ids=["new", "to and fro", "narrower", "wider and back", "other quality and back"],
)
def test_a_kill_between_any_two_writes_spoils_nothing(
    photos: Path, output: Path, killed: Callable[..., bool], before: dict | None, during: dict, after: dict
) -> None:
    (photos / "c.png").unlink()
    # Each plan has labels of its own, or a stale one could not be seen.
    results = [fresh(plan(photos, **each), output) for each in (WIDE, NARROW, LOW)]
    assert len({labels["pictures/a.png.png"] for _, labels in results}) == 3
    rows, labels = results[[WIDE, NARROW, LOW].index(after)]
    begun = output.with_name("begun")
    if before is not None:
        labelled(plan(photos, **before), begun)
    number, reached = 0, True
    while reached:
        shutil.rmtree(output, ignore_errors=True)
        if before is not None:
            shutil.copytree(begun, output)
        reached = killed(number, lambda: labelled(plan(photos, **during), output, resume=True))
        if (output / "labels.csv").exists():
            file(("psnr",)).read(output / "labels.csv")
        labelled(plan(photos, **after), output, resume=True)
        found_rows, found_labels = state(output)
        assert found_rows[: len(rows)] == rows, number
        assert {name: found_labels[name] for name in labels} == labels, number
        number += 1
    assert number > 5


def test_a_file_cut_at_any_byte_is_resumed(photos: Path, output: Path, filters: Filters) -> None:
    filters.add("detail", failing)
    filters.add("nlm", lambda pixels: pixels // 8 * 8)  # quick
    this = plan(photos)
    labelled(this, output)
    whole, before = (output / "labels.csv").read_bytes(), state(output)
    for length in range(0, len(whole), 97):
        (output / "labels.csv").write_bytes(whole[:length])
        outcome = labelled(this, output, resume=True)
        complete = max(0, whole[:length].count(b"\n") - 1)
        failed = whole[:length].count(b"not this one.,\n")
        assert outcome.computed == 12 - (complete - failed)
        assert state(output) == before


def test_a_resumed_run_may_be_killed_too(photos: Path, output: Path, killed: Callable[..., bool]) -> None:
    this = plan(photos)
    labelled(this, output)
    before = state(output)
    path = output / "labels.csv"
    whole = path.read_bytes()
    number, reached = 0, True
    while reached:
        path.write_bytes(whole[: whole.index(b"below") + 100])  # in the middle of a row
        reached = killed(number, lambda: labelled(this, output, resume=True))
        file(("psnr",)).read(path)
        labelled(this, output, resume=True)
        assert state(output) == before, number
        number += 1
    assert number > 5


@pytest.mark.parametrize("column, value", [("codec", "jpeg2000"), ("quality", "999"), ("sha256", "x"), ("width", "0")])
def test_damaged_rows_are_not_gone_on_with(photos: Path, output: Path, column: str, value: str) -> None:
    this = plan(photos)
    labelled(this, output)
    with (output / "labels.csv").open(newline="") as stream:
        header, first, *rest = csv.reader(stream)
    first[header.index(column)] = value
    with (output / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, first, *rest])
    with pytest.raises(InputError, match=rf"labels\.csv.*{value}"):
        labelled(this, output, resume=True)
