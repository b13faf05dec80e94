"""Weights: what is written is read again; what does not fit is refused with a reason."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kcompress.errors import UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine, resolve_device
from kcompress.networks import load
from kcompress.networks.kuchen import Kuchen

FOR_TRAINING = {"simulator", "minnen", "classifier"}
"""Networks that nothing is encoded with, and that need no graph."""


@pytest.fixture(scope="module")
def stem(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    stem = tmp_path_factory.mktemp("weights") / "small"
    metadata = {"network": "kuchen", "arguments": json.dumps({"width": 2}), "codec": "any"}
    weight_files.write(stem, Kuchen(2), metadata, {"summary": "a test"})
    return stem


def test_written_and_read(stem: Path) -> None:
    weights = weight_files.open_weights(stem.with_suffix(".onnx"), "kuchen")
    assert weights.arguments == {"width": 2}
    assert weights.metadata["format"] == weight_files.FORMAT
    assert weight_files.card(weights) == {"summary": "a test"}
    assert OnnxEngine(weights.onnx).metadata["safetensors_sha256"] == weights.digest()


def test_own_weights_are_used_on_the_cpu_without_onnx(stem: Path, tmp_path: Path, lake) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(stem.with_suffix(".safetensors").read_bytes())
    preprocessor = load("kuchen", device="cpu", weights=alone)
    assert preprocessor is not None and preprocessor.name == "alone"
    assert preprocessor(lake, None).pixels.shape == lake.pixels.shape  # type: ignore[arg-type]


def test_weights_for_the_codec_go_before_those_for_any(stem: Path, tmp_path: Path, shipped) -> None:
    shipped(tmp_path)
    names = {codec: [] for codec in ("jpeg", "webp", "hevc", "bpg", None)}
    for present in ("kuchen", "kuchen-webp", "kuchen-hevc"):
        (tmp_path / f"{present}.safetensors").write_bytes(stem.with_suffix(".safetensors").read_bytes())
        for codec, found in names.items():
            found.append(load("kuchen", device="cpu", codec=codec).name)  # type: ignore[union-attr]
    assert names == {
        "jpeg": ["kuchen"] * 3, "webp": ["kuchen", "kuchen-webp", "kuchen-webp"],
        "hevc": ["kuchen", "kuchen", "kuchen-hevc"], "bpg": ["kuchen", "kuchen", "kuchen-hevc"], None: ["kuchen"] * 3,
    }  # fmt: skip


def test_no_weights_for_a_codec(stem: Path, tmp_path: Path, shipped) -> None:
    shipped(tmp_path)
    with pytest.raises(WeightsError, match=r"no weights of kuchen came along\. Train some"):
        load("kuchen", device="cpu", codec="jpeg")
    (tmp_path / "kuchen-webp.safetensors").write_bytes(stem.with_suffix(".safetensors").read_bytes())
    assert load("kuchen", device="cpu", codec="webp").name == "kuchen-webp"  # type: ignore[union-attr]
    for codec, said in (("jpeg", "jpeg"), ("bpg", "bpg"), (None, "no certain codec")):
        with pytest.raises(UsageError, match=f"kuchen has no weights for {said}: there are kuchen-webp"):
            load("kuchen", device="cpu", codec=codec)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="do not exist"):
        load("kuchen", device="cpu", weights=tmp_path / "none.safetensors")


def test_not_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load("kuchen", device="cpu", weights=path)


def test_without_metadata(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="no kcompress metadata"):
        load("kuchen", device="cpu", weights=path)


def test_for_another_network(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"format": weight_files.FORMAT, "network": "npp", "arguments": "{}"})
    with pytest.raises(WeightsError, match="are npp weights; kuchen was asked for"):
        load("kuchen", device="cpu", weights=path)


def test_tensors_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    metadata = {"format": weight_files.FORMAT, "network": "kuchen", "arguments": '{"width": 2}'}
    save_file({"a": torch.zeros(1)}, path, metadata)
    with pytest.raises(WeightsError, match="does not fit the network kuchen"):
        load("kuchen", device="cpu", weights=path)


def test_onnx_of_other_weights(stem: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    metadata = {"format": weight_files.FORMAT, "network": "kuchen", "arguments": '{"width": 2}'}
    save_file(Kuchen(2).state_dict(), path, metadata)
    path.with_suffix(".onnx").write_bytes(stem.with_suffix(".onnx").read_bytes())
    with pytest.raises(WeightsError, match="belongs to other weights"):
        load("kuchen", device="cpu", weights=path)
    path.with_suffix(".onnx").write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="cannot be loaded"):
        load("kuchen", device="cpu", weights=path)


def test_shipped_weights_have_cards_with_their_recipe() -> None:
    shipped = weight_files.shipped()
    assert shipped
    for weights in shipped:
        card = weight_files.card(weights)
        assert card["network"] == weights.metadata["network"]
        assert card["recipe"] == json.loads(weights.metadata["recipe"])
        assert {"summary", "data", "licence"} <= card.keys()
        assert weights.onnx.is_file() == (card["network"] not in FOR_TRAINING)


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda:0")


def test_shipped_graphs_name_no_path_of_the_machine_they_were_made_on() -> None:
    for weights in weight_files.shipped():
        if weights.metadata["network"] in FOR_TRAINING:
            continue
        content = weights.onnx.read_bytes()
        assert b".py" not in content and b"stack_trace" not in content
