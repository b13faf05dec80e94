"""Weights: what is written is read again; what does not fit is refused with a reason."""

import json
from pathlib import Path

import onnx
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from kcompress.errors import UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine, TorchEngine, resolve_device
from kcompress.inference.models import torch_module
from kcompress.machine.classifiers import Classifier
from kcompress.metrics.vqscore_network import VQscoreNetwork
from kcompress.networks.artefacts import Artefacts
from kcompress.networks.blend import Blend
from kcompress.networks.feedback import Feedback
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.loading import load
from kcompress.networks.npp import Npp
from kcompress.networks.preprocessor import NetworkPreprocessor
from kcompress.networks.rdo import Rdo
from kcompress.pool.artifacts_network import ArtifactRemoval
from kcompress.proxies.choice import KINDS

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


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    metadata = {"network": "kuchen", "arguments": "{}", **{f"{number}": "much" for number in range(20)}}
    module = Kuchen(2)
    digests = {
        weight_files.write_tensors(tmp_path / f"{number}", module, dict(order), {}).digest()
        for number, order in enumerate([metadata.items(), reversed(metadata.items())])
    }
    assert len(digests) == 1
    with safe_open(tmp_path / "0.safetensors", "pt") as file:
        assert file.metadata().items() >= metadata.items()
        assert all(torch.equal(file.get_tensor(name), value) for name, value in module.state_dict().items())


@pytest.mark.parametrize("given", ["", ".safetensors", ".onnx", ".json"])
def test_a_dot_in_the_stem_is_no_suffix(tmp_path: Path, given: str) -> None:
    stem = tmp_path / "small-8.5"
    metadata = {"network": "kuchen", "arguments": json.dumps({"width": 2}), "codec": "any"}
    weight_files.write(stem, Kuchen(2), metadata, {"summary": "a test"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "small-8.5.json", "small-8.5.onnx", "small-8.5.safetensors",
    ]  # fmt: skip
    weights = weight_files.open_weights(tmp_path / f"small-8.5{given}", "kuchen")
    assert weights.name == "small-8.5"
    assert weight_files.card(weights) == {"summary": "a test"}


def test_own_weights_are_used_on_the_cpu_without_onnx(stem: Path, tmp_path: Path, lake) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(stem.with_suffix(".safetensors").read_bytes())
    preprocessor = load("kuchen", device="cpu", weights=alone)
    assert preprocessor is not None and preprocessor.name == "alone"
    assert preprocessor(lake, None).pixels.shape == lake.pixels.shape  # type: ignore[arg-type]


def test_weights_for_the_codec_go_before_those_for_any(stem: Path, tmp_path: Path, shipped) -> None:
    shipped(tmp_path)
    names = {codec: [] for codec in ("jpeg", "webp", "hevc", "bpg", "avif", None)}
    for present in ("kuchen", "kuchen-webp", "kuchen-hevc"):
        (tmp_path / f"{present}.safetensors").write_bytes(stem.with_suffix(".safetensors").read_bytes())
        for codec, found in names.items():
            found.append(load("kuchen", device="cpu", codec=codec).name)  # type: ignore[union-attr]
    assert names == {
        "jpeg": ["kuchen"] * 3, "webp": ["kuchen", "kuchen-webp", "kuchen-webp"],
        "hevc": ["kuchen", "kuchen", "kuchen-hevc"], "bpg": ["kuchen", "kuchen", "kuchen-hevc"],
        "avif": ["kuchen", "kuchen", "kuchen-hevc"], None: ["kuchen"] * 3,
    }  # fmt: skip


def test_no_weights_for_a_codec(stem: Path, tmp_path: Path, shipped) -> None:
    shipped(tmp_path)
    with pytest.raises(WeightsError, match=r"no weights of kuchen came along\. Train some"):
        load("kuchen", device="cpu", codec="jpeg")
    (tmp_path / "kuchen-webp.safetensors").write_bytes(stem.with_suffix(".safetensors").read_bytes())
    assert load("kuchen", device="cpu", codec="webp").name == "kuchen-webp"  # type: ignore[union-attr]
    said = {codec: f"--network kuchen has no weights for {codec}" for codec in ("jpeg", "bpg")}
    for codec, message in {**said, None: "the network kuchen needs a codec, or weights"}.items():
        with pytest.raises(UsageError, match=f"{message}: there are kuchen-webp"):
            load("kuchen", device="cpu", codec=codec)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="do not exist"):
        load("kuchen", device="cpu", weights=tmp_path / "none.safetensors")


@pytest.mark.parametrize("place", [".", "/", "none/..", ""])
def test_a_folder_is_no_weights(place: str) -> None:
    with pytest.raises(WeightsError, match=r"\.safetensors do not exist"):
        weight_files.open_weights(Path(place))


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


