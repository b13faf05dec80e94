"""``kcompress label``: what it leaves, what each option does, what it refuses, and that no end spoils it."""

import csv
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image as Pil
from waiting import wait_until

from kcompress.dataset import DataSet
from kcompress.labeling import plot
from kcompress.labeling import run as whole_run
from kcompress.labels import file
from kcompress.pool import guetzli as guetzli_module

BASE = ["--metric", "psnr", "--pool", "nlm,detail", "--backend", "pillow", "--jobs", "1"]
THREE = ["--pool", "nlm,nlm:h=7,detail"]
NAMES = ["a.png", "b.png", "deep/c.png", "deep/er/d.png"]


@pytest.fixture(autouse=True)
def own_cache(environment, tmp_path):
    """What tests keep is not the user's."""
    environment["XDG_CACHE_HOME"] = str(tmp_path / "cache")


@pytest.fixture
def label(run, monkeypatch):
    """``label("--plus")``: of the album, with what makes it quick; later options win."""
    monkeypatch.setattr(plot, "plot", lambda *_: b"takes half a second")
    return lambda *options, **more: run("label", "album", *BASE, *options, **more)


def rows(folder, output="labels"):
    """The rows of labels.csv without their seconds."""
    with (folder / output / "labels.csv").open(newline="") as stream:
        return [{**row, "seconds": ""} for row in csv.DictReader(stream)]


def pictures(folder, output="labels"):
    place = folder / output / "pictures"
    return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def state(folder, output="labels"):
    return rows(folder, output), pictures(folder, output)


def test_labels_of_a_folder(run, album, folder):
    ended = run("label", "album", *BASE)
    assert ended.stdout == b"labels/labels.csv\n"
    assert [row["path"] for row in rows(folder)] == [name for name in NAMES for _ in range(4)]
    assert [row["group"] for row in rows(folder)[:4]] == ["identity", "nlm", "detail", "nlm+detail"]
    assert {(row["codec"], row["quality"], row["backend"]) for row in rows(folder)} == {("jpeg", "75", "pillow")}
    assert set(pictures(folder)) == {f"{name}.png" for name in NAMES}
    table = ended.stderr.splitlines()
    header = next(line.split() for line in table if "group" in line)
    assert header == ["group", "wins", "share", "size", "psnr", "errors"]
    chosen = [row["group"] for row in rows(folder) if row["chosen"] == "1"]
    for group in ("identity", "nlm", "detail", "nlm+detail"):
        shown = next(line.split() for line in table if line.split()[:1] == [group])
        assert shown[1:3] == [str(chosen.count(group)), f"{25 * chosen.count(group)}%"]
    assert table[-1] == "4 of 4 pictures labelled, 16 rows computed: labels/labels.csv"
    summary = (folder / "labels" / "summary.md").read_text()
    assert summary.startswith("# jpeg 75 (pillow ") and "| labels | 4 | 100% |" in summary
    with Pil.open(folder / "labels" / "summary.png") as plot:
        assert plot.format == "PNG" and min(plot.size) > 300
    assert {path.name for path in (folder / "labels").iterdir()} == {
        "labels.csv", "pictures", "plan.json", "summary.md", "summary.png",
    }  # fmt: skip


def test_json_for_programs(label, album, folder):
    (found,) = label("--json").lines
    assert list(found) == ["type", "labels", "codec", "quality", "metric", "computed", "groups", "failed"]
    assert (found["labels"], found["codec"], found["quality"], found["metric"]) == (
        "labels/labels.csv", "jpeg", 75, "psnr",
    )  # fmt: skip
    assert (found["computed"], found["failed"]) == (16, [])
    groups = {line["group"]: line for line in found["groups"]}
    assert set(groups) == {"identity", "nlm", "detail", "nlm+detail", "labels"}
    by_name = {name: [row for row in rows(folder) if row["group"] == name] for name in groups}
    assert sum(line["wins"] for name, line in groups.items() if name != "labels") == groups["labels"]["wins"] == 4
    sizes = [
        100 * (int(row["bytes"]) / int(plain["bytes"]) - 1)
        for row, plain in zip(by_name["detail"], by_name["identity"], strict=True)
    ]
    scores = [
        float(row["psnr"]) - float(plain["psnr"])
        for row, plain in zip(by_name["detail"], by_name["identity"], strict=True)
    ]
    assert groups["detail"]["everywhere"] == {
        "count": 4, "size": pytest.approx(sum(sizes) / 4), "scores": {"psnr": pytest.approx(sum(scores) / 4)},
    }  # fmt: skip
    assert groups["identity"]["everywhere"] == {"count": 4, "size": 0, "scores": {"psnr": 0}}
    assert groups["labels"]["share"] == 1 and groups["detail"]["errors"] == 0


