"""External programs: where they are, which version, how to run them; versions of Python packages beside them.

The only user of ``subprocess``.
"""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kcompress.errors import MissingProgramError, ProgramError, ProgramTimeoutError

TIMEOUT_SECONDS = 600.0
"""Longest run of one program on one picture, seconds; ``KCOMPRESS_TIMEOUT`` overrides it."""

_PROBE_SECONDS = 10.0
_LAST_WORDS = 1 << 16
"""Bytes of a program's stderr that are kept."""

_PIECE = 1 << 20
_running: set[subprocess.Popen[bytes]] = set()
_stopped = threading.Event()
_scratch: set[str] = set()
_lock = threading.RLock()  # a signal may come while it is held, and its handler calls stop_all()


@dataclass(frozen=True)
class Program:
    """One external program.

    Attributes:
        name: the command.
        probe: arguments that make it print its version, on stdout or stderr, with any exit code.
        version_pattern: regular expression; its whole match is the version that is shown.
        install: how to get it.
        path: of the executable, if it is not the one found on PATH (a program inside a Python package).
        remedy: what may help where it fails, beside installing it anew.
        ends_with_its_pipes: whether it ends in a moment where this process is gone, without being killed.
    """

    name: str
    probe: tuple[str, ...]
    version_pattern: str
    install: str
    path: str | None = None
    remedy: str = "Try another --backend"
    ends_with_its_pipes: bool = False

    def find(self) -> str | None:
        """Path of the executable, or None where it is not installed."""
        return self.path or _found(self.name)

    def version(self) -> str | None:
        """Version text, ``unknown version`` where the program does not tell, None where it is missing."""
        path = self.find()
        return None if path is None else _version(path, self.probe, self.version_pattern)

    def run(
        self,
        arguments: Sequence[str],
        *stdin: bytes | memoryview,
        seconds: float | None = None,
        most: int | None = None,
    ) -> bytes:
        """Run the program without a shell and return what it wrote to stdout.

        Args:
            arguments: behind the program's name.
            stdin: its input, in pieces, so that a large picture needs no copy.
            seconds: the limit of this run; without it the general one holds.
            most: bytes that its output may have; without it, eight times the input and 64 MB.

        Raises:
            MissingProgramError: it is not installed.
            ProgramTimeoutError: it took longer than the limit and was killed.
            ProgramError: it ended with another code than 0, or wrote too much; the message carries the end of its
                stderr.
        """
        path = self.find()
        if path is None:
            raise MissingProgramError(f"{self.name} is not installed. {self.install}")
        status, output, complaint = _run(
            [path, *arguments],
            stdin,
            _timeout() if seconds is None else seconds,
            self.name,
            () if self.ends_with_its_pipes else _dying_with_us(),
            (8 * sum(memoryview(piece).nbytes for piece in stdin) + (64 << 20)) if most is None else most,
        )
        if status != 0:
            how = f"was ended by signal {signal.Signals(-status).name}" if status < 0 else f"failed with code {status}"
            last = " / ".join(complaint.decode(errors="replace").strip().splitlines()[-3:]) or "it gave no reason"
            raise ProgramError(f"{self.name} {how}: {last}. {self.remedy}, or reinstall {self.name}.")
        return output


def _found(name: str) -> str | None:
    """Path of a command, looked for once on each PATH: pictures of a batch ask several times each."""
    known = name, os.environ.get("PATH")
    if known not in _paths:
        path = shutil.which(name)
        if path is None:
            return None
        _paths[known] = path
    return _paths[known]


_paths: dict[tuple[str, str | None], str] = {}


def _timeout() -> float:
    try:
        seconds = float(os.environ["KCOMPRESS_TIMEOUT"])
    except (KeyError, ValueError):
        return TIMEOUT_SECONDS
    # Poll takes no more than 24 days, and nan is no number that could be waited for.
    return min(seconds, 1e6) if seconds >= 0 else TIMEOUT_SECONDS


@functools.cache
def _version(path: str, probe: tuple[str, ...], pattern: str) -> str:
    try:
        _, output, complaint = _run([path, *probe], (), _PROBE_SECONDS, path, _dying_with_us(), _PIECE)
    except ProgramError:
        return "unknown version"
    match = re.search(pattern, (output + b"\n" + complaint).decode(errors="replace"))
    return match.group() if match else "unknown version"


