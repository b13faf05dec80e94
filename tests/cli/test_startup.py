"""What is imported: the command must answer at once."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "PIL", "onnxruntime", "cv2", "safetensors", "pillow_heif"}


TELLING = """
import atexit, sys
atexit.register(lambda: print("loaded:", *sys.modules, file=sys.stderr))
from kcompress.cli import app
app(prog_name="kcompress")
"""


def loaded(folder, environment, *arguments) -> set[str]:
    """Modules that a command imports."""
    argv = [sys.executable, "-c", TELLING, *arguments]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("loaded: "))
    return set(line.split()[1:])


def imported(folder, environment, *arguments) -> set[str]:
    """Their top-level packages."""
    return {name.partition(".")[0] for name in loaded(folder, environment, *arguments)}


@pytest.mark.parametrize(
    "arguments", [["--help"], ["encode", "--help"], ["train", "--help"], ["--version"]], ids=" ".join
)
def test_help_imports_nothing_heavy(folder, environment, arguments):
    assert not imported(folder, environment, *arguments) & HEAVY


@pytest.mark.parametrize("network", ["none", "shrink"])
def test_no_network_library_without_a_network(small, folder, environment, network):
    modules = imported(folder, environment, "encode", "small.png", "--network", network)
    assert "numpy" in modules
    assert not modules & {"torch", "onnxruntime", "cv2", "safetensors", "pillow_heif"}


def test_doctor_imports_no_torch(folder, environment):
    assert "torch" not in imported(folder, environment, "doctor")


def test_a_command_loads_neither_the_others_nor_what_nobody_sees(small, folder, environment):
    modules = loaded(folder, environment, "encode", "small.png", "--network", "none")
    assert "kcompress.cli.encode" in modules
    others = {f"kcompress.cli.{name}" for name in ("decode", "compare", "label", "train", "bench", "doctor")}
    assert not modules & {*others, "rich.progress", "PIL.PdfParser"}
    assert not {name for name in loaded(folder, environment, "--version") if name.startswith("kcompress.cli.encode")}


def test_help_lists_every_command(run):
    told = run("--help").stdout.decode()
    for name in ("encode", "decode", "compare", "label", "train", "bench", "doctor"):
        assert f"  {name} " in told
