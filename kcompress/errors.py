"""Errors of kcompress, with their exit codes.

::

    KcompressError               1  also: some pictures of a batch failed
    ├── UsageError               2  an option or argument is not allowed (Typer's own code too)
    ├── InputError               3  a picture cannot be read: missing, corrupt, truncated, too large
    │   └── UnsupportedError     4  a sound picture that this codec or option cannot take
    ├── OutputError              5  a result cannot be written: exists, same as the input, folder, disk full
    ├── ProgramError             6  an external program crashed or gave nonsense
    │   ├── MissingProgramError  7  no program or embedded backend that could do it is installed
    │   └── ProgramTimeoutError  8  an external program took too long
    └── WeightsError             9  a network's weights are missing or do not fit

130 is Ctrl-C. Every message says what failed with its value and ends in what to do.
"""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar


class KcompressError(Exception):
    """Anything kcompress reports without a traceback."""

    exit_code: ClassVar[int] = 1


class UsageError(KcompressError):
    """An option or argument is not allowed."""

    exit_code = 2


class InputError(KcompressError):
    """A picture cannot be read."""

    exit_code = 3


class UnsupportedError(InputError):
    """A sound picture that this codec or option cannot take."""

    exit_code = 4


class OutputError(KcompressError):
    """A result cannot be written."""

    exit_code = 5


class ProgramError(KcompressError):
    """An external program crashed or gave nonsense."""

    exit_code = 6


class MissingProgramError(ProgramError):
    """No program or embedded backend that could do it is installed."""

    exit_code = 7


class ProgramTimeoutError(ProgramError):
    """An external program took too long."""

    exit_code = 8


class WeightsError(KcompressError):
    """A network's weights are missing or do not fit."""

    exit_code = 9


def failure_of(error: Exception, name: str) -> KcompressError:
    """Why the work on a picture failed; of an error that nobody foresaw, its class and place.

    Args:
        error: that was raised.
        name: of the picture, for people.
    """
    if isinstance(error, KcompressError):
        return error
    if isinstance(error, MemoryError):
        return InputError(f"{name} needs more memory than there is. Make it smaller.")
    if isinstance(error, OSError):
        reason = f"{error.filename or 'a file'}: {error.strerror or error}"
        return OutputError(f"{reason}. Check its rights and the space left on the disk.")
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(*Path(frame.filename).parts[-2:])}:{frame.lineno}"
    text = " ".join(str(error).split()) or "no message"
    return KcompressError(
        f"{name} failed in a way that nobody foresaw: {type(error).__name__} at {place} ({text}). "
        "Please report this, with the picture if you can."
    )


@contextlib.contextmanager
def work_on(name: str) -> Iterator[None]:
    """Whatever goes wrong in the block is raised as a `KcompressError` that says which picture it was."""
    try:
        yield
    except Exception as error:
        raise failure_of(error, name) from error
