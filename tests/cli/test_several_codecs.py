"""``--codec jpeg,webp`` writes a file of each; ``--codec best`` the smallest that has the target."""

import numpy as np
import pytest
from PIL import Image

from kcompress.images import reading


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_of_each_as_if_alone(run, album, folder):
    run("encode", "album", "-o", "all", "--codec", "jpeg,webp", "-n", "none")
    assert names(folder / "all") == sorted(
        f"{name}.{suffix}" for name in ("a", "b", "deep/c", "deep/er/d") for suffix in ("jpg", "webp")
    )
    for codec in ("jpeg", "webp"):
        run("encode", "album", "-o", codec, "--codec", codec, "-n", "none")
        for name in names(folder / codec):
            assert (folder / "all" / name).read_bytes() == (folder / codec / name).read_bytes()


def test_the_picture_is_decoded_once(run, small, folder, monkeypatch):
    from kcompress.search import pipeline

    seen = []
    monkeypatch.setattr(pipeline, "read", lambda data, **options: seen.append(1) or reading.read(data, **options))
    lines = run("encode", "small.png", "--codec", "jpeg,webp,avif", "-n", "none", "--json").lines
    assert len(seen) == 1 and [line.get("codec") for line in lines] == ["jpeg", "webp", "avif", None]
    assert lines[-1]["pictures"] == 3


def test_one_codec_that_cannot_does_not_stop_the_others(run, folder, alpha):
    Image.fromarray(np.dstack([alpha.pixels, alpha.alpha])).save(folder / "clear.png")
    ended = run("encode", "clear.png", "--codec", "jpeg,webp", "-n", "none", expect=1)
    assert names(folder) == ["clear.png", "clear.webp"]
    assert "failed: clear.png: the picture is partly transparent" in ended.stderr
    (line,) = run("encode", "clear.png", "-o", "best/", "--codec", "best:jpeg,webp", "--target", "70", "--json").lines
    assert line["codec"] == "webp" and any("jpeg was not possible" in note for note in line["notes"])


def test_a_batch_goes_on_file_by_file(run, album, folder):
    options = ("-o", "out", "--codec", "jpeg,webp", "-n", "none")
    run("encode", "album", *options)
    (folder / "out" / "b.webp").unlink()
    assert "7 of 8 pictures are there already" in run("encode", "album", *options, "--skip-existing").stderr
    assert (folder / "out" / "b.webp").is_file()
    run("encode", "album", "--codec", "jpeg,webp", "-n", "none")  # beside the pictures
    again = run("encode", "album", "--codec", "jpeg,webp", "-n", "none", "--skip-existing")
    assert again.stderr == "8 of 8 pictures are there already\n"


def test_best_is_the_smallest_with_the_target(run, photo, folder):
    options = ("--target", "55", "-n", "none", "--json")
    ended = run("encode", "photo.png", "-o", "best/", "--codec", "best:jpeg,webp,avif", *options)
    (best,) = ended.lines
    each = [line for line in run("encode", "photo.png", "-o", "all/", "--codec", "jpeg,webp,avif", *options).lines[:3]]
    smallest = min(each, key=lambda line: line["output_bytes"])
    assert (best["codec"], best["output_bytes"]) == (smallest["codec"], smallest["output_bytes"])
    assert len(names(folder / "best")) == 1
    others = {rival["codec"]: rival["bytes"] for rival in best["rivals"]}
    assert others == {line["codec"]: line["output_bytes"] for line in each if line["codec"] != best["codec"]}
    assert list(best["rivals"][0]) == ["codec", "bytes", "reached", "holds"]
    assert f"  best: {best['codec']}; others: " in ended.stderr


def test_best_of_those_that_hold_the_target(run, photo):
    """4:2:0 alone cannot show these balloons at 85; a smaller file of less quality is not the best."""
    (line,) = run(
        "encode", "photo.png", "--codec", "best:webp,jpeg", "--chroma", "420", "--target", "97", "-n", "none", "--json"
    ).lines
    assert all(not rival["holds"] for rival in line["rivals"])
    assert line["reached"] == max(line["reached"], *(rival["reached"] for rival in line["rivals"]))


def test_best_and_what_is_there(run, small, folder):
    options = ("-o", "out/", "--codec", "best:jpeg,webp", "--target", "60", "-n", "none")
    run("encode", "small.png", *options)
    assert len(names(folder / "out")) == 1
    assert run("encode", "small.png", *options, "--skip-existing").stderr == "1 of 1 pictures are there already\n"
    run("encode", "small.png", *options, "--force")
    streamed = run("encode", "small.png", "-o", "-", *options[2:]).stdout
    assert streamed == next((folder / "out").iterdir()).read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "best"], ["--target 80"]),
        (["-c", "best", "--target-size", "9k"], ["--target 80"]),
        (["-c", "jpeg,vvc"], ["vvc is not known", "avif", "best"]),
        (["-c", "best:"], []),
        (["-c", ","], ["is not known"]),
        (["-c", "jpeg,webp", "-q", "7"], ["--quality 7 means another thing", "--target"]),
        (["-c", "jpeg,webp", "--effort", "1"], ["--effort 1 means another thing"]),
        (["-c", "jpeg,webp", "-o", "one.jpg"], ["one.jpg is one file", "folder"]),
        (["-c", "jpeg,webp", "-o", "new"], ["new names a file", "folder"]),
        (["-c", "jpeg,webp", "-o", "-"], ["stdout together"]),
    ],
)
def test_nonsense_is_refused(run, small, folder, arguments, words):
    ended = run("encode", "small.png", *arguments, expect=2)
    assert all(word in ended.stderr for word in words), ended.stderr
    assert list(folder.iterdir()) == [small]
