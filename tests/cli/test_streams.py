"""stdin, stdout, and nothing else where the picture goes."""

import os
import pty
import select
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from rich.progress import Task, TaskID

from kcompress.cli import options, progress

COMMAND = [sys.executable, "-m", "kcompress"]


@pytest.mark.parametrize(
    "suffix, codec", [("jpg", "jpeg"), ("webp", "webp"), ("heic", "hevc"), ("bpg", "bpg"), ("avif", "avif")]
)
def test_stdout_holds_the_file_and_nothing_else(run, launch, small, folder, suffix, codec):
    run("encode", "small.png", "-o", f"file.{suffix}")
    expected = (folder / f"file.{suffix}").read_bytes()
    assert launch("encode", "-", "-c", codec, "-o", "-", stdin=small.read_bytes()).stdout == expected
    assert run("encode", "-", "-c", codec, stdin=small.read_bytes()).stdout == expected
    ended = run("encode", "small.png", "-c", codec, "-o", "-")
    assert ended.stdout == expected
    assert ended.stderr.startswith("stdout  ")


def test_stdin_into_files(run, small, folder):
    run("encode", "-", "-o", "x.webp", stdin=small.read_bytes())
    ended = run("encode", "-", "-o", "out/", stdin=small.read_bytes())
    assert ended.stderr.startswith("out/stdin.jpg ")


@pytest.mark.parametrize("inputs", [["-", "small.png"], ["small.png", "-"]])
def test_stdin_among_others_needs_a_folder(run, small, folder, inputs):
    run("encode", *inputs, expect=2, stdin=small.read_bytes())
    assert [path.name for path in folder.iterdir()] == ["small.png"]
    run("encode", *inputs, "-o", "out", stdin=small.read_bytes())
    assert {path.name for path in (folder / "out").iterdir()} == {"small.jpg", "stdin.jpg"}


def test_a_failure_leaves_stdout_empty(run, small):
    assert run("encode", "-", "-o", "-", stdin=b"no picture", expect=3).stdout == b""
    assert run("encode", "-", stdin=b"", expect=3).stdout == b""
    assert run("decode", "-", stdin=small.read_bytes()[:99], expect=3).stdout == b""


@pytest.mark.parametrize("arguments", [["small.png", "-o", "-"], ["small.png", "--json"]])
def test_a_reader_that_went_away(start, small, arguments):
    process = start("encode", *arguments)
    process.stdout.close()
    stderr = process.stderr.read().decode()
    assert process.wait(60) == 5
    assert "Traceback" not in stderr and "Exception ignored" not in stderr
    assert stderr.splitlines()[-1].endswith("Check what reads the pipe.")


def screen(start, *arguments, **options) -> str:
    """What a terminal gets on stderr."""
    ours, theirs = pty.openpty()
    process = start(*arguments, stderr=theirs, **options)
    os.close(theirs)
    shown = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            shown += os.read(ours, 65536)
    except OSError:  # the other side has ended
        pass
    os.close(ours)
    process.communicate(timeout=60)
    return shown.decode()


def test_a_bar_for_batches_on_terminals_only(run, start, album, environment):
    environment["TERM"] = "xterm-256color"
    shown = screen(start, "encode", "album", "-o", "out")
    assert "encoding" in shown and "4/4" in shown and "\x1b[" in shown
    assert "4 of 4 pictures" in shown
    assert "encoding" not in run("encode", "album", "-o", "again").stderr
    assert "encoding" in screen(start, "encode", "album/a.png", "-o", "one.jpg"), "one picture may take long, too"
    assert "encoding" not in screen(start, "encode", "album/a.png", "-o", "two.jpg", "--quiet")
    assert "decoding" in screen(start, "decode", "out", "-o", "back/")


def test_a_bar_moves_before_the_first_picture_is_done():
    def drawn(done, now):
        task = Task(TaskID(0), "", 8, done, _get_time=lambda: now)
        task.start_time = 0.0
        bar = progress._Bar(10).render(task)
        bar.animation_time = now
        return [segment for line in Console(width=10, color_system="truecolor").render_lines(bar) for segment in line]

    assert drawn(0, 1.0) != drawn(0, 1.4)
    assert drawn(1, 1.0) == drawn(1, 1.4)


def test_an_escape_sequence_in_a_name_does_not_reach_the_terminal(start, environment):
    environment["TERM"] = "xterm-256color"
    shown = screen(start, "encode", "\x1b]0;title\x07.png")
    assert "\\x1b]0;title\\x07.png does not exist" in shown
    assert "\x1b]0;" not in shown


def test_no_picture_on_a_terminal(start, small, folder):
    ours, theirs = pty.openpty()
    process = start("encode", "small.png", "-o", "-", stdout=theirs)
    assert process.wait(60) == 2
    assert b"stdout is a terminal" in process.stderr.read()
    process = start("encode", "-", "-o", "x.jpg", stdin=theirs)
    assert process.wait(60) == 3
    assert b"stdin is a terminal" in process.stderr.read()
    os.close(ours)
    os.close(theirs)


def test_there_and_back_through_pipes(run, launch, small, folder):
    packed = launch("encode", "-", "-c", "bpg", stdin=small.read_bytes()).stdout
    (folder / "packed.bpg").write_bytes(packed)
    run("decode", "packed.bpg")
    assert launch("decode", "-", stdin=packed).stdout == (folder / "packed.png").read_bytes()


@pytest.mark.parametrize("arguments", [["--help"], ["encode", "--help"], ["--version"], ["doctor"],
                                       ["encode", "small.png", "-n", "none", "-f", "--json"],
                                       ["encode", "small.png", "-n", "none", "-o", "-"]])  # fmt: skip
def test_a_full_stdout_is_told(folder, environment, small, arguments):
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, cwd=folder, env=environment)
    stderr = ended.stderr.decode()
    assert ended.returncode == 5, stderr
    assert "Traceback" not in stderr and "Exception ignored" not in stderr and "─" not in stderr
    assert "No space left" in stderr.splitlines()[-1] and stderr.endswith(".\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_closed_streams_do_no_harm(folder, environment, small, closed):
    """What is opened while encoding must not get the number of a stream that is closed."""
    command = f"{shlex.join(COMMAND)} encode small.png -n none -o small.webp {closed}"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, cwd=folder, env=environment)
    assert ended.returncode == 0
    assert b"Traceback" not in ended.stderr
    with Image.open(folder / "small.webp") as picture:
        assert picture.size == (96, 64)
    assert sorted(path.name for path in folder.iterdir()) == ["small.png", "small.webp"]


def test_a_closed_stream_that_is_needed_is_told(folder, environment, small):
    for command, says in (
        ("encode - -o x.jpg <&-", "stdin is closed"),
        ("encode small.png -o - >&-", "stdout is"),
    ):
        ended = subprocess.run(
            ["sh", "-c", f"{shlex.join(COMMAND)} {command}"], capture_output=True, cwd=folder, env=environment
        )
        assert ended.returncode in (2, 3)
        assert ended.stderr.startswith(b"kcompress: " + says.encode())


def test_more_jobs_than_help_are_not_run(run, small, monkeypatch):
    monkeypatch.setattr(options, "cores", lambda: 2)
    ended = run("encode", "small.png", "-n", "none", "--jobs", "100000")
    assert ended.stderr.splitlines()[0] == "note: --jobs 100000 is more than helps on 2 cores; 8 are run"
    assert "note" not in run("encode", "small.png", "-n", "none", "--jobs", "8", "-f").stderr
