"""The command, in this process or in one of its own; small pictures, and fake encoders."""

import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from PIL import Image
from rich.console import Console

from kcompress.cli import app, output

TESTS = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "kcompress"]
PROBES = {
    "cjpeg": ["-version"], "cwebp": ["-version"], "x265": ["--version"], "bpgenc": ["-h"], "guetzli": ["--version"],
    "avifenc": ["--version"],
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as ``encoders`` the commands here: they take encoders on PATH first, unless a test makes that PATH."""
    for item in items:
        own_path = {"fake", "no_programs"} & set(getattr(item, "fixturenames", ()))
        if TESTS / "cli" in item.path.parents and not own_path:
            item.add_marker("encoders")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON on stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of the command: nothing that colours, a temporary folder of its own, no defaults of the user's."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    odd = ("KCOMPRESS_", "FORCE_COLOR", "TTY_", "COLUMNS", "LINES", "PYTHONWARNINGS")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(odd)}
    # No byte code: under a limit on the size of files, Python leaves cut ones behind for all that follow.
    # torch makes itself a folder in the temporary one as soon as its optimisers are imported.
    inductor = str(tmp_path / "inductor")
    own = {"TMPDIR": str(scratch), "XDG_CONFIG_HOME": str(tmp_path / "config"), "TORCHINDUCTOR_CACHE_DIR": inductor}
    return {**kept, **own, "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the command runs; the pictures lie in it."""
    place = tmp_path / "work"
    place.mkdir()
    return place


@pytest.fixture
def launch(folder: Path, environment: dict[str, str]) -> Callable[..., Ended]:
    """``launch("encode", "photo.png", expect=3)``: kcompress in a process of its own; its exit code and its manners."""

    def command(*arguments: str | bytes, expect: int = 0, stdin: bytes = b"") -> Ended:
        done = subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, cwd=folder, env=environment)
        return well_behaved(Ended(done.returncode, done.stdout, done.stderr.decode()), expect, folder, environment)

    return command


@pytest.fixture
def run(folder: Path, environment: dict[str, str], capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ended]:
    """The same within the process of the tests, which is faster."""

    def command(*arguments: str | bytes, expect: int = 0, stdin: bytes = b"", **variables: str) -> Ended:
        capfdbinary.readouterr()
        with (
            contextlib.chdir(folder),
            mock.patch.dict(os.environ, environment | variables, clear=True),
            mock.patch.object(tempfile, "tempdir", environment["TMPDIR"]),
            mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin))),
            mock.patch.object(sys, "argv", ["kcompress", *map(os.fsdecode, arguments)]),
            mock.patch.object(signal, "signal"),
            mock.patch.object(
                output, "console", Console(stderr=True, highlight=False, emoji=False)
            ),  # sees the variables above
            pytest.raises(SystemExit) as ended,
        ):
            app([os.fsdecode(argument) for argument in arguments], prog_name="kcompress")
        captured = capfdbinary.readouterr()
        result = Ended(int(ended.value.code or 0), captured.out, captured.err.decode())
        return well_behaved(result, expect, folder, environment)

    return command


def well_behaved(ended: Ended, expect: int, folder: Path, environment: dict[str, str]) -> Ended:
    """The right exit code, and neither traceback nor colours nor temporary files."""
    assert "Traceback" not in ended.stderr
    assert "\x1b" not in ended.stderr
    assert ended.code == expect, ended.stderr
    assert not list(folder.rglob(".kcompress-*"))
    assert not list(Path(environment["TMPDIR"]).iterdir())
    if ended.code and not ended.stderr.startswith("Usage:"):  # Typer's own words
        assert ended.stderr.endswith(".\n"), "the last sentence says what to do"
    return ended


def obey_signals() -> None:
    """What a background job or nohup ignores is heard again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def start(folder: Path, environment: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """``start("encode", ...)``: the command, running; Ctrl-C means what it means in a terminal."""
    running: list[subprocess.Popen[bytes]] = []

    def command(*arguments: str, **options: Any) -> "subprocess.Popen[bytes]":
        standard = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": folder, "env": environment}
        running.append(subprocess.Popen([*COMMAND, *arguments], **{"preexec_fn": obey_signals, **standard, **options}))
        return running[-1]

    yield command
    for process in running:
        with process:  # closes its pipes
            if process.poll() is None:
                process.kill()


@pytest.fixture
def photo(folder: Path) -> Path:
    """333x217 pixels, colour."""
    return Path(shutil.copy(TESTS / "images" / "balloons-333x217.png", folder / "photo.png"))


@pytest.fixture
def small(folder: Path) -> Path:
    """96x64 pixels, colour: fast."""
    with Image.open(TESTS / "images" / "lake.png") as picture:
        picture.crop((200, 150, 296, 214)).save(folder / "small.png")
    return folder / "small.png"


@pytest.fixture
def album(small: Path, folder: Path) -> Path:
    """Four pictures in a folder with a subfolder, and a text file."""
    place = folder / "album"
    (place / "deep" / "er").mkdir(parents=True)
    for name in ("a.png", "b.png", "deep/c.png", "deep/er/d.png"):
        with Image.open(small) as picture:
            picture.rotate(ord(name[-5])).save(place / name)
    (place / "notes.txt").write_text("no picture")
    return place


@dataclass(frozen=True)
class Fake:
    """A fake encoder on PATH."""

    log: Path

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was called with, oldest first."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def fake(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Fake]:
    """``fake("cjpeg", answer=b"...")``: the only programs on PATH are those that this has made."""
    programs = tmp_path / "bin"
    programs.mkdir()
    environment["PATH"] = str(programs)

    def make(name: str, *, answer: bytes | None = None, version: str = "version 1.2.3", code: int = 0,
             complaint: str = "", slow: int | None = None, deaf: bool = False) -> Fake:  # fmt: skip
        canned = None
        if answer is not None:
            canned = tmp_path / f"{name}.answer"
            canned.write_bytes(answer)
        plan, log = tmp_path / f"{name}.json", tmp_path / f"{name}.log"
        plan.write_text(json.dumps({
            "probe": PROBES[name], "version": version, "log": str(log), "answer": canned and str(canned),
            "to_file": name in ("bpgenc", "avifenc"), "slow": slow, "deaf": deaf, "complaint": complaint, "code": code,
        }))  # fmt: skip
        argv = [sys.executable, "-S", str(TESTS / "fakes" / "program.py"), str(plan)]
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n')
        script.chmod(0o755)
        return Fake(log)

    return make


@pytest.fixture
def no_programs(tmp_path: Path, environment: dict[str, str]) -> None:
    """A PATH with nothing on it."""
    empty = tmp_path / "empty"
    empty.mkdir()
    environment["PATH"] = str(empty)
