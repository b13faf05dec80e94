"""``kcompress bench``: the whole of it on small pictures; interrupted, resumed, refused."""

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil
from waiting import wait_until

LAKE = Path(__file__).parents[1] / "images" / "lake.png"
ONE_LINE = ["--codec", "jpeg,webp", "--network", "none,shrink", "--filter", "detail", "--quality", "30,50,70,90"]
TWO_METRICS = ["--metric", "ssimulacra2,psnr"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    lake = np.asarray(Pil.open(LAKE).convert("RGB"))
    Pil.fromarray(lake[:128, :160]).save(folder / "a.png")
    Pil.fromarray(lake[200:330, 300:470]).save(folder / "below" / "b & c.png")
    return folder


def kcompress(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kcompress", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def rows(report: Path) -> list[list[str]]:
    """Rows of points.csv without the two columns of seconds."""
    with (report / "points.csv").open(newline="") as stream:
        return [row[:11] + row[13:] for row in csv.reader(stream)]


@pytest.mark.slow
def test_a_whole_bench(photos: Path, tmp_path: Path) -> None:
    ended = kcompress(tmp_path, "photos", "-o", "report", *ONE_LINE, *TWO_METRICS, "--jobs", "2")
    assert ended.returncode == 0, ended.stderr
    report = tmp_path / "report"
    assert rows(report)[0][:3] == ["picture", "sha256", "codec"]
    assert rows(report)[0][-2:] == ["ssimulacra2", "psnr"]
    assert len(rows(report)) == 1 + 2 * 2 * 3 * 4
    assert [row[0] for row in rows(report)[1:25]] == ["a.png"] * 24
    summary = json.loads((report / "summary.json").read_text())
    assert summary["pictures"] == 2 and summary["points"] == 48
    assert [(c["codec"], c["preprocessor"]) for c in summary["comparisons"]] == [
        ("jpeg", "shrink"), ("jpeg", "detail"), ("webp", "shrink"), ("webp", "detail"),
    ]  # fmt: skip
    by_name = {(c["codec"], c["preprocessor"]): c for c in summary["comparisons"]}
    assert -15 < by_name["jpeg", "shrink"]["bd_rate_percent"]["psnr"]["mean"] < 0
    assert all(row["size_change_percent"] > 5 for row in by_name["jpeg", "detail"]["same_quality"])  # sharper costs
    with Pil.open(report / "curves.png") as curves:
        assert curves.size == (2 * 520, 2 * 380)
    markdown = (report / "report.md").read_text()
    assert "| jpeg | shrink |" in markdown and "kcompress bench photos -o report" in markdown
    page = (report / "report.html").read_text()
    assert page.count("<svg") == 2 * 2 + 2
    assert "b &amp; c.png" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)

    again = kcompress(tmp_path, "photos", "-o", "report", *ONE_LINE, *TWO_METRICS)
    assert again.returncode == 5 and "--resume" in again.stderr
    one = kcompress(tmp_path, "photos", "-o", "one", *ONE_LINE, *TWO_METRICS, "--jobs", "1")
    assert one.returncode == 0
    assert rows(tmp_path / "one") == rows(report)


def test_the_backend_can_be_chosen(photos: Path, tmp_path: Path) -> None:
    options = ["photos", "-o", "report", "--network", "none", "--quality", "60", "--metric", "psnr", "--pictures", "1"]
    ended = kcompress(tmp_path, *options, "--codec", "jpeg", "--backend", "pillow")
    assert ended.returncode == 0, ended.stderr
    (point,) = rows(tmp_path / "report")[1:]
    assert point[3] == "pillow"
    refused = kcompress(tmp_path, *options, "--codec", "webp", "--backend", "mozjpeg")
    assert refused.returncode == 2 and "mozjpeg" in refused.stderr


def test_default_is_what_encode_takes_for_each_codec(photos: Path, tmp_path: Path) -> None:
    options = ["-o", "report", "--network", "default,rdo", "--quality", "60", "--metric", "psnr", "--pictures", "1"]
    refused = kcompress(tmp_path, "photos", *options, "--codec", "jpeg,webp")
    assert refused.returncode == 2 and "rdo" in refused.stderr  # which webp has no weights of
    options[3] = "default"
    ended = kcompress(tmp_path, "photos", *options, "--codec", "jpeg,webp")
    assert ended.returncode == 0, ended.stderr
    found = {(row[2], row[5]) for row in rows(tmp_path / "report")[1:]}
    assert found == {("jpeg", "none"), ("jpeg", "rdo"), ("webp", "none"), ("webp", "feedback")}


@pytest.mark.slow
def test_killed_and_resumed(photos: Path, tmp_path: Path) -> None:
    options = ["photos", "-o", "report", *ONE_LINE, *TWO_METRICS]
    whole = kcompress(tmp_path, *options)
    assert whole.returncode == 0
    expected = rows(tmp_path / "report")
    path = tmp_path / "report" / "points.csv"
    content = path.read_bytes()
    # A kill -9 leaves the journal up to some byte: here in the middle of a row.
    path.write_bytes(content[: content.rindex(b"below/b & c.png,") + 30])
    before = path.stat().st_mtime_ns
    resumed = kcompress(tmp_path, *options, "--resume")
    assert resumed.returncode == 0 and path.stat().st_mtime_ns != before
    assert rows(tmp_path / "report") == expected
    # Nothing is measured twice: the seconds of the rows that were there are still the same.
    assert path.read_text().splitlines()[:-1] == content.decode().splitlines()[:-1]
    other = kcompress(tmp_path, *options[:-1], "psnr", "--resume")
    assert other.returncode == 3 and "other columns" in other.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_while_running(photos: Path, tmp_path: Path, number: signal.Signals) -> None:
    options = [
        "photos",
        "-o",
        "report",
        "--codec",
        "jpeg,webp",
        "--quality",
        "30,50,70,90",
        *TWO_METRICS,
        "--jobs",
        "2",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "kcompress", "bench", *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    path = tmp_path / "report" / "points.csv"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 2)
    os.kill(process.pid, number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode in (-number, 128 + number, 0)
    assert "Traceback" not in complaint
    resumed = kcompress(tmp_path, *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(rows(tmp_path / "report")) == 1 + 2 * 2 * 2 * 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 3, "no folder"),
        (["."], 3, "no picture was found"),
        (["photos", "--codec", "png"], 2, "Allowed: jpeg, webp, hevc, bpg"),
        (["photos", "--metric", "beauty"], 2, "ssimulacra2"),
        (["photos", "--network", "big"], 2, "shrink"),
        (["photos", "--filter", "sepia"], 2, "nlm"),
        (["photos", "--filter", "nlm:h=-1"], 2, "h=0.1..100"),
        (["photos", "--quality", "high"], 2, "40,60,80,90"),
        (["photos", "--split", "1"], 2, "--split 1 is out of range"),
        (["photos", "--split", "0.999999"], 3, "holds out none of the 2 pictures"),
        (["photos", "--codec", "jpeg", "--quality", "webp=50"], 2, "not among the codecs"),
        (["photos", "--codec", "jpeg", "--quality", "101"], 2, "0..100"),
    ],
)
def test_refusals(tmp_path: Path, photos: Path, arguments: list[str], code: int, words: str) -> None:
    (tmp_path / "empty").mkdir()
    ended = kcompress(tmp_path / "empty" if arguments == ["."] else tmp_path, *arguments)
    assert (ended.returncode, words in ended.stderr) == (code, True), ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.slow
