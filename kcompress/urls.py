"""Files behind URLs that fsspec opens, such as ``s3://bucket/photos/a.jpg``; ``file://`` is a path like any other."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from kcompress.errors import InputError, KcompressError, MissingProgramError, OutputError


def is_url(name: str) -> bool:
    """Whether fsspec has to open it, rather than the system."""
    return "://" in name


def local(name: str) -> str:
    """A ``file://`` URL as the path that it is, anything else unchanged: so every file is known by one name."""
    return re.sub(r"^(file|local)://", "", name)


def opened(url: str) -> tuple[Any, str]:
    """The file system of fsspec, and the path in it.

    Raises:
        MissingProgramError: fsspec is not installed, or what it needs for this kind of URL.
        InputError: there is no such kind.
    """
    try:
        import fsspec
    except ImportError:
        raise MissingProgramError(
            f"{url} needs fsspec, which is not installed. pip install 'kcompress[cluster]'."
        ) from None
    try:
        files, path = fsspec.core.url_to_fs(url)
    except ImportError as error:  # of the store's own package
        raise MissingProgramError(f"{url} cannot be opened: {error}. Use pip.") from error
    except ValueError as error:
        raise InputError(f"{url} cannot be opened: {error}. Check the URL.") from error
    return files, str(path).rstrip("/")


def read(url: str) -> bytes:
    """All of a file.

    Raises:
        InputError: it cannot be read.
    """
    with _store(url, "read") as (files, path):
        return bytes(files.cat_file(path))


def write(url: str, data: bytes, *, replace: bool = True) -> None:
    """Put a whole file in one go; where the store has no such thing, under its name only when it is whole.

    Raises:
        OutputError: it cannot be written, or is there and may not be replaced.
    """
    with _store(url, "written", OutputError, ", or give another -o") as (files, path):
        if not replace and files.exists(path):
            raise OutputError(f"{url} exists. Give --force to overwrite it, or another -o.")
        with contextlib.suppress(NotImplementedError):  # a store without folders
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
        with files.transaction:
            files.pipe_file(path, data)


def find(url: str) -> list[str]:
    """Files below a folder, searched through: their paths relative to it, in order.

    Raises:
        InputError: it cannot be listed.
    """
    with _store(url, "listed") as (files, root):
        return sorted(name[len(root) :].lstrip("/") for name in files.find(root))


def is_folder(url: str) -> bool:
    """Whether it is a folder with something in it.

    Raises:
        InputError: the store does not say.
    """
    with _store(url, "looked up") as (files, path):
        return bool(files.isdir(path))


def exists(url: str) -> bool:
    """Whether there is something.

    Raises:
        InputError: the store does not say.
    """
    with _store(url, "looked up") as (files, path):
        return bool(files.exists(path))


def size(url: str) -> int:
    """Bytes of a file, 0 where the store does not say.

    Raises:
        InputError: it cannot be looked up.
    """
    with _store(url, "looked up") as (files, path):
        return int(files.size(path) or 0)


@contextlib.contextmanager
def _store(
    url: str, done: str, kind: type[KcompressError] = InputError, otherwise: str = ""
) -> Iterator[tuple[Any, str]]:
    """File system and path of a URL, for something to be done.

    Whatever a store's own library raises, which has classes of its own, is told as one of ours.
    """
    try:
        yield opened(url)
    except KcompressError:
        raise
    except Exception as error:
        told = "there is no such file" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None)
        reason = " ".join((told or str(error)).split()) or type(error).__name__
        advice = f"Check the URL and its rights{otherwise}."
        raise kind(f"{url} cannot be {done}: {reason.rstrip('.')}. {advice}") from error
