"""``kcompress bench``: the whole of it on small pictures; interrupted, resumed, refused."""

import csv
import hashlib
import json
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil
from tiny_weights import write_kuchen
from waiting import wait_until

from kcompress import storage
from kcompress.codecs import CODECS
from kcompress.csv_rows import Rows
from kcompress.encoding import encode
from kcompress.evaluation.points import Point
from kcompress.images import read
from kcompress.networks.loading import load

LAKE = Path(__file__).parents[1] / "images" / "lake.png"
ONE_LINE = ["--codec", "jpeg,webp", "--network", "none,shrink", "--filter", "detail", "--quality", "30,50,70,90"]
TWO_METRICS = ["--metric", "ssimulacra2,psnr"]
PLAIN = ["photos", "--codec", "jpeg", "--network", "none", "--metric", "psnr", "-j", "1"]
ONE_FILE = [*PLAIN, "-q", "60", "--pictures", "1"]
Bench = Callable[..., Any]


@pytest.fixture
def photos(folder: Path) -> Path:
    """Two pictures in the folder that the command runs in."""
    place = folder / "photos"
    (place / "below").mkdir(parents=True)
    lake = np.asarray(Pil.open(LAKE).convert("RGB"))
    Pil.fromarray(lake[:128, :160]).save(place / "a.png")
    Pil.fromarray(lake[200:330, 300:470]).save(place / "below" / "b & c.png")
    return place


@pytest.fixture
def bench(run: Bench) -> Bench:
    """``bench("photos", "--resume", expect=5)``."""
    return lambda *arguments, expect=0: run("bench", *arguments, expect=expect)


def rows(report: Path) -> list[list[str]]:
    """Rows of points.csv without the two columns of seconds."""
    with (report / "points.csv").open(newline="") as stream:
        return [row[:11] + row[13:] for row in csv.reader(stream)]


@pytest.mark.slow
def test_a_whole_bench(bench: Bench, photos: Path, folder: Path) -> None:
    bench("photos", "-o", "report", *ONE_LINE, *TWO_METRICS, "--jobs", "2")
    report = folder / "report"
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
    assert "BD-rate is the mean change of bits at equal score" in page and "<title>kcompress bench" in page
    captions = re.findall(r"<b>(\w+ \w+)</b> <span>([\d,]+) bytes, q (\d+), ssimulacra2 [-\d.]+</span>", page)
    assert len(captions) == 4 * 2 * 4  # comparisons x pictures x (both at the same quality, both at the same bytes)
    for k in range(0, len(captions), 4):
        (plain, before, _), (_, after, quality), (equal, near, _), (_, *same) = captions[k : k + 4]
        assert plain == equal and plain.endswith("plain") and same == [after, quality]
        sizes = [int(text.replace(",", "")) for text in (before, after, near)]
        assert abs(sizes[2] - sizes[1]) <= abs(sizes[0] - sizes[1])
        assert abs(sizes[2] / sizes[1] - 1) < 0.03
    assert page.count('<div class="crops">') == 2 * 2  # codecs x pictures
    cells = re.findall(r"<td[^>]*>", page)
    assert cells and all("data-label=" in cell for cell in cells)
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)

    again = bench("photos", "-o", "report", *ONE_LINE, *TWO_METRICS, expect=5)
    assert "--resume" in again.stderr
    bench("photos", "-o", "one", *ONE_LINE, *TWO_METRICS, "--jobs", "1")
    assert rows(folder / "one") == rows(report)


def test_the_backend_can_be_chosen(bench: Bench, photos: Path, folder: Path) -> None:
    bench(*ONE_FILE, "--backend", "pillow")
    (point,) = rows(folder / "report")[1:]
    assert point[3] == "pillow"
    assert "mozjpeg" in bench(*ONE_FILE, "--codec", "webp", "--backend", "mozjpeg", expect=2).stderr


def test_a_series_of_filters(bench: Bench, photos: Path, folder: Path) -> None:
    bench(*ONE_FILE, "--filter", "detail,blur,detail+blur")
    sizes = {row[5]: row[9] for row in rows(folder / "report")[1:]}
    assert list(sizes) == ["none", "detail", "blur", "detail+blur"] and len(set(sizes.values())) == 4


