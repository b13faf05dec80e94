"""The command line: one module a command. Heavy imports happen inside the commands, so that --help is fast."""

from typing import Annotated

import typer

from kcompress import __version__
from kcompress.cli.bench import bench
from kcompress.cli.compare import compare
from kcompress.cli.decode import decode
from kcompress.cli.doctor import doctor
from kcompress.cli.encode import encode
from kcompress.cli.label import label
from kcompress.cli.train import TrainCommand, train

app = typer.Typer(
    name="kcompress",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(encode)
app.command()(decode)
app.command()(compare)
app.command()(label)
app.command(cls=TrainCommand)(train)
app.command()(bench)
app.command()(doctor)


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
