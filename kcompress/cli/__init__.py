"""The command line: one module a command. Heavy imports happen inside the commands, so that --help is fast."""

import os
import sys
from typing import Annotated, Any

import typer

from kcompress import __version__
from kcompress.cli.bench import bench
from kcompress.cli.compare import compare
from kcompress.cli.decode import decode
from kcompress.cli.doctor import doctor
from kcompress.cli.encode import encode
from kcompress.cli.label import label
from kcompress.cli.output import complain
from kcompress.cli.reporting import Command
from kcompress.cli.train import TrainCommand, train
from kcompress.errors import OutputError


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


app = _App(
    name="kcompress", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
app.command(cls=Command)(encode)
app.command(cls=Command)(decode)
app.command(cls=Command)(compare)
app.command(cls=Command)(label)
app.command(cls=TrainCommand)(train)
app.command(cls=Command)(bench)
app.command(cls=Command)(doctor)


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
