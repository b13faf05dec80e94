"""Writing files so that nothing is ever half-written or lost."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from kcompress import urls
from kcompress.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_unfinished: set[str] = set()
"""Temporary files that are being written."""


def write(
    target: str, data: bytes, *, replace: bool = True, rights: int | None = None, times: tuple[int, int] | None = None,
    owner: tuple[int, int] | None = None,
) -> None:  # fmt: skip
    """Write a file wholly or not at all: to a temporary file beside it, then renamed; a device or pipe directly.

    Without ``replace``, a file that has come to be there is left alone, whoever made it and when. ``rights`` are those
    of `os.chmod`, in place of the user's usual ones; ``times`` of access and change are in nanoseconds; ``owner`` is a
    user and group, kept where the system lets us. What goes to a URL has none of them.

    Raises:
        OutputError: the folder cannot be written, or the disk is full, or the file is there and may not be replaced.
    """
    target = urls.local(target)
    if urls.is_url(target):
        urls.write(target, data, replace=replace)
        return
    path = Path(os.path.realpath(target))  # what a link names is written, the link stays
    temporary = ""
    try:
        if is_device(target):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = str(path.parent / f".kcompress-{secrets.token_hex(8)}.tmp")
        _unfinished.add(temporary)  # before it is there, so that none can be left
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        if owner is not None and hasattr(os, "chown"):
            with contextlib.suppress(OSError):  # only root gives files away, and containers do not know all owners
                os.chown(temporary, *owner)
        Path(temporary).chmod(0o666 & ~_umask() if rights is None else rights)
        if times is not None:
            os.utime(temporary, ns=times)
        if replace:
            Path(temporary).replace(path)
        else:
            _put(Path(temporary), path, target)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        if isinstance(error, OSError):
            advice = "Free some space." if error.errno == errno.ENOSPC else "Check the folder's rights, or give -o."
            raise OutputError(f"{_shown(target)} cannot be written: {error.strerror}. {advice}") from error
        raise
    finally:
        _unfinished.discard(temporary)


def drop_unfinished() -> None:
    """Remove what is half-written: for a process that ends at once, without its exceptions."""
    for temporary in tuple(_unfinished):
        with contextlib.suppress(OSError):
            Path(temporary).unlink()


@contextlib.contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """A folder that is made, and that nobody else works in meanwhile; where the system has no such locks, without.

    Raises:
        OutputError: somebody does, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be used: {error.strerror}. Check its rights, or give another -o."
        ) from error
    try:
        if fcntl is not None:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # ends with the process, however that ends
    except BlockingIOError as error:
        os.close(handle)
        raise OutputError(f"another kcompress works in {folder}. Wait for its end, or give another -o.") from error
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)


def _put(temporary: Path, path: Path, target: str) -> None:
    """Give a file a name that no other has.

    Raises:
        OutputError: one has.
    """
    try:
        try:
            path.hardlink_to(temporary)
            temporary.unlink()
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            path.open("xb").close()
            temporary.replace(path)
    except FileExistsError as error:
        raise OutputError(f"{_shown(target)} exists. Give --force to overwrite it, or another -o.") from error


def _shown(target: str) -> str:
    return target.encode(errors="surrogateescape").decode(errors="backslashreplace")


def exists(name: str) -> bool:
    """Whether there is something of that name, a broken link included.

    Raises:
        InputError: the store behind a URL does not say.
    """
    return urls.exists(name) if urls.is_url(name) else os.path.lexists(name)


def is_device(path: str) -> bool:
    """Whether it is there and no file: /dev/null, a named pipe. Renaming a file over it would destroy it."""
    found = mode(path)
    return bool(found) and not stat.S_ISREG(found) and not stat.S_ISDIR(found)


def mode(path: str) -> int:
    """Kind and rights, 0 where there is nothing that can be looked at."""
    try:
        return Path(path).stat().st_mode
    except OSError:
        return 0


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