def test_bits_are_matched(bench: Bench, photos: Path, folder: Path) -> None:
    options = [*PLAIN, "--filter", "detail", "-q", "40,60,80,90"]
    bench(*options, "--match-bpp")
    report = folder / "report"
    first = rows(report)
    (entry,) = json.loads((report / "summary.json").read_text())["comparisons"]
    assert [row["quality"] for row in entry["same_bits"]] == [40, 60, 80, 90] and not entry["same_quality"]
    for row in entry["same_bits"]:
        assert row["largest_difference_percent"] < 3 and row["quality_after"] < row["quality"]
        assert row["scores"]["psnr"][1] < row["scores"]["psnr"][0]  # sharpening at equal bits
    for text in ((report / "report.md").read_text(), (report / "report.html").read_text()):
        assert "At the same bits per pixel" in text and "At the same quality setting" not in text
    lines = (report / "points.csv").read_text().splitlines(keepends=True)
    (report / "points.csv").write_text("".join(lines[:-2]))
    bench(*options, "--match-bpp", "--resume")
    assert rows(report) == first
    assert (report / "points.csv").read_text().splitlines(keepends=True)[:-2] == lines[:-2]
    # The same folder without it: what is at the same quality, and nothing else, is compared.
    bench(*options, "--resume")
    (entry,) = json.loads((report / "summary.json").read_text())["comparisons"]
    assert [row["quality"] for row in entry["same_quality"]] == [40, 60, 80, 90] and not entry["same_bits"]
    refused = bench("photos", "--task", "classification", "--model", "classifier-residual", "--match-bpp", expect=2)
    assert "--match-bpp compares metrics at equal bits" in refused.stderr


def test_weights_of_one_s_own(bench: Bench, photos: Path, folder: Path) -> None:
    write_kuchen(folder / "mine.safetensors", 2)
    own = ["--weights", "mine.safetensors"]
    sizes = []
    for output, more in (("shipped", []), ("own", own)):
        bench(*ONE_FILE, "--network", "kuchen", "-o", output, *more)
        sizes.append({row[5]: row[9] for row in rows(folder / output)[1:]})
    assert sizes[0]["none"] == sizes[1]["none"] and sizes[0]["kuchen"] != sizes[1]["kuchen"]
    source = (photos / rows(folder / "own")[1][0]).read_bytes()
    codec = CODECS["jpeg"]
    preprocessor = load("kuchen", weights=folder / "mine.safetensors", codec="jpeg")
    assert int(sizes[1]["kuchen"]) == len(encode(read(source), codec, codec.setting(60), preprocessor).data)
    refused = bench(*ONE_FILE, "--network", "kuchen", "-o", "shipped", *own, "--resume", expect=2)
    assert "weights, tables or use of kuchen jpeg are others" in refused.stderr
    refused = bench(*ONE_FILE, "--network", "shrink", "-o", "none", *own, expect=2)
    assert "are of kuchen for any, which is not among --network and --codec" in refused.stderr
    missing = ["--network", "none,default", "-o", "none", "--weights", "no.safetensors"]
    assert "do not exist" in bench(*ONE_FILE, *missing, expect=9).stderr


def test_strength_is_that_of_every_network(bench: Bench, photos: Path, folder: Path) -> None:
    both = [*ONE_FILE, "--network", "kuchen,shrink"]
    sizes = []
    for output, more in (("own", []), ("half", ["--strength", "0.5"]), ("whole", ["--strength", "1"])):
        bench(*both, "-o", output, *more)
        sizes.append({row[5]: int(row[9]) for row in rows(folder / output)[1:]})
    own, half, whole = sizes
    assert own["none"] == half["none"] == whole["none"]
    assert own["kuchen"] == half["kuchen"] > whole["kuchen"] and own["shrink"] == whole["shrink"] < half["shrink"]
    bench(*both, "-o", "half", "--strength", "0.5", "--resume")
    bench(*ONE_FILE, "--network", "kuchen", "-o", "half", "--resume")  # is the same
    refused = bench(*both, "-o", "half", "--strength", "1", "--resume", expect=2)
    assert "weights, tables or use of kuchen jpeg, shrink jpeg are others" in refused.stderr
    assert "--strength 2 is out of range. Allowed: 0..1" in bench(*both, "-o", "x", "--strength", "2", expect=2).stderr


