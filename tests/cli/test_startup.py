"""What is imported: the command must answer at once."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "PIL", "onnxruntime", "cv2", "safetensors", "pillow_heif"}


def imported(folder, environment, *arguments) -> set[str]:
    """Top-level packages that a command imports."""
    argv = [sys.executable, "-X", "importtime", "-m", "kcompress", *arguments]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


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
