"""``python -m kcompress``."""

from kcompress.cli import app

app(prog_name="kcompress")
