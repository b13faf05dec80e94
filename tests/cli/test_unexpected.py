"""Errors that nobody foresaw: they are one picture's, they say where they were raised, and the rest goes on."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pil

from kcompress.codecs import decode
from kcompress.codecs.jpeg import PillowJpeg
from kcompress.dataset import DataSet
from kcompress.evaluation import comparison
from kcompress.networks.shrink import Shrink

PLACE = re.compile(
    r"ZeroDivisionError at cli/test_unexpected\.py:\d+ \(integer division or modulo by zero\)\. Please report this"
)
SIDE = 40


@pytest.fixture
def odd(album: Path) -> Path:
    """An album with one picture of another size, by which what is broken knows it."""
    with Pil.open(album / "b.png") as picture:
        picture.resize((SIDE, SIDE)).save(album / "b.png")
    return album


def broken(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a backend or of a preprocessor that divides by zero where a picture is ``SIDE`` wide."""

    def failing(self: Any, image: Any, setting: Any) -> Any:
        return 1 // 0 if image.width == SIDE else method(self, image, setting)

    return failing


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize("room", [PillowJpeg, Shrink], ids=["codec", "preprocessor"])
def test_encode_goes_on(run, odd, folder, monkeypatch, room, jobs) -> None:
    method = "encode" if room is PillowJpeg else "__call__"
    monkeypatch.setattr(room, method, broken(getattr(room, method)))
    options = ("--codec", "jpeg", "--backend", "pillow", "--network", "shrink", "--jobs", jobs, "--json")
    ended = run("encode", "album", "-o", "out", *options, expect=1)
    assert sorted(path.name for path in (folder / "out").rglob("*.jpg")) == ["a.jpg", "c.jpg", "d.jpg"]
    (failed,) = (line for line in ended.lines if line["type"] == "error")
    assert failed["input"] == "album/b.png" and failed["exit_code"] == 1
    assert failed["message"].startswith("album/b.png failed") and PLACE.search(failed["message"])
    assert f"failed: {failed['message']}" in ended.stderr.splitlines()
    assert "Traceback" not in ended.stderr


def test_a_single_picture_leaves_nothing_behind(run, odd, folder, monkeypatch) -> None:
    monkeypatch.setattr(PillowJpeg, "encode", broken(PillowJpeg.encode))
    options = ("--backend", "pillow", "--network", "none")
    (line,) = run("encode", "album/b.png", "-o", "b.jpg", *options, expect=1).stderr.splitlines()
    assert PLACE.search(line)
    ended = run("encode", "album/b.png", "-o", "-", *options, expect=1)
    assert ended.stdout == b"" and PLACE.search(ended.stderr)
    assert not (folder / "b.jpg").exists()


def test_decode_and_compare_say_which_file(run, odd, folder, monkeypatch) -> None:
    def failing(data: bytes, name: str = "", *more: Any, **named: Any) -> Any:
        return 1 // 0 if "b.png" in name else decode(data, name, *more, **named)

    monkeypatch.setattr("kcompress.codecs.decode", failing)
    monkeypatch.setattr(comparison, "decode", failing)
    (line,) = run("decode", "album/b.png", "-o", "out.png", expect=1).stderr.splitlines()
    assert "album/b.png failed" in line and PLACE.search(line)
    assert not (folder / "out.png").exists()
    (line,) = run("compare", "album/a.png", "album/b.png", "--metric", "psnr", expect=1).stderr.splitlines()
    assert "album/b.png failed" in line and PLACE.search(line)
    run("decode", "album/a.png", "-o", "out.png")


def test_label_and_bench_go_on(run, odd, folder, monkeypatch) -> None:
    monkeypatch.setattr(PillowJpeg, "encode", broken(PillowJpeg.encode))
    common = ("--codec", "jpeg", "--backend", "pillow", "--metric", "psnr", "--jobs", "1")
    ended = run("label", "album", "-o", "labels", *common, "--pool", "shrink", "--json", expect=1)
    (failed,) = ended.lines[0]["failed"]
    assert failed["path"] == "b.png" and PLACE.search(failed["error"])
    assert "3 of 4 pictures labelled" in ended.stderr
    ended = run("bench", "album", "-o", "report", *common, "--network", "none,shrink", "-q", "40,60,70,80", expect=1)
    assert PLACE.search(ended.stderr) and "24 points" in ended.stderr
    points = (folder / "report" / "points.csv").read_text()
    assert "a.png" in points and "b.png" not in points


def test_an_error_outside_of_pictures_is_a_message_too(run, odd, monkeypatch) -> None:
    monkeypatch.setattr(DataSet, "names", lambda self: 1 // 0)
    (line,) = run("label", "album", "--pool", "shrink", expect=1).stderr.splitlines()
    assert line.startswith("kcompress: kcompress label failed") and PLACE.search(line)
