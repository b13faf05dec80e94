"""Butteraugli's program, played by a script: what is asked of it and what is read."""

import sys
from pathlib import Path

import pytest

from kcompress.errors import ProgramError
from kcompress.metrics import METRICS


@pytest.fixture
def program(tmp_path: Path, monkeypatch):
    """A ``butteraugli_main`` that prints what it is told to, and its arguments into a file."""

    def make(printed: str) -> Path:
        script = tmp_path / "butteraugli_main"
        told = tmp_path / "told"
        script.write_text(
            f"#!{sys.executable}\n"
            "import pathlib, sys\n"
            "kind = pathlib.Path(sys.argv[1]).read_bytes()[:2].decode()\n"
            f"pathlib.Path({str(told)!r}).write_text(' '.join([kind, *sys.argv[3:]]))\n"
            f"print({printed!r})\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return told

    return make


def test_the_3_norm_is_read(program, photo):
    told = program("5.4321000000\n3-norm: 1.234567")
    assert METRICS["butteraugli"].available()
    assert METRICS["butteraugli"].score(photo, photo) == 1.234567
    assert told.read_text() == "P6 --pnorm 3 --intensity_target 80"


def test_a_program_that_prints_none(program, photo):
    program("0.5")
    with pytest.raises(ProgramError, match="no 3-norm"):
        METRICS["butteraugli"].score(photo, photo)
