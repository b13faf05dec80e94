"""Guetzli as a filter: the real program where it is installed, and fakes that fail, hang and are counted."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import psnr
from PIL import Image as Pil
from waiting import wait_until

from kcompress.errors import MissingProgramError, OutputError, ProgramError, ProgramTimeoutError
from kcompress.images import Image, Pixels, read
from kcompress.pool import GuetzliLimits, filter_named
from kcompress.pool.guetzli import guetzli
from kcompress.programs import GUETZLI

INSTALLED = pytest.mark.skipif(GUETZLI.find() is None, reason="guetzli is not installed")
ALONE = """
import sys, numpy
from kcompress.pool.guetzli import GuetzliLimits, guetzli
print("ready", flush=True)
sys.stdin.readline()
guetzli(numpy.zeros((8, 8, 3), numpy.uint8), GuetzliLimits(seconds=60))
"""


@pytest.fixture(scope="module")
def photo(lake: Image) -> Pixels:
    """(64, 64, 3)."""
    return np.ascontiguousarray(lake.pixels[150:214, 200:264])


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of its own: the places of other runs on this machine do not count."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the fake writes down."""
    return tmp_path / "log"


@pytest.fixture
def fake(tmp_path: Path, photo: Pixels, log: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``fake(script)``: a guetzli on PATH that writes down its flags, does what the script says, and gives a JPEG."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    answer = tmp_path / "answer.jpg"
    Pil.fromarray(photo).save(answer, quality=90)

    def make(script: str = "") -> Path:
        program = programs / "guetzli"
        program.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exit 1\necho "start $*" >>{log}\n{script}\n'
            f'cp {answer} "$6"\necho end >>{log}\n'
        )
        program.chmod(0o755)
        return answer

    return make


def left(folder: Path) -> list[Path]:
    """What lies in the temporary folder, without the places."""
    return [path for path in folder.iterdir() if not path.name.startswith("kcompress-guetzli")]


@INSTALLED
@pytest.mark.encoders
def test_the_result_is_close_to_the_picture(photo: Pixels, scratch: Path) -> None:
    result = guetzli(photo, GuetzliLimits(), 95)
    assert result.shape == photo.shape and result.dtype == np.uint8
    assert 30 < psnr(result, photo) < 60
    assert np.array_equal(filter_named("guetzli").apply(photo), result)
    assert left(scratch) == []


@INSTALLED
@pytest.mark.encoders
def test_a_lower_quality_is_smaller_and_less_exact(photo: Pixels, tmp_path: Path) -> None:
    found = []
    for quality in (84, 100):
        cache = tmp_path / str(quality)
        result = guetzli(photo, GuetzliLimits(cache=cache), quality)
        (file,) = cache.iterdir()
        found.append((file.stat().st_size, psnr(result, photo)))
        assert file.suffix == ".jpg" and file.read_bytes().startswith(b"\xff\xd8\xff")
        assert np.array_equal(read(file.read_bytes()).pixels, result)
    (small, coarse), (large, fine) = found
    assert small < 0.8 * large and coarse < fine - 3


