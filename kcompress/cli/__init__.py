"""The command line: one module a command, loaded when it is called. What is heavy is imported inside the commands."""

import os
import sys
from collections import UserDict
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from kcompress import __version__
from kcompress.cli.defaults import COMMANDS
from kcompress.cli.output import complain
from kcompress.cli.reporting import Command
from kcompress.errors import OutputError


class _Commands(UserDict[str, Any]):
    """Commands by name, each loaded when it is asked for."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(COMMANDS))

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            module = import_module(f"kcompress.cli.{name}")
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(name, cls=getattr(module, "TrainCommand", Command))(getattr(module, name))
            self.data[name] = typer.main.get_command(alone)
        return self.data[name]


class _Group(TyperGroup):
    """The commands; Typer's own way would import all of them for each."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _Commands()})


class _App(typer.Typer):
    """The commands, in a process whose streams may be closed or full."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        for stream in range(3):  # what is opened next would take a closed one's place
            try:
                os.fstat(stream)
            except OSError:
                os.open(os.devnull, os.O_RDWR)
        try:
            try:
                return super().__call__(*args, **options)
            finally:
                if sys.stdout is not None:
                    sys.stdout.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # flushing on the way out would only complain again
            complain(f"kcompress: stdout cannot be written: {error.strerror}. Check where it goes.")
            sys.exit(OutputError.exit_code)
        finally:
            try:
                if sys.stderr is not None:
                    sys.stderr.flush()
            except OSError:  # what nobody can read is no failure; Python would make it one on the way out
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


app = _App(
    name="kcompress", cls=_Group, no_args_is_help=True, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"kcompress {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Make ordinary image codecs better: preprocess the picture, then let a standard encoder write a standard file."""
