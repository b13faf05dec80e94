"""``kcompress encode --network auto`` and ``--refine``: what is written, what is said, what is refused."""

import math

import pytest


def test_auto_says_what_it_tried(run, small, folder):
    ended = run("encode", "small.png", "-o", "auto.jpg", "--network", "auto", "--json")
    (line,) = ended.lines
    tried = {each["network"]: each for each in line["candidates"]}
    assert set(tried) >= {"none", "shrink"} and tried["none"]["cost"] == 0
    assert list(line["candidates"][0]) == ["network", "bytes", "ssimulacra2", "cost", "eligible"]
    assert line["network"] == line["candidates"][0]["network"]
    assert line["output_bytes"] == line["candidates"][0]["bytes"] == (folder / "auto.jpg").stat().st_size
    assert line["auto_seconds"] > 0
    gain = f"{100 * math.expm1(line['candidates'][0]['cost']):+.1f} % bytes at equal SSIMULACRA2 against none"
    assert f"  auto: {line['network']}, {gain}" in ended.stderr.splitlines()
    alone = ("--network", line["network"].partition("-")[0], "--tables", line["tables"])
    run("encode", "small.png", "-o", "alone.jpg", *alone)
    assert (folder / "auto.jpg").read_bytes() == (folder / "alone.jpg").read_bytes()


def test_auto_and_refine_in_batches_and_streams(run, album, folder, small):
    options = ("--network", "auto", "--refine", "3", "-q", "60")
    for jobs in ("1", "3"):
        run("encode", "album", "-o", f"out{jobs}", *options, "--jobs", jobs)
    one, three = (sorted((folder / f"out{jobs}").rglob("*.jpg")) for jobs in ("1", "3"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in three]
    assert len(one) == 4
    streamed = run("encode", "-", "-o", "-", *options, stdin=(folder / "album" / "a.png").read_bytes()).stdout
    assert streamed == one[0].read_bytes()


def test_refine_changes_the_file_and_says_so(run, small, folder):
    run("encode", "small.png", "-o", "plain.jpg")
    ended = run("encode", "small.png", "-o", "refined.jpg", "--refine", "10", "--json")
    (line,) = ended.lines
    assert (folder / "plain.jpg").read_bytes() != (folder / "refined.jpg").read_bytes()
    refined = line["refined"]
    assert list(refined) == ["of", "steps", "kept", "strength", "cost", "scores", "seconds"]
    assert refined["of"] == "levels" and refined["steps"] == 10 and refined["cost"] < 0
    assert set(refined["scores"]) == {"ssimulacra2", "psnr", "vif", "butteraugli"}
    gain = f"{100 * math.expm1(refined['cost']):+.1f} % bytes at equal scores against the same file unrefined"
    assert f"  refined: {gain}" in ended.stderr.splitlines()


def test_without_them_nothing_is_added_to_the_line(run, small):
    (line,) = run("encode", "small.png", "--json").lines
    assert not {"candidates", "refined"} & set(line)


def test_too_small_for_both(run, folder):
    from PIL import Image

    Image.new("RGB", (5, 5), "red").save(folder / "tiny.png")
    ended = run("encode", "tiny.png", "--network", "auto", "--refine", "5", "--json")
    (line,) = ended.lines
    assert line["network"] == "rdo-jpeg" and line["candidates"] == [] and line["refined"]["of"] is None
    assert any("--network auto" in note for note in line["notes"])
    assert any("too small to be refined" in note for note in line["notes"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--network", "auto", "--weights", "mine.safetensors"], ["mine.safetensors", "auto"]),
        (["--network", "automatic"], ["automatic", "shrink", "auto"]),
        (["--codec", "webp", "--network", "none", "--refine", "5"], ["--refine 5", "webp", "--network"]),
        (["--chroma", "444", "--network", "none", "--refine", "5"], ["--refine 5", "444", "--network"]),
    ],
)
def test_what_makes_no_sense_is_refused(run, small, folder, arguments, words):
    ended = run("encode", "small.png", *arguments, expect=2)
    assert all(word in ended.stderr for word in words)
    assert list(folder.iterdir()) == [small]


def test_refine_takes_no_less_than_nothing(run, small):
    assert "--refine" in run("encode", "small.png", "--refine", "-1", expect=2).stderr