@pytest.mark.parametrize(
    ("options", "column", "values"),
    [
        (["--codec", "webp"], "codec", {"webp"}),
        (["-q", "30"], "quality", {"30"}),
        (["--backend", "mozjpeg"], "backend", {"mozjpeg"}),
        (["--pool", "nlm:h=9"], "group", {"identity", "nlm:h=9"}),
        (["--pool", "detail, nlm"], "group", {"identity", "detail", "nlm", "detail+nlm"}),
        (["--max-group", "1"], "group", {"identity", "nlm", "detail"}),
        (["--ordered"], "group", {"identity", "nlm", "detail", "nlm+detail", "detail+nlm"}),
        (["--patch", "48x32"], "patch", {"48x32"}),
        (["--patch", "40x32", "--stride", "24"], "left", {"0", "24", "48"}),
        (["--patch", "40x32", "--stride", "24"], "top", {"0", "24"}),
    ],
)
def test_options_that_show_in_a_column(label, album, folder, options, column, values):
    if "mozjpeg" in options:
        pytest.importorskip("pyvips")
    label(*options)
    assert {row[column] for row in rows(folder)} == values


def test_the_first_metric_decides_and_the_second_is_written_down(label, album, folder):
    label("--metric", "ssimulacra2,psnr", "-o", "two")
    label("--metric", "ssimulacra2", "-o", "one")
    (first, second), (alone, _) = (rows(folder, name)[:2] for name in ("two", "one"))
    assert list(first)[-2:] == ["ssimulacra2", "psnr"] and list(alone)[-1] == "ssimulacra2"
    assert first["z_quality"] == alone["z_quality"] and float(second["psnr"]) > 20
    label("-o", "psnr")
    assert [row["psnr"] for row in rows(folder, "psnr")] == [row["psnr"] for row in rows(folder, "two")]
    assert [row["score"] for row in rows(folder, "psnr")] != [row["score"] for row in rows(folder, "two")]


def test_plus_adds(label, album, folder):
    label("--plus")
    assert all(float(row["score"]) == float(row["z_quality"]) + float(row["z_bpp"]) for row in rows(folder))
    label("-o", "minus")
    assert all(float(row["score"]) == float(row["z_quality"]) - float(row["z_bpp"]) for row in rows(folder, "minus"))


def test_bits_can_count_more_and_labels_follow(label, album, folder):
    label("--rate-weight", "0")
    finest = {row["path"]: row["group"] for row in rows(folder) if row["chosen"] == "1"}
    done = label("--rate-weight", "9", "--resume", "--json")
    assert "0 rows computed" in done.stderr
    smallest = {row["path"]: row["group"] for row in rows(folder) if row["chosen"] == "1"}
    assert set(finest.values()) == {"identity"} and "identity" not in smallest.values()
    assert all(float(row["score"]) == float(row["z_quality"]) - 9 * float(row["z_bpp"]) for row in rows(folder))
    label("-o", "fresh", "--rate-weight", "9")
    for path in (folder / "fresh/pictures").rglob("*.png"):
        assert path.read_bytes() == (folder / "labels" / path.relative_to(folder / "fresh")).read_bytes()


def test_the_stage_changes_the_pictures_alone(label, album, folder):
    label()
    label("-o", "back", "--label-stage", "decoded")
    assert rows(folder) == rows(folder, "back")
    before, after = pictures(folder), pictures(folder, "back")
    assert all(before[name] != after[name] for name in before) and set(before) == set(after)


