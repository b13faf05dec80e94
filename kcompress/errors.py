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
