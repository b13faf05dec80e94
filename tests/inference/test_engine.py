"""Engines: what loading one leaves behind, and how shipped weights become one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import FOLDER

from kcompress.errors import UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine, resolve_device
from kcompress.inference.models import engine, shipped_engine

KUCHEN = weight_files.folder() / "kuchen-jpeg.safetensors"


def test_nothing_is_told_to_anyone_and_no_file_is_left(tmp_path: Path) -> None:
    """ONNX Runtime's telemetry is off: it would write into the home, the cache and the temporary folder."""
    silent = ("CI", "ORT_", "GITHUB_", "TF_BUILD")  # what turns it off by itself
    environment = {key: value for key, value in os.environ.items() if not key.startswith(silent)}
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"), str(tmp_path))
    code = (
        "import pathlib, sys; from kcompress.inference.engine import OnnxEngine; OnnxEngine(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-B", "-c", code, str(KUCHEN.with_suffix(".onnx"))],
        env=environment | places, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert not list(tmp_path.rglob("*"))


def test_shipped_weights_by_name(shipped, tiny_weights: Path, tmp_path: Path) -> None:
    assert weight_files.is_shipped("kuchen-jpeg")
    shipped(tiny_weights)
    assert weight_files.is_shipped("ar") and not weight_files.is_shipped("kuchen-jpeg")
    assert [weights.name for weights in weight_files.shipped()] == ["ar", "vqscore"]
    shipped(tmp_path)
    assert not weight_files.is_shipped("ar") and not weight_files.shipped()
    with pytest.raises(WeightsError, match=r"the weights ar did not come along: .* has none\. Reinstall kcompress\."):
        weight_files.open_shipped("ar")


def test_shipped_weights_without_a_graph_run_by_torch(shipped, tiny_weights: Path, tmp_path: Path) -> None:
    from kcompress.metrics.vqscore_network import VQscoreNetwork

    pixels = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    shipped(tiny_weights)
    by_graph = shipped_engine("vqscore", "cpu", lambda: VQscoreNetwork)(pixels)
    (tmp_path / "vqscore.safetensors").write_bytes((tiny_weights / "vqscore.safetensors").read_bytes())
    shipped(tmp_path)
    by_torch = shipped_engine("vqscore", "cpu", lambda: VQscoreNetwork)(pixels)
    assert by_torch.shape == (1, 1) and by_torch == pytest.approx(by_graph, abs=1e-3)


def test_a_graph_needs_no_torch_module(tiny_weights: Path) -> None:
    """The module is only asked for where torch has to run: importing it takes seconds."""
    weights = weight_files.open_weights(tiny_weights / "ar.onnx", "ar")
    assert isinstance(engine(weights, "cpu", lambda: pytest.fail("the module was asked for")), OnnxEngine)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "CPU", "cuda:0:1"])
def test_unknown_devices(name: str) -> None:
    with pytest.raises(UsageError, match=r"is not known\. Allowed: auto, cpu, cuda, cuda:N\."):
        resolve_device(name)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"--device cuda:4711: .* Take --device cpu"):
        resolve_device("cuda:4711")


def test_a_picture_is_no_graph() -> None:
    with pytest.raises(WeightsError, match=r"lake\.png cannot be loaded .* Get the file again\."):
        OnnxEngine(FOLDER / "lake.png")