def test_whole_pictures_are_the_default(label, album, folder):
    label()
    label("--whole", "-o", "whole")
    assert state(folder) == state(folder, "whole")


def test_patches_have_files_of_their_own(label, album, folder):
    label("--patch", "48x32", "--stride", "40", "--pool", "detail")
    assert {name for name in pictures(folder) if name.startswith("deep/c")} == {
        f"deep/c.png@{left},{top}.png" for left in (0, 40) for top in (0,)
    } | {"deep/c.png@0,0.png"}
    assert len(pictures(folder)) == sum(row["chosen"] == "1" for row in rows(folder)) == 8


def test_what_guetzli_may_take_comes_to_it(label, album, monkeypatch):
    seen = []
    monkeypatch.setattr(
        whole_run, "run", lambda plan, *_, **__: seen.append(plan.context.guetzli) or whole_run.Outcome()
    )
    label()
    label("--guetzli-jobs", "3", "--guetzli-seconds", "7", "--guetzli-memory", "900", "--cache", "kept")
    assert (seen[0].jobs, seen[0].seconds, seen[0].megabytes) == (1, 600, 6000)
    assert seen[0].cache.name == "kcompress" and seen[0].cache.parent.name == "cache"
    assert (seen[1].jobs, seen[1].seconds, seen[1].megabytes) == (3, 7, 900)
    assert seen[1].cache == Path(album.parent / "kept")


@pytest.fixture
def guetzli(tmp_path, environment, monkeypatch):
    """A Guetzli that changes nothing and writes down how it is called; it sleeps where ``slow`` lies beside it."""
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "guetzli"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exit 1\necho "$@" >>{programs}/log\n'
        f'[ -e {programs}/slow ] && sleep 60\ncp "$5" "$6"\n'
    )
    script.chmod(0o755)
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    # Its locks stay behind, by design.
    monkeypatch.setattr(guetzli_module, "tempfile", SimpleNamespace(gettempdir=lambda: str(tmp_path)))
    return programs


def test_guetzli_runs_once_a_picture_and_is_kept(label, album, folder, guetzli):
    options = ["--pool", "guetzli:q=88,nlm,detail", "--guetzli-memory", "900", "--cache", "kept"]
    label(*options)
    calls = (guetzli / "log").read_text().splitlines()
    assert [call.split()[:4] for call in calls] == [["--quality", "88", "--memlimit", "900"]] * 4
    assert len(list((folder / "kept").iterdir())) == 4
    label(*options, "-o", "again")
    assert (guetzli / "log").read_text().splitlines() == calls
    assert state(folder) == state(folder, "again")


def test_guetzli_that_takes_too_long_is_an_error_in_its_rows(label, folder, small, guetzli, run):
    (guetzli / "slow").touch()
    (folder / "album").mkdir()
    shutil.copy(small, folder / "album")
    ended = label("--pool", "guetzli,nlm", "--guetzli-seconds", "1")
    by_group = {row["group"]: row for row in rows(folder)}
    assert {group: bool(row["error"]) for group, row in by_group.items()} == {
        "identity": False, "guetzli": True, "nlm": False, "guetzli+nlm": True,
    }  # fmt: skip
    assert "guetzli was stopped after 1 seconds" in by_group["guetzli+nlm"]["error"]
    assert next(line.split() for line in ended.stderr.splitlines() if line.split()[:1] == ["guetzli"])[-1] == "1"
    (guetzli / "slow").unlink()
    assert "2 rows computed" in label("--pool", "guetzli,nlm", "--resume").stderr
    assert not any(row["error"] for row in rows(folder))


def test_without_guetzli_the_others_go_on(label, album, folder, no_programs):
    ended = label("--pool", "guetzli,nlm,guetzli:q=90")
    for name in ("guetzli", "guetzli:q=90"):
        assert f"going on without {name}: it is not installed. Debian: apt install guetzli" in ended.stderr
    assert {row["group"] for row in rows(folder)} == {"identity", "nlm"}


