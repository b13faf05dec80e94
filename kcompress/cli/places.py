"""Files and folders by their names: ``-`` for a stream, paths of this machine, or URLs that fsspec opens."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from kcompress import storage, urls
from kcompress.cli.output import name
from kcompress.errors import InputError

STREAM = "-"
"""Stdin as an input, stdout as an output."""


def read(source: str) -> bytes:
    """All of a file, or of stdin.

    Raises:
        InputError: it cannot be read.
    """
    if source == STREAM:
        if sys.stdin is None or sys.stdin.isatty():
            state = "closed" if sys.stdin is None else "a terminal"
            raise InputError(f"stdin is {state}. Pipe a picture into it, or name a file.")
        return sys.stdin.buffer.read()
    if urls.is_url(source):
        return urls.read(source)
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{name(source)} cannot be read: {error.strerror}. Check the path and its rights.") from error


def size(source: str) -> int:
    """Bytes of a file, 0 where that cannot be told."""
    if urls.is_url(source):
        with contextlib.suppress(InputError):
            return urls.size(source)
    return Path(source).stat().st_size if source != STREAM and Path(source).is_file() else 0


def below(source: str, output: str | None, known: frozenset[str]) -> list[tuple[str, Path | None]]:
    """Files of ``known`` suffixes in a folder, with their paths below it; a file itself, with None."""
    if source == STREAM or not is_folder(source):
        return [(source, None)]
    if urls.is_url(source):
        return _below_url(source, output, known)
    # An output folder inside the input folder holds results, not pictures to do.
    results = os.path.realpath(output) if output not in (None, STREAM) else None
    found: list[tuple[str, Path | None]] = []
    # A folder that cannot be listed is a picture that cannot be read: reported, and the others are done.
    for folder, folders, files in os.walk(source, onerror=lambda error: found.append((error.filename, None))):
        folders[:] = sorted(entry for entry in folders if os.path.realpath(Path(folder, entry)) != results)
        for entry in sorted(files):
            path = Path(folder, entry)
            if path.suffix.lower() in known and path.is_file():  # no pipe that nobody writes into
                found.append((str(path), path.relative_to(source)))
    return found


def _below_url(source: str, output: str | None, known: frozenset[str]) -> list[tuple[str, Path | None]]:
    root, results = _ended(source), _ended(output or "")
    inside = results.startswith(root) and results != root
    return [
        (root + found, Path(found))
        for found in urls.find(source)
        if Path(found).suffix.lower() in known and not (inside and (root + found).startswith(results))
    ]


def presence(folders: Iterable[str]) -> Callable[[str], bool]:
    """Function of a name: whether there is something. What lies in these folders behind URLs is listed once for all."""
    roots = tuple(_ended(folder) for folder in folders if urls.is_url(folder))
    listed = {root + found for root in roots for found in urls.find(root)}
    return lambda name: name in listed if name.startswith(roots) else storage.exists(name)


def target(source: str, below: Path | None, output: str | None, suffix: str, into_folder: bool) -> str:
    """Name of the file that is to come of one."""
    if output == STREAM or (source == STREAM and output is None):
        return STREAM
    if not into_folder:
        return output if output is not None else with_suffix(source, suffix)
    place = (below or Path("stdin" if source == STREAM else Path(source).name)).with_suffix(suffix)
    if output is not None and urls.is_url(output):
        return _ended(output) + place.as_posix()
    return str(Path(output or "", place))


def with_suffix(name: str, suffix: str) -> str:
    """The name with another suffix."""
    return beside(name, Path(Path(name).name).with_suffix(suffix).name)


def beside(name: str, other: str) -> str:
    """The name of another file in the same folder."""
    return name.removesuffix(Path(name).name) + other if urls.is_url(name) else str(Path(name).with_name(other))


def is_folder(path: str) -> bool:
    """Whether it is a folder that is there; a URL whose name has a suffix is one if it ends in ``/``."""
    if urls.is_url(path):
        return path.endswith("/") or (not Path(path).suffix and urls.is_folder(path))
    return path not in ("", STREAM) and stat.S_ISDIR(storage.mode(path))


def names_folder(path: str) -> bool:
    """Whether it means a folder: one that is there, or a new one by its last letter."""
    return path.endswith(("/", os.sep)) or is_folder(path)


def identity(path: str) -> tuple[int, int] | str:
    """Identity of a file: equal for all paths and links to it."""
    if urls.is_url(path):
        return path
    try:
        status = Path(path).stat()
    except OSError:
        return os.path.realpath(path)
    return status.st_dev, status.st_ino


def real(path: str) -> str:
    """The name that a file is written under: behind all links."""
    return path if urls.is_url(path) else os.path.realpath(path)


def _ended(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"