@INSTALLED
@pytest.mark.encoders
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5)], ids=str)
def test_any_size(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert guetzli(pixels, GuetzliLimits()).shape == pixels.shape


@INSTALLED
@pytest.mark.encoders
def test_too_little_memory_is_told(photo: Pixels) -> None:
    with pytest.raises(ProgramError, match=r"guetzli failed with code 1: .* Give --guetzli-memory more, leave it out"):
        guetzli(photo, GuetzliLimits(megabytes=1))


def test_the_program_gets_the_pixels_and_the_flags(
    photo: Pixels, fake: Callable[[str], Path], log: Path, tmp_path: Path
) -> None:
    answer = fake(f'cp "$5" {tmp_path}/seen.png')
    result = guetzli(photo, GuetzliLimits(megabytes=1234), 91)
    assert np.array_equal(result, read(answer.read_bytes()).pixels)
    assert np.array_equal(read((tmp_path / "seen.png").read_bytes()).pixels, photo)
    flags = log.read_text().splitlines()[0].split()
    assert flags[:5] == ["start", "--quality", "91", "--memlimit", "1234"] and len(flags) == 7


def test_the_filter_passes_its_quality_on(photo: Pixels, fake: Callable[[str], Path], log: Path) -> None:
    fake()
    for name in ("guetzli", "guetzli:q=84"):
        filter_named(name).apply(photo)
    assert [line.split()[2] for line in log.read_text().splitlines() if "--quality" in line] == ["95", "84"]


def test_what_is_cached_is_not_done_again(
    photo: Pixels, fake: Callable[[str], Path], log: Path, tmp_path: Path
) -> None:
    fake()
    limits = GuetzliLimits(cache=tmp_path / "deep" / "cache")
    first = guetzli(photo, limits, 90)
    other = replace(limits, seconds=7, megabytes=700, jobs=3)  # change nothing in the result
    assert np.array_equal(guetzli(photo.copy(), other, 90.0), first)
    assert log.read_text().count("start") == 1
    guetzli(photo, GuetzliLimits(), 90)
    assert log.read_text().count("start") == 2


def test_another_quality_or_picture_is_another_entry(
    photo: Pixels, fake: Callable[[str], Path], log: Path, tmp_path: Path
) -> None:
    fake()
    limits = GuetzliLimits(cache=tmp_path / "cache")
    changed = photo.copy()
    changed[63, 63, 2] ^= 1
    turned = photo.reshape(32, 128, 3)  # the same bytes in another shape
    for pixels, quality in ((photo, 90), (photo, 91), (changed, 90), (turned, 90)):
        guetzli(pixels, limits, quality)
    assert log.read_text().count("start") == len(list((tmp_path / "cache").iterdir())) == 4


def test_a_cache_may_be_shared(photo: Pixels, fake: Callable[[str], Path], tmp_path: Path) -> None:
    """Others may read what this user has made, as far as the umask lets them."""
    fake()
    guetzli(photo, GuetzliLimits(cache=tmp_path / "cache"))
    (file,) = (tmp_path / "cache").iterdir()
    mask = os.umask(0)
    os.umask(mask)
    assert file.stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_cache_that_cannot_be_written(photo: Pixels, fake: Callable[[str], Path], tmp_path: Path) -> None:
    fake()
    (tmp_path / "cache").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        guetzli(photo, GuetzliLimits(cache=tmp_path / "cache"))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo half >$6; echo no memory >&2; exit 1", r"guetzli failed with code 1: no memory\. .* leave it out of"),
        ("ulimit -c 0; kill -SEGV $$", "guetzli was ended by signal SIGSEGV"),
        ("exit 0", "ended well but wrote no whole JPEG"),
        ("echo half >$6; exit 0", "ended well but wrote no whole JPEG"),
    ],
)
def test_a_failure_leaves_nothing_behind(
    photo: Pixels, fake: Callable[[str], Path], tmp_path: Path, scratch: Path, script: str, message: str
) -> None:
    fake(script)
    with pytest.raises(ProgramError, match=message):
        guetzli(photo, GuetzliLimits(cache=tmp_path / "cache"))
    assert left(scratch) == [] and not (tmp_path / "cache").exists()


def test_it_is_stopped_when_its_time_is_over(
    photo: Pixels, fake: Callable[[str], Path], tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("sleep 60")
    monkeypatch.setenv("KCOMPRESS_TIMEOUT", "90")  # is for the other programs
    start = time.monotonic()
    with pytest.raises(ProgramTimeoutError, match=r"guetzli was stopped after 0\.3 seconds\. .*--guetzli-seconds more"):
        guetzli(photo, GuetzliLimits(seconds=0.3, cache=tmp_path / "cache"))
    assert time.monotonic() - start < 20
    assert left(scratch) == [] and not (tmp_path / "cache").exists()
    fake()
    guetzli(photo, GuetzliLimits())  # the place is free again


def test_without_the_program(photo: Pixels, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert not filter_named("guetzli").kind.available()
    with pytest.raises(MissingProgramError, match=r"guetzli is not installed\. Debian: apt install guetzli"):
        guetzli(photo, GuetzliLimits())
    assert left(scratch) == []


def most_at_once(log: Path) -> int:
    """How many were running at a time."""
    running, most = 0, 0
    for line in log.read_text().splitlines():
        running += 1 if line.startswith("start") else -1
        most = max(most, running)
    return most


@pytest.mark.parametrize("jobs", [1, 2])
def test_no_more_than_its_jobs_run_at_a_time(photo: Pixels, fake: Callable[[str], Path], log: Path, jobs: int) -> None:
    # Each waits until as many as may run have begun, then a little for one that may not.
    fake(f"n=0; while [ $(grep -c start {log}) -lt {jobs} -a $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; sleep 0.3")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda quality: guetzli(photo, GuetzliLimits(jobs=jobs), quality), (90, 91, 92)))
    assert log.read_text().count("start") == 3
    assert most_at_once(log) == jobs


def alone() -> "subprocess.Popen[str]":
    """Another process that is about to run guetzli."""
    process = subprocess.Popen([sys.executable, "-c", ALONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_processes_wait_for_each_other(fake: Callable[[str], Path], log: Path) -> None:
    fake("sleep 0.5")
    with alone() as one, alone() as other:
        go(one)
        go(other)
        assert one.wait() == other.wait() == 0
    assert log.read_text().count("start") == 2
    assert most_at_once(log) == 1


def test_a_worker_that_is_killed_leaves_its_place(
    photo: Pixels, fake: Callable[[str], Path], log: Path, tmp_path: Path
) -> None:
    fake(f"echo $$ >{tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60")
    with alone() as worker:
        go(worker)
        wait_until((tmp_path / "pid").exists)
        worker.kill()
    try:
        fake()
        start = time.monotonic()
        guetzli(photo, GuetzliLimits())
        assert time.monotonic() - start < 20
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # a session of its own outlives its parent