REFUSED = [
    (["nowhere"], 3, "nowhere is no folder"),
    (["empty"], 3, "no picture was found in"),
    (["album/a.png"], 3, "is no folder"),
    (["nonsense://album"], 3, "nonsense://album cannot be opened"),
    (["album", "--pool", "sepia"], 2, "the filter sepia is not known. Allowed: guetzli, ar, nlm, detail, blur,"),
    (["album", "--rate-weight", "-1"], 2, "--rate-weight -1 is out of range. Allowed: 0..100."),
    (["album", "--rate-weight", "2", "--plus"], 2, "--plus and --rate-weight 2 exclude each other"),
    (["album", "--pool", "nlm:h=0"], 2, "h=0 is not understood. Allowed: h=0.1..100."),
    (["album", "--pool", "guetzli:q=83"], 2, "Allowed: q=84..100 in whole numbers."),
    (["album", "--pool", "guided:s=1.5"], 2, "Allowed: s=1..50 in whole numbers, h=0.1..100."),
    (["album", "--pool", "nlm,nlm:h=3"], 2, "names a filter twice"),
    (["album", "--pool", "detail:h=3"], 2, "Allowed: no parameter."),
    (["album", "--pool", "nlm,detail,nlm"], 2, "names a filter twice"),
    (["album", "--pool", " ,"], 2, "--pool is empty"),
    (["album", "-k", "0"], 2, "--max-group 0 leaves no filter"),
    (["album", "-k", "many"], 2, "Invalid value"),
    (["album", "--metric", "beauty"], 2, "--metric beauty: beauty is not known. Allowed: ssimulacra2"),
    (["album", "--metric", ""], 2, "nothing is not known"),
    (["album", "-q", "101"], 2, "--quality 101 is not on the scale of jpeg. Allowed: 0..100."),
    (["album", "-c", "hevc", "-q", "52"], 2, "Allowed: 0..51."),
    (["album", "-c", "png"], 2, "Invalid value"),
    (["album", "--backend", "nonsense"], 2, "jpeg has none of this name"),
    (["album", "--label-stage", "raw"], 2, "--label-stage raw is not known. Allowed: filtered, decoded."),
    (["album", "--device", "toaster"], 2, "toaster"),
    (["album", "--patch", "48"], 2, "--patch 48 is no size. Give width and height, such as 320x180."),
    (["album", "--patch", "0x32"], 2, "--patch 0x32 is no size. Give width and height, such as 320x180."),
    (["album", "--patch", "48x32", "--stride", "0"], 2, "allowed are 1 pixel and more"),
    (["album", "--patch", "48x4", "--metric", "ssimulacra2"], 2, "ssimulacra2 needs 8 pixels a side"),
    (["album", "--stride", "20"], 2, "--stride 20 is for patches"),
    (["album", "--whole", "--patch", "48x32"], 2, "--whole and --patch 48x32 exclude each other"),
    (["album", "-j", "0"], 2, "Invalid value"),
    (["album", "--guetzli-seconds", "0"], 2, "Invalid value"),
    (["album", "-o", "album"], 2, "labels would lie among the pictures"),
    (["album/deep", "-o", "album/deep/../deep"], 2, "labels would lie among the pictures"),
    (["album", "-o", "small.png"], 5, "small.png"),
    (["album", "-o", "small.png/labels"], 5, "small.png"),
    (["album", "--cluster", "nonsense"], 2, "--cluster nonsense does not answer"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), REFUSED, ids=[" ".join(each[0]) for each in REFUSED])
def test_what_cannot_be_is_refused_in_one_sentence(run, album, folder, arguments, code, words):
    (folder / "empty").mkdir()
    before = sorted(folder.rglob("*"))
    if "--cluster" in arguments:
        pytest.importorskip("distributed")
    ended = run("label", arguments[0], *BASE, *arguments[1:], expect=code)
    assert words in ended.stderr and ended.stdout == b""
    if not ended.stderr.startswith("Usage:"):
        (line,) = ended.stderr.splitlines()
        assert line.startswith("kcompress: ")
    assert sorted(folder.rglob("*")) == before


