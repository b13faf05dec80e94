"""``--target``, ``--target-size`` and ``--target-bpp``: what is written, what is said, what is refused."""

import json
import re
import shutil

import pytest


def test_a_score_is_the_same_number_for_every_codec(run, photo):
    for codec in ("jpeg", "webp", "avif", "hevc", "bpg"):
        (line,) = run("encode", "photo.png", "-c", codec, "--target", "60", "-n", "none", "--json").lines
        assert line["target"] == "ssimulacra2=60" and 1 <= line["tries"] <= 6
        assert 59.7 <= line["reached"] <= (61 if codec in ("jpeg", "webp") else 64), "a QP is a larger step"
        if codec != "bpg":  # which no reader of compare's takes
            (judged,) = run("compare", "photo.png", line["output"], "--metric", "ssimulacra2", "--json").lines
            assert judged["scores"]["ssimulacra2"] == pytest.approx(line["reached"], abs=0.001)


def test_a_size_is_held_and_told(run, photo, folder):
    ended = run("encode", "photo.png", "-o", "out.jpg", "--target-size", "12k", "--json")
    (line,) = ended.lines
    size = (folder / "out.jpg").stat().st_size
    assert 11_000 < size <= 12_000 and line["reached"] == line["output_bytes"] == size
    assert line["target"] == "size=12000"
    assert f"  size {size} bytes, in {line['tries']} tries" in ended.stderr.splitlines()
    rate = 8 * 12_000 / (333 * 217)
    run("encode", "photo.png", "-o", "rate.jpg", "--target-bpp", str(rate))
    assert (folder / "rate.jpg").read_bytes() == (folder / "out.jpg").read_bytes()


@pytest.mark.parametrize("text", ["12000", "12kB", "0.012M", "12 k", "11.71875KiB"])
def test_sizes_have_units(run, photo, text):
    (line,) = run("encode", "photo.png", "--target-size", text, "-n", "none", "--force", "--json").lines
    assert line["target"] == "size=12000"


def test_where_lower_is_better(run, photo):
    (line,) = run("encode", "photo.png", "--target", "butteraugli=3", "-n", "none", "--json").lines
    assert line["target"] == "butteraugli=3" and 2.6 < line["reached"] <= 3


def test_batches_streams_auto_and_refine(run, album, folder):
    for picture in ("a.png", "b.png"):
        shutil.copy(folder / "album" / "deep" / "c.png", folder / "album" / picture)
    options = ("--target-size", "2500", "--network", "auto", "--refine", "2")
    lines = {jobs: run("encode", "album", "-o", jobs, *options, "--jobs", jobs, "--json").lines for jobs in ("1", "3")}
    for one, three in zip(lines["1"][:-1], lines["3"][:-1], strict=True):
        assert [one[key] for key in ("reached", "tries", "quality")] == [
            three[key] for key in ("reached", "tries", "quality")
        ]
        assert one["reached"] <= 2500 and one["candidates"] and one["refined"]
    assert len({json.dumps((line["reached"], line["tries"])) for line in lines["1"][:3]}) == 1, (
        "same picture, same file"
    )
    streamed = run("encode", "-", "-o", "-", *options, stdin=(folder / "album" / "a.png").read_bytes()).stdout
    assert streamed == (folder / "1" / "a.jpg").read_bytes()


def test_a_target_that_is_beyond_the_codec_is_noted(run, small):
    ended = run("encode", "small.png", "--target", "100")
    assert "note: the target ssimulacra2=100 was not reached; the nearest is " in ended.stderr


@pytest.mark.parametrize("option", [["--target-size", "300"], ["--target-bpp", "0.01"]])
def test_a_size_that_no_file_can_have_is_refused(run, photo, folder, option):
    ended = run("encode", "photo.png", *option, "-n", "none", expect=4)
    found = re.search(r"photo.png takes at least (\d+) bytes \(([\d.]+) bits per pixel\)", ended.stderr)
    assert found and "--max-side" in ended.stderr and not list(folder.glob("*.jpg"))
    least = ["--target-size", found[1]] if option[0] == "--target-size" else ["--target-bpp", found[2]]
    (line,) = run("encode", "photo.png", *least, "-n", "none", "--json").lines
    assert line["output_bytes"] == int(found[1])


def test_it_ends_no_batch(run, photo, small, folder):
    batch = run("encode", "photo.png", "small.png", "--target-size", "900", "-n", "none", "--json", expect=1)
    failed, done, summary = batch.lines
    assert (failed["input"], failed["exit_code"], summary["failed"]) == ("photo.png", 4, 1)
    assert done["output_bytes"] <= 900 and [path.name for path in folder.glob("*.jpg")] == ["small.jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "80", "-q", "70"], ["--target 80 and --quality 70 exclude", "Leave --quality 70 out"]),
        (["--target-size", "9k", "--target", "80"], ["--target 80 and --target-size 9k exclude"]),
        (["--target", "80", "--target-size", "9k", "-q", "7"], ["Leave all but one out"]),
        (["--target", "-5"], ["-5 is no score"]),
        (["--target", "101"], ["--target 101", "up to 100", "higher"]),
        (["--target", "ms-ssim=1.5"], ["up to 1, higher"]),
        (["--target", "psnr="], ["nothing is no score", "psnr=80"]),
        (["--target", "beauty=3"], ["beauty is no metric", "butteraugli"]),
        (["--target-size", "5q"], ["5q is no size", "200k"]),
        (["--target-size", "0"], ["0 is no size"]),
        (["--target-size", "-3k"], ["-3k is no size"]),
        (["--target-bpp", "-1"], ["--target-bpp -1", "above 0"]),
        (["--target-bpp", "nan"], ["--target-bpp nan"]),
    ],
)
def test_nonsense_is_refused(run, small, folder, arguments, words):
    ended = run("encode", "small.png", *arguments, expect=2)
    assert all(word in ended.stderr for word in words), ended.stderr
    assert list(folder.iterdir()) == [small]


def test_a_metric_that_is_not_installed(run, small, no_programs, monkeypatch):
    from dataclasses import replace

    from kcompress.metrics import METRICS

    monkeypatch.setitem(METRICS, "vmaf", replace(METRICS["vmaf"], available=lambda: False))
    assert (
        "--target vmaf=90: vmaf is not installed" in run("encode", "small.png", "--target", "vmaf=90", expect=7).stderr
    )