def _run(
    argv: list[str], stdin: Iterable[bytes | memoryview], timeout: float, name: str, before: tuple[str, ...], most: int
) -> tuple[int, bytes, bytes]:
    with _lock:  # held while it starts: stop_all() sees every program or keeps it from starting
        if _stopped.is_set():
            raise ProgramError(f"{name} was not started: kcompress is ending. Start again.")
        try:
            # A session of its own: what the program starts in turn can be killed with it.
            process = subprocess.Popen(
                [*before, *argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ProgramError(f"{name} cannot be started: {error.strerror}. Reinstall it.") from error
        _running.add(process)
    output, complaint = bytearray(), bytearray()
    pipes = [
        threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True),
        threading.Thread(target=_collect, args=(process.stdout, output, most), daemon=True),
        threading.Thread(target=_listen, args=(process.stderr, complaint), daemon=True),
    ]
    for pipe in pipes:
        pipe.start()
    end = time.monotonic() + timeout
    try:
        # A program that is gone may have left children on its pipes.
        for pipe in pipes[1:]:
            pipe.join(max(0, end - time.monotonic()))
        if any(pipe.is_alive() for pipe in pipes[1:]):
            raise subprocess.TimeoutExpired(argv, timeout)
        process.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise ProgramTimeoutError(
            f"{name} was stopped after {timeout:g} seconds. "
            "Take a smaller picture, a lower --effort, or set KCOMPRESS_TIMEOUT to more seconds."
        ) from error
    finally:
        # What it left behind may hold its pipes, too.
        if process.returncode is None or any(pipe.is_alive() for pipe in pipes):
            _kill(process)
        process.wait()
        for pipe in pipes:
            pipe.join(_PROBE_SECONDS)  # a child in a session of its own could hold it for ever
        with _lock:
            _running.discard(process)
    if process.returncode in (126, 127) and before:  # setpriv's words, or those of the shell that it tried
        reason = complaint.decode(errors="replace").strip().rpartition(": ")[2]
        raise ProgramError(f"{name} cannot be started: {reason}. Reinstall it.")
    if len(output) > most:
        raise ProgramError(f"{name} wrote more than {most:,} bytes and was stopped. Reinstall {name}.")
    return process.returncode, bytes(output), bytes(complaint)


@functools.cache
def _dying_with_us() -> tuple[str, ...]:
    """Command prefix by which Linux ends a program with this process, however that ends; empty elsewhere.

    A program of its own, because code between fork and exec may hang where there are threads.
    """
    setpriv = shutil.which("setpriv", path=os.defpath)
    if setpriv is None:
        return ()
    before = (setpriv, "--pdeathsig", "KILL", "--")
    known = subprocess.run([*before, setpriv, "--version"], capture_output=True, stdin=subprocess.DEVNULL).returncode
    return () if known else before


def _feed(pipe: IO[bytes], pieces: Iterable[bytes | memoryview]) -> None:
    """Write a program's input; one that gives up before it has read everything closes the pipe."""
    if sys.platform == "linux":
        import fcntl

        with contextlib.suppress(OSError):  # a wider pipe takes fewer switches between the two; a user has not many
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIECE)
    with contextlib.suppress(BrokenPipeError), pipe:
        for piece in pieces:
            pipe.write(piece)


def _collect(pipe: IO[bytes], output: bytearray, most: int) -> None:
    """Read a program's output; closing the pipe of one that writes too much ends it."""
    with pipe:
        while len(output) <= most and (piece := pipe.read1(_PIECE)):  # type: ignore[attr-defined]
            output += piece


def _listen(pipe: IO[bytes], complaint: bytearray) -> None:
    """Read what a program says, and keep the end of it."""
    with pipe:
        while piece := pipe.read1(_PIECE):  # type: ignore[attr-defined]
            complaint += piece
            del complaint[:-_LAST_WORDS]


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder for programs that cannot work on pipes."""
    with _lock:
        if _stopped.is_set():
            raise ProgramError("no scratch folder was made: kcompress is ending. Start again.")
        folder = tempfile.mkdtemp(prefix="kcompress-")
        _scratch.add(folder)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with _lock:
            _scratch.discard(folder)


def stop_all() -> None:
    """Kill every running program and remove every scratch folder: for the way out after Ctrl-C."""
    with _lock:
        _stopped.set()
        processes, folders = list(_running), list(_scratch)
    for process in processes:
        _kill(process)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


CJPEG = Program(
    "cjpeg",
    ("-version",),
    r"(libjpeg-turbo|mozjpeg) version \S+|version \S+",
    "Debian: apt install libjpeg-turbo-progs; macOS: brew install jpeg-turbo.",
    ends_with_its_pipes=True,
)
CWEBP = Program("cwebp", ("-version",), r"\d+\.\d+\.\d+", "Debian: apt install webp; macOS: brew install webp.")
X265 = Program(
    "x265",
    ("--version",),
    r"(?<=encoder version )\S+",
    "Debian: apt install x265; macOS: brew install x265.",
)
BPGENC = Program("bpgenc", ("-h",), r"(?<=version )\d\S*", "Build libbpg from its source at bellard.org/bpg.")
AVIFENC = Program(
    "avifenc",
    ("--version",),
    r"(?<=Version: )\d\S*",
    "Debian: apt install libavif-bin; macOS: brew install libavif.",
)
GUETZLI = Program(
    "guetzli",
    ("--version",),
    r"\d+\.\d+\S*",
    "Debian: apt install guetzli; macOS: brew install guetzli.",
    remedy="Give --guetzli-memory more, leave it out of --pool",
)
PYTHON = Program("python", ("--version",), r"\d+\.\d+\.\d+", "It is what runs kcompress.", path=sys.executable)
"""This interpreter, for libraries that may end the process that they are in."""

PROGRAMS = {program.name: program for program in (CJPEG, CWEBP, X265, BPGENC, AVIFENC, GUETZLI)}
"""Those that are looked for on PATH, by name."""


@functools.cache
def ffmpeg() -> Program:
    """The ffmpeg inside imageio-ffmpeg, which holds libx265 and an HEVC decoder."""
    import imageio_ffmpeg  # only where it is needed: start-up time

    return Program(
        "ffmpeg",
        ("-version",),
        r"(?<=ffmpeg version )\S+",
        "Reinstall the Python package imageio-ffmpeg.",
        imageio_ffmpeg.get_ffmpeg_exe(),
    )


@functools.cache
def package_version(name: str) -> str | None:
    """Name and version of a Python package, or None where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version  # start-up time

    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return None
