"""From exceptions to exit codes: one place for every command."""

import contextlib
import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn, TypeVar

import click
import typer

from kcompress.cli.output import say
from kcompress.errors import KcompressError, OutputError, failure_of

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
        except (typer.Exit, typer.Abort, click.ClickException):
            raise
        except Exception as error:
            fail(failure_of(error, f"kcompress {command.__name__}"))

    return wrapped


def fail(error: KcompressError) -> NoReturn:
    """Say what failed and end with its code."""
    say(f"kcompress: {error}", style="red")
    raise typer.Exit(error.exit_code)


def _on_terminate(number: int, frame: object) -> NoReturn:
    raise _Terminated(number)


def _leave(word: str, code: int) -> NoReturn:
    """Leave at once: worker threads may be deep inside an encoder and hold nothing that would be missed."""
    for number in (signal.SIGINT, *_ENDING):
        signal.signal(number, signal.SIG_IGN)
    from kcompress.programs import stop_all

    stop_all()
    say(
        f"kcompress: {word}; finished pictures are kept, nothing is half-written. "
        "Start again to go on: encode with --skip-existing, label, train and bench with --resume."
    )
    with contextlib.suppress(OSError, AttributeError):  # full, or closed
        sys.stdout.flush()
    os._exit(code)