def test_without_a_filter_that_is_installed_there_is_nothing_to_do(label, album, folder, no_programs):
    ended = label("--pool", "guetzli", expect=7)
    assert "--pool guetzli: none of these filters is installed. Debian: apt install guetzli" in ended.stderr
    assert not (folder / "labels").exists()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(label, album, folder):
    (folder / "labels").mkdir(mode=0o500)
    assert "cannot be written" in label(expect=5).stderr


def test_an_output_that_exists_is_not_touched(label, album, folder):
    label()
    before = {path: path.read_bytes() for path in (folder / "labels").rglob("*") if path.is_file()}
    assert "labels/labels.csv exists. Give --resume" in label("-q", "30", expect=5).stderr
    for options, words in (
        (["--label-stage", "decoded"], "--label-stage was filtered before and is decoded now. Give another -o."),
        (["--metric", "ssimulacra2"], "(psnr are its metrics)"),
    ):
        assert words in label(*options, "--resume", expect=3 if "--metric" in options else 2).stderr
    assert before == {path: path.read_bytes() for path in (folder / "labels").rglob("*") if path.is_file()}


def test_resume_computes_what_is_new(label, album, folder):
    first = label("--pool", "nlm", "--json").lines[0]
    (album / "a.png").write_bytes((album / "b.png").read_bytes() + b"and more")
    (folder / "labels" / "pictures" / "b.png.png").unlink()
    again = label("--resume", "--json").lines[0]
    assert (first["computed"], again["computed"]) == (4 * 2, 4 + 3 * 2)
    label("-o", "fresh")
    assert rows(folder)[:16] == rows(folder, "fresh") and pictures(folder) == pictures(folder, "fresh")
    assert [(row["path"], row["chosen"]) for row in rows(folder)[16:]] == [("a.png", "0")] * 2
    assert "0 rows computed" in label("--resume").stderr


def test_labels_that_lie_in_the_data_set_are_no_pictures_of_it(label, run, album, folder):
    first = run("label", ".", *BASE, "-o", "album/labels", "--json").lines[0]
    before = state(folder, "album/labels")
    again = run("label", ".", *BASE, "-o", "album/labels", "--json", "--resume").lines[0]
    assert (first["computed"], again["computed"]) == (5 * 4, 0)  # small.png lies there too
    assert state(folder, "album/labels") == before
    (folder / "small.png").unlink()
    for name in ("a.png", "b.png", "deep"):
        target = album / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()
    ended = run("label", ".", *BASE, "-o", "album/labels", "--resume", expect=3)
    assert "no picture was found in" in ended.stderr
    ended = run("label", "album/labels/pictures", *BASE, "-o", "album/labels", "--resume", expect=2)
    assert "labels would lie among the pictures" in ended.stderr


def test_what_fails_is_listed_at_the_end(label, album, folder):
    (album / "broken.png").write_bytes(b"nonsense")
    (album / "deep" / "empty.png").touch()
    ended = label("--json", expect=1)
    failed = [line for line in ended.stderr.splitlines() if line.startswith("failed: ")]
    assert failed == ended.stderr.splitlines()[-2:]
    assert failed[0].startswith("failed: broken.png: broken.png cannot be read as a picture")
    assert failed[1].startswith("failed: deep/empty.png: deep/empty.png is empty")
    assert "4 of 6 pictures labelled" in ended.stderr
    assert [each["path"] for each in ended.lines[0]["failed"]] == ["broken.png", "deep/empty.png"]
    assert {row["path"] for row in rows(folder)} == set(NAMES)


def test_where_no_picture_can_be_read_all_are_listed(label, album, folder):
    for name in NAMES:
        (album / name).write_bytes(b"nonsense")
    ended = label(expect=1)
    assert "0 of 4 pictures labelled" in ended.stderr and ended.stderr.count("failed: ") == 4
    assert rows(folder) == [] and ended.stdout == b"labels/labels.csv\n"