def test_default_is_what_encode_takes_for_each_codec(bench: Bench, photos: Path, folder: Path) -> None:
    options = [*ONE_FILE, "--codec", "jpeg,webp", "--network"]
    refused = bench(*options, "default,rdo", expect=2)
    assert "rdo" in refused.stderr  # which webp has no weights of
    bench(*options, "default")
    found = {(row[2], row[5]) for row in rows(folder / "report")[1:]}
    assert found == {("jpeg", "none"), ("jpeg", "rdo"), ("webp", "none"), ("webp", "feedback")}


@pytest.mark.slow
def test_killed_and_resumed(bench: Bench, photos: Path, folder: Path) -> None:
    options = ["photos", "-o", "report", "--jobs", "1", *ONE_LINE, *TWO_METRICS]
    bench(*options)
    expected = rows(folder / "report")
    path = folder / "report" / "points.csv"
    content = path.read_bytes()
    # A kill -9 leaves the journal up to some byte: here in the middle of a row.
    path.write_bytes(content[: content.rindex(b"below/b & c.png,") + 30])
    before = path.stat().st_mtime_ns
    bench(*options, "--resume")
    assert path.stat().st_mtime_ns != before
    assert rows(folder / "report") == expected
    # Nothing is measured twice: the seconds of the rows that were there are still the same.
    assert path.read_text().splitlines()[:-1] == content.decode().splitlines()[:-1]
    assert "other columns" in bench(*options[:-1], "psnr", "--resume", expect=3).stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_while_running(
    bench: Bench, start: Callable[..., "subprocess.Popen[bytes]"], photos: Path, folder: Path, number: signal.Signals
) -> None:
    options = ["photos", "--codec", "jpeg,webp", "--quality", "30,50,70,90", *TWO_METRICS, "--jobs", "2"]
    process = start("bench", *options)
    path = folder / "report" / "points.csv"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") >= 2)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode in (-number, 128 + number, 0)
    assert b"Traceback" not in complaint
    for unfinished in folder.rglob(".kcompress-*"):
        assert number == signal.SIGKILL  # which leaves nobody to clean up
        unfinished.unlink()
    bench(*options, "--resume")
    assert len(rows(folder / "report")) == 1 + 2 * 2 * 2 * 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 3, "no folder"),
        (["empty"], 3, "no picture was found"),
        (["photos", "--codec", "png"], 2, "Allowed: jpeg, webp, hevc, bpg, avif"),
        (["photos", "--metric", "beauty"], 2, "ssimulacra2"),
        (["photos", "--network", "big"], 2, "shrink"),
        (["photos", "--filter", "sepia"], 2, "nlm"),
        (["photos", "--filter", "nlm:h=-1"], 2, "h=0.1..100"),
        (["photos", "--filter", "detail+"], 2, "sharpen"),
        (["photos", "--quality", "high"], 2, "40,60,80,90"),
        (["photos", "--codec", "jpeg,hevc", "--network", "none", "--match-bpp"], 2, "nothing to match"),
        (
            ["photos", "--codec", "jpeg,avif", "--network", "none", "--filter", "ar", "--strength", "0.5"],
            2,
            "without a network",
        ),
        (["photos", "--split", "1"], 2, "--split 1 is out of range"),
        (["photos", "--split", "0.999999"], 3, "holds out none of the 2 pictures"),
        (["photos", "--codec", "jpeg", "--quality", "webp=50"], 2, "not among the codecs"),
        (["photos", "--codec", "jpeg", "--quality", "101"], 2, "0..100"),
    ],
)
def test_refusals(bench: Bench, folder: Path, photos: Path, arguments: list[str], code: int, words: str) -> None:
    (folder / "empty").mkdir()
    ended = bench(*arguments, expect=code)
    assert words in ended.stderr
    assert not (folder / "report").exists()


@pytest.mark.slow
def test_only_what_a_training_holds_out(bench: Bench, photos: Path, folder: Path) -> None:
    names = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in photos.rglob("*.png")}
    later = max(names, key=names.__getitem__)
    split = 1 - (int(names[later][:8], 16) - 1) / 2**32  # between the two
    ended = bench(*PLAIN, "--quality", "50", "--split", f"{split:.9f}")
    assert "1 of 2 pictures are held out" in ended.stderr
    assert {Path(row[0]).name for row in rows(folder / "report")[1:]} == names.keys() - {later}


