"""From exceptions to exit codes: one place for every command."""

import contextlib
import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import typer
from typer.core import TyperCommand

from kcompress.cli import defaults, output
from kcompress.cli.output import complain
from kcompress.errors import KcompressError, OutputError, UsageError, failure_of

Result = TypeVar("Result")
_ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class _Terminated(BaseException):
    """SIGTERM or SIGHUP: like Ctrl-C, so that temporary files go away."""


def reported(command: Callable[..., None]) -> Callable[..., None]:
    """A command that ends in a message and an exit code instead of a traceback."""

    @functools.wraps(command)
    def wrapped(*args: object, **options: object) -> None:
        if not sys.warnoptions:
            warnings.simplefilter("ignore")  # of libraries, about pictures; what matters comes as a note
        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                signal.signal(number, _on_terminate)
        try:
            command(*args, **options)
        except KcompressError as error:
            if options.get("as_json"):
                output.line(failure(error))
            fail(error)
        except BrokenPipeError:
            # Nobody reads any more, and flushing on the way out would only complain again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            fail(OutputError("stdout was closed before everything was written. Check what reads the pipe."))
        except MemoryError:
            fail(KcompressError("there is not enough memory. Take smaller pictures or fewer --jobs."))
        except KeyboardInterrupt:
            _leave("interrupted", 128 + signal.SIGINT)
        except _Terminated as ended:
            _leave("terminated", 128 + ended.args[0])
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if hasattr(error, "format_message"):  # Typer's own; its classes are not public
                raise
            fail(failure_of(error, f"kcompress {command.__name__}"))

    return wrapped


class Command(TyperCommand):
    """A command with defaults from a file, whose ``--json`` carries errors of its options, too."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments."""
        as_json = "--json" in args
        try:
            if not extra.get("resilient_parsing"):  # completion goes on whatever the file has
                extra["default_map"] = defaults.of(self.name or "", self.params)
            return super().make_context(info_name, args, parent, **extra)
        except Exception as error:
            if as_json and hasattr(error, "format_message"):
                output.line(failure(UsageError(error.format_message())))
            raise


def failure(error: KcompressError, source: str | None = None) -> dict[str, object]:
    """The line of ``--json`` of an error; kcompress/README.md documents the fields.

    Args:
        error: that ended the work on a picture, or the command.
        source: the picture.
    """
    return {"type": "error", "input": source, "message": str(error), "exit_code": error.exit_code}


def fail(error: KcompressError) -> NoReturn:
    """Say what failed and end with its code."""
    complain(f"kcompress: {error}")
    raise typer.Exit(error.exit_code)


def _on_terminate(number: int, frame: object) -> NoReturn:
    raise _Terminated(number)


def _leave(word: str, code: int) -> NoReturn:
    """Leave at once: worker threads may be deep inside an encoder and hold nothing that would be missed."""
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)
    from kcompress.programs import stop_all

    stop_all()
    complain(
        f"kcompress: {word}; finished pictures are kept, nothing is half-written. "
        "Start again to go on: encode with --skip-existing or --in-place, label, train and bench with --resume."
    )
    with contextlib.suppress(OSError, AttributeError):  # full, or closed
        sys.stdout.flush()
    os._exit(code)
