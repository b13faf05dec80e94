"""Writing files so that nothing is ever half-written or lost."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

from kcompress.errors import OutputError


def write(target: str, data: bytes) -> None:
    """Write a file wholly or not at all: to a temporary file beside it, then renamed; a device or pipe directly.

    Raises:
        OutputError: the folder cannot be written, or the disk is full.
    """
    path = Path(os.path.realpath(target))  # what a link names is written, the link stays
    temporary = ""
    try:
        if is_device(target):
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".kcompress-", suffix=".tmp", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        if isinstance(error, OSError):
            shown = target.encode(errors="surrogateescape").decode(errors="backslashreplace")
            advice = "Free some space." if error.errno == errno.ENOSPC else "Check the folder's rights, or give -o."
            raise OutputError(f"{shown} cannot be written: {error.strerror}. {advice}") from error
        raise


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