@pytest.mark.slow
def test_a_broken_picture_does_not_stop_the_others(bench: Bench, photos: Path, folder: Path) -> None:
    (photos / "z.png").write_bytes(b"nonsense")
    ended = bench("photos", "--codec", "jpeg", "--quality", "30,50,70,90", *TWO_METRICS, "--jobs", "1", expect=1)
    assert "failed (jpeg): z.png" in ended.stderr
    assert json.loads((folder / "report" / "summary.json").read_text())["failed"][0]["picture"] == "z.png"


def test_where_every_picture_is_broken_the_report_says_so(bench: Bench, photos: Path, folder: Path) -> None:
    for path in photos.rglob("*.png"):
        path.write_bytes(b"nonsense")
    ended = bench("photos", "--codec", "jpeg", "--quality", "30,50,70,90", *TWO_METRICS, "--jobs", "1", expect=1)
    assert ended.stderr.count("failed (jpeg): ") == 2 and "nobody foresaw" not in ended.stderr
    assert "2 measurements failed" in (folder / "report" / "report.html").read_text()


def test_resumed_with_another_encoder_and_with_twins(bench: Bench, photos: Path, folder: Path) -> None:
    """Points of an older encoder are kept, measured again, and never taken for today's; twins are two pictures."""
    (photos / "twin.png").write_bytes((photos / "a.png").read_bytes())
    options = [*PLAIN, "--quality", "30,60"]
    bench(*options)
    report = folder / "report"
    fresh = rows(report)
    assert [row[0] for row in fresh[1:]] == ["a.png"] * 2 + ["below/b & c.png"] * 2 + ["twin.png"] * 2
    lines = (report / "points.csv").read_text().splitlines(keepends=True)
    version = fresh[1][4]
    (report / "points.csv").write_text("".join(lines[:-2]).replace(version, "an older one"))
    for _ in range(2):
        bench(*options, "--resume")
        assert rows(report)[:7] == fresh
        assert {row[4] for row in rows(report)[7:]} == {"an older one"}
        encoders = json.loads((report / "summary.json").read_text())["encoders"]
        assert [encoder["version"] for encoder in encoders] == [version]


def test_a_folder_with_the_name_of_a_picture(bench: Bench, photos: Path, folder: Path) -> None:
    (photos / "x.png").mkdir()
    bench(*PLAIN, "--quality", "50")


def test_two_in_one_folder(bench: Bench, photos: Path, folder: Path) -> None:
    with storage.sole_user(folder / "report"):
        refused = bench("photos", "-o", "report", *ONE_LINE, *TWO_METRICS, expect=5)
    assert refused.stderr == "kcompress: another kcompress works in report. Wait for its end, or give another -o.\n"


def test_points_of_another_effort_are_not_mixed(bench: Bench, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = [*PLAIN, "-q", "60"]
    bench(*options)
    bench(*options, "--resume")
    monkeypatch.setitem(CODECS, "jpeg", replace(CODECS["jpeg"], plain_effort=0))
    assert "use of none jpeg are others than before" in bench(*options, "--resume", expect=2).stderr


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b'{"weights": {}, "ladders": {"jpeg": 5}}',
                                     b'{"weights": {}, "ladders": {"jpeg": [999]}}'])  # fmt: skip
def test_a_damaged_plan(bench: Bench, photos: Path, folder: Path, content: bytes) -> None:
    (folder / "report").mkdir()
    (folder / "report" / "plan.json").write_bytes(content)
    refused = bench("photos", "-o", "report", *ONE_LINE, *TWO_METRICS, "--resume", expect=3)
    assert refused.stderr.startswith("kcompress: report/plan.json ")


@pytest.mark.parametrize("column, value", [("codec", "jpeg2000"), ("quality", "999"), ("sha256", "x"), ("width", "0"),
                                           ("picture", "x" * 200_000)])  # fmt: skip
def test_damaged_points(bench: Bench, photos: Path, folder: Path, column: str, value: str) -> None:
    header = Rows(Point, ("ssimulacra2", "psnr")).header
    row = dict(zip(header, ["a.png", "0" * 64, "jpeg", "pillow", "1", "none", "75", *["9"] * 8], strict=True))
    (folder / "report").mkdir()
    with (folder / "report" / "points.csv").open("w", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, (row | {column: value}).values()])
    refused = bench("photos", "-o", "report", *ONE_LINE, *TWO_METRICS, "--resume", expect=3)
    assert refused.stderr.startswith("kcompress: report/points.csv")