def test_odd_names_are_no_trouble(label, album, folder):
    odd = [b"line\nfeed.png", b"\xff.png", 'ü, "quoted" $x$.png'.encode(), b"[red].png"]
    for name in odd:
        shutil.copy(album / "a.png", os.fsencode(album) + b"/" + name)
    (album / "deep" / "bad\n[bold].png").write_bytes(b"nonsense")
    ended = label("-o", b"o\xff", expect=1)
    assert r"failed: deep/bad\n[bold].png: " in ended.stderr
    found = file(("psnr",)).read(Path(os.fsdecode(os.fsencode(folder) + b"/o\xff/labels.csv")))
    assert {os.fsencode(row.path) for row in found} == {*map(os.fsencode, NAMES), *odd}
    assert all((folder / os.fsdecode(b"o\xff") / row.label).is_file() for row in found if row.chosen)
    again = label("-o", b"o\xff", "--resume", expect=1)
    assert "0 rows computed" in again.stderr


def test_a_cluster_needs_dask(label, album, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'kcompress[cluster]'" in label("--cluster", "tcp://127.0.0.1:1", expect=7).stderr


@pytest.fixture
def large(folder, lake):
    """Ten pictures that take a while."""
    place = folder / "album"
    place.mkdir()
    for number in range(10):
        Pil.fromarray(lake.pixels[10 * number : 10 * number + 120, 20 * number : 20 * number + 160]).save(
            place / f"{number}.png", compress_level=1
        )
    return place


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_broken_off_and_resumed(start, label, large, folder, number):
    process = start("label", "album", *BASE, *THREE, "--jobs", "2")
    path = folder / "labels" / "labels.csv"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 8)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    assert b"Traceback" not in stderr and stdout == b""
    kept = file(("psnr",)).read(path)
    assert 7 <= len(kept) < 10 * 7
    seconds = {row.key: row.seconds for row in kept}
    for unfinished in folder.rglob(".kcompress-*"):
        assert number == signal.SIGKILL  # which leaves nobody to clean up
        unfinished.unlink()
    label(*THREE, "--resume")
    label(*THREE, "-o", "whole")
    assert state(folder) == state(folder, "whole")
    after = {row.key: row.seconds for row in file(("psnr",)).read(path)}
    assert seconds.items() <= after.items()  # what was there was not computed again


@pytest.mark.slow
def test_a_cluster_gives_the_same_labels(launch, label, album, folder, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    (album / "z.png").write_bytes(b"nonsense")
    here = label("-o", "here", expect=1)
    # The workers are somewhere else, and know the data set by its whole path.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        there = launch("label", "album", *BASE, "--cluster", cluster.scheduler_address, expect=1)
        again = label("--cluster", cluster.scheduler_address, "--resume", expect=1)
        cluster.scale(0)
        wait_until(lambda: not cluster.scheduler.workers)
        nobody = label("--cluster", cluster.scheduler_address, "-o", "none", expect=2)
    assert state(folder) == state(folder, "here")
    assert there.stderr == here.stderr.replace("here/", "labels/")
    assert "0 rows computed" in again.stderr
    assert "has no workers" in nobody.stderr


@pytest.mark.slow
def test_a_cluster_that_goes_away_is_told(start, large, folder):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        process = start("label", "album", *BASE, *THREE, "--cluster", cluster.scheduler_address)
        path = folder / "labels" / "labels.csv"
        wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 8)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 6
    assert len(stderr.decode().splitlines()) == 1 and b"failed: " in stderr and b"--resume" in stderr
    assert len(file(("psnr",)).read(path)) >= 7


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_is_told(label, album, monkeypatch):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr(distributed, "Client", lambda address, timeout: client(address, timeout=0.5))
    ended = label("--cluster", "tcp://127.0.0.1:1", expect=2)
    assert "--cluster tcp://127.0.0.1:1 does not answer (Timed out" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_url_is_a_data_set(run, album, folder):
    pytest.importorskip("fsspec")
    run("label", "album", *BASE)
    run("label", album.as_uri(), *BASE, "-o", "url")
    assert state(folder) == state(folder, "url")
    assert DataSet(album.as_uri()).names() == NAMES