def _saved(path: Path, network: str = "kuchen", tensors: object = None, **metadata: str) -> Path:
    own = {"format": weight_files.FORMAT, "network": network, "arguments": '{"width": 2}', "codec": "any", **metadata}
    save_file(Kuchen(2).state_dict() if tensors is None else tensors, path, own)
    return path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_tensors_that_are_no_numbers(tmp_path: Path, value: float, kind: torch.dtype) -> None:
    state = {name: tensor.to(kind) for name, tensor in Kuchen(2).state_dict().items()}
    state["last.bias"][1] = value
    path = _saved(tmp_path / "x.safetensors", tensors=state)
    with pytest.raises(WeightsError, match=r"x\.safetensors holds NaN or infinity in last\.bias.*\.$"):
        load("kuchen", device="cpu", weights=path)


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null", '"width"', "[" * 100_000, '{"width": NaN}',
                                  '{"width": 1e99}', '{"width": -2}', '{"width": 1000000000}'])  # fmt: skip
def test_damaged_arguments(tmp_path: Path, text: str) -> None:
    with pytest.raises(WeightsError, match=r"arguments.*\.$"):
        load("kuchen", device="cpu", weights=_saved(tmp_path / "x.safetensors", arguments=text))


@pytest.mark.parametrize(
    "text", ['{"width": 4096}', '{"width": "2"}', '{"depth": 2}', '{"width": null}', '{"width": 3}']
)
def test_arguments_that_build_another_module_take_no_memory(tmp_path: Path, text: str) -> None:
    with pytest.raises(WeightsError, match="does not fit the network kuchen"):
        load("kuchen", device="cpu", weights=_saved(tmp_path / "x.safetensors", arguments=text))


@pytest.mark.parametrize("recipe", [
    "", "[]5", '{"passes": 1000000000}', '{"passes": 0}', '{"passes": "3"}', '{"passes": 1.5}', '{"passes": null}',
    '{"coarseness": 1}', '{"coarseness": [0, NaN]}', '{"coarseness": [0.9, 0.1]}', '{"coarseness": [0, 1, 2]}',
    '{"lowest": -5}', '{"highest": 999}', '{"lowest": "a"}', '{"lowest": 60, "highest": 40}',
    '{"strength": 0}', '{"strength": 1.1}', '{"strength": NaN}', '{"strength": "all"}', '{"strength": null}',
])  # fmt: skip
def test_a_recipe_that_makes_no_sense(tmp_path: Path, recipe: str) -> None:
    path = _saved(tmp_path / "x.safetensors", "feedback", Feedback().state_dict(), arguments="{}", recipe=recipe,
                  codec="webp")  # fmt: skip
    with pytest.raises(WeightsError, match=r"recipe.*\.$"):
        load(
            "feedback",
            device="cpu",
            weights=path,
            codec="webp",
            round_trip=lambda image, setting: lambda current: current.pixels,
        )


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"7"])
def test_a_damaged_card(stem: Path, tmp_path: Path, content: bytes) -> None:
    path = _saved(tmp_path / "x.safetensors")
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(WeightsError, match="no card of weights"):
        weight_files.card(weight_files.open_weights(path))


class _Odd(torch.nn.Module):
    """A network that wants, or gives, something else."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def forward(self, image: torch.Tensor, *more: torch.Tensor) -> torch.Tensor:
        small = image[:, :, :8]
        found = {"nan": image / 0 * 0, "inf": image / 0, "size": small, "grey": image[:, :1], "far": image * 1e6}
        return found[self._what]


@pytest.mark.parametrize("what", ["nan", "inf", "size", "grey", "far"])
def test_a_network_that_gives_no_picture(what: str, lake) -> None:
    odd = NetworkPreprocessor("odd", TorchEngine(_Odd(what), "cpu"), network="odd", strength=1, halo=0, multiple=8)
    with pytest.raises(WeightsError, match=r"no picture.*\.$"):
        odd(lake, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("inputs", ["two", "none fits"])
def test_a_graph_with_other_inputs(stem: Path, tmp_path: Path, inputs: str, lake) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(stem.with_suffix(".safetensors").read_bytes())
    graph = onnx.load(stem.with_suffix(".onnx"))
    if inputs == "two":
        graph.graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1, 3]))
    else:
        graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 5
    onnx.save(graph, path.with_suffix(".onnx"))
    with pytest.raises(WeightsError, match=r"x\.onnx.*\.$"):
        preprocessor = load("kuchen", device="cpu", weights=path)
        preprocessor(lake, None)  # type: ignore[misc, arg-type]


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


@pytest.mark.parametrize("weights", weight_files.shipped(), ids=lambda weights: weights.name)
def test_shipped_weights_fit_their_modules(weights: weight_files.Weights) -> None:
    """Names of attributes and arguments of a module are a file format."""
    modules = {
        "ar": ArtifactRemoval, "artefacts": Artefacts, "blend": Blend, "classifier": Classifier, "feedback": Feedback,
        "kuchen": Kuchen,
        "npp": Npp, "rdo": Rdo, "vqscore": VQscoreNetwork, **KINDS,
    }  # fmt: skip
    built = torch_module(weights, modules[weights.metadata["network"]])
    assert built.state_dict().keys() == weights.tensors().keys()


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda:0")


def test_shipped_graphs_name_no_path_of_the_machine_they_were_made_on() -> None:
    for weights in weight_files.shipped():
        if weights.metadata["network"] in FOR_TRAINING:
            continue
        model = onnx.load(weights.onnx)
        for values in model.graph.initializer:
            values.ClearField("raw_data")  # numbers, among which any four bytes may be
        content = model.SerializeToString()
        assert b".py" not in content and b"stack_trace" not in content