def test_only_what_a_training_holds_out(photos: Path, tmp_path: Path) -> None:
    options = ["photos", "--codec", "jpeg", "--network", "none", "--quality", "50", "--metric", "psnr"]
    names = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*.png")}
    later = max(names, key=names.__getitem__)
    split = 1 - (int(names[later][:8], 16) - 1) / 2**32  # between the two
    ended = kcompress(tmp_path, *options, "-o", "report", "--split", f"{split:.9f}")
    assert ended.returncode == 0, ended.stderr
    assert "1 of 2 pictures are held out" in ended.stderr
    assert {Path(row[0]).name for row in rows(tmp_path / "report")[1:]} == names.keys() - {later}


@pytest.mark.slow
def test_a_broken_picture_does_not_stop_the_others(photos: Path, tmp_path: Path) -> None:
    (photos / "z.png").write_bytes(b"nonsense")
    ended = kcompress(tmp_path, "photos", "--codec", "jpeg", "--quality", "30,50,70,90", *TWO_METRICS, "--jobs", "1")
    assert ended.returncode == 1
    assert "failed (jpeg): z.png" in ended.stderr
    assert json.loads((tmp_path / "report" / "summary.json").read_text())["failed"][0]["picture"] == "z.png"


def test_resumed_with_another_encoder_and_with_twins(photos: Path, tmp_path: Path) -> None:
    """Points of an older encoder are kept, measured again, and never taken for today's; twins are two pictures."""
    (photos / "twin.png").write_bytes((photos / "a.png").read_bytes())
    options = ["photos", "--codec", "jpeg", "--network", "none", "--quality", "30,60", "--metric", "psnr", "-j", "1"]
    assert kcompress(tmp_path, *options).returncode == 0
    report = tmp_path / "report"
    fresh = rows(report)
    assert [row[0] for row in fresh[1:]] == ["a.png"] * 2 + ["below/b & c.png"] * 2 + ["twin.png"] * 2
    lines = (report / "points.csv").read_text().splitlines(keepends=True)
    version = fresh[1][4]
    (report / "points.csv").write_text("".join(lines[:-2]).replace(version, "an older one"))
    for _ in range(2):
        resumed = kcompress(tmp_path, *options, "--resume")
        assert resumed.returncode == 0, resumed.stderr
        assert rows(report)[:7] == fresh
        assert {row[4] for row in rows(report)[7:]} == {"an older one"}
        encoders = json.loads((report / "summary.json").read_text())["encoders"]
        assert [encoder["version"] for encoder in encoders] == [version]


def test_a_folder_with_the_name_of_a_picture(photos: Path, tmp_path: Path) -> None:
    (photos / "x.png").mkdir()
    few = ["--codec", "jpeg", "--network", "none", "--quality", "50", "--metric", "psnr", "-j", "1"]
    assert kcompress(tmp_path, "photos", *few).returncode == 0
