"""Downstream models: every kind of file gives the same answers, every key changes something, every misfit is told."""

import hashlib
import json
import sys
import types
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from machine.tiny import SIDE, Both, Classes, Means, Objects, One, Two, exported, graph, scripted
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file
from torch import nn

from kcompress.errors import MissingProgramError, UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.machine.classifiers import Classifier
from kcompress.machine.model import Layout
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that several tests open."""
    folder = tmp_path_factory.mktemp("models")
    exported(Means(), folder / "means.pt2", free=True)
    exported(Classes(), folder / "fixed.pt2")
    exported(Classes(), folder / "four.pt2", (4, 3, SIDE, SIDE))
    exported(Classes(), folder / "free.pt2", free=True)
    scripted(Classes(), folder / "traced.pt")
    scripted(One(), folder / "one.ts")
    graph(folder / "means.onnx")
    return folder


@pytest.fixture
def pictures() -> torch.Tensor:
    """Three of the models' size."""
    return torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["fixed.pt2", "four.pt2", "free.pt2", "traced.pt", "one.ts"])
def test_any_number_of_pictures_and_gradients_to_them_alone(folder: Path, pictures: torch.Tensor, name: str) -> None:
    expected = Classes().eval()(pictures).detach()
    model = open_model(str(folder / name))
    assert model.trainable and model.name == Path(name).stem and model.device == "cpu"
    assert model.size == ((SIDE, SIDE) if name in ("fixed.pt2", "four.pt2") else None)
    pictures.requires_grad_()
    for _ in range(2):  # the second time it knows how many it can take at once
        found = model(pictures)
        torch.testing.assert_close(found.detach(), expected, rtol=1e-4, atol=1e-5)
        assert torch.autograd.grad(found.sum(), pictures)[0].abs().flatten(1).amax(1).gt(0).all()
    torch.testing.assert_close(model(pictures[:1].detach()), expected[:1], rtol=1e-4, atol=1e-5)
    assert not model(pictures.detach()).requires_grad, "nothing flows into the parameters"


def test_a_graph_answers_and_does_not_train(folder: Path, pictures: torch.Tensor) -> None:
    model = open_model(str(folder / "means.onnx"))
    assert not model.trainable and model.size is None
    found = model(pictures.requires_grad_())
    torch.testing.assert_close(found, pictures.detach().mean((2, 3)))
    assert not found.requires_grad


def test_a_graph_for_one_picture_of_one_size(pictures: torch.Tensor, tmp_path: Path) -> None:
    model = open_model(str(graph(tmp_path / "one.onnx", (1, 3, SIDE, 2 * SIDE), rows=(1, 3))))
    assert model.size == (SIDE, 2 * SIDE)
    wide = torch.cat([pictures, pictures], 3)
    torch.testing.assert_close(model(wide), wide.mean((2, 3)))


def test_the_digest_is_that_of_the_file(folder: Path, tmp_path: Path) -> None:
    data = (folder / "means.onnx").read_bytes()
    assert open_model(f"{folder / 'means.onnx'}:range=255").digest == hashlib.sha256(data).hexdigest()
    (tmp_path / "means.onnx").write_bytes(data)
    (tmp_path / "means.onnx.data").write_bytes(b"weights")
    assert open_model(str(tmp_path / "means.onnx")).digest == hashlib.sha256(data + b"weights").hexdigest()


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("range=255", [51, 102, 204]),
        ("mean=0.1/0.2/0.3", [0.1, 0.2, 0.5]),
        ("std=0.5/0.1/2", [0.4, 4, 0.4]),
        ("order=bgr", [0.8, 0.4, 0.2]),
        ("order=rgb", [0.2, 0.4, 0.8]),
        ("mean=imagenet", [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]),
        ("std=1/1/1,mean=imagenet", [0.2 - 0.485, 0.4 - 0.456, 0.8 - 0.406]),
        ("mean=imagenet,range=255", [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225]),
        ("range=255,mean=51/52/4,std=1/2/4,order=bgr", [50, 25, 0]),
    ],
)
@pytest.mark.parametrize("name", ["means.pt2", "means.onnx"])
def test_every_key_prepares_pictures(folder: Path, name: str, keys: str, expected: list[float]) -> None:
    pictures = torch.tensor([0.2, 0.4, 0.8]).view(1, 3, 1, 1).expand(2, 3, SIDE, SIDE)
    found = open_model(f"{folder / name}:{keys}")(pictures)
    torch.testing.assert_close(found, torch.tensor([expected] * 2, dtype=torch.float32), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("keys", "size"), [("size=20", (20, 20)), ("size=30x20", (20, 30))])
def test_the_size_can_be_chosen_where_the_file_leaves_it_free(folder: Path, keys: str, size: tuple[int, int]) -> None:
    model = open_model(f"{folder / 'means.pt2'}:{keys}")
    assert model.size == size
    assert task("classification", model).resized(torch.rand(1, 3, 50, 70)).shape[2:] == size


def test_a_path_may_hold_colons(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a:b.onnx"
    path.write_bytes((folder / "means.onnx").read_bytes())
    assert open_model(str(path)).name == open_model(f"{path}:size=8").name == "a:b"


@pytest.mark.parametrize(
    "keys",
    ["size=0", "size=9000", "size=10x", "size=-3", "size=big", "mean=1", "mean=1/2", "mean=a/b/c", "mean=nan/0/0",
     "mean=inf/0/0", "std=imagenet", "std=0/1/1", "range=0", "range=-1", "range=nan", "range=inf", "range=white",
     "order=gbr", "colour=red", "size=8,size=9", "size=8,", "size=8,bgr", "size="],
)  # fmt: skip
def test_keys_that_are_not_understood(folder: Path, keys: str) -> None:
    with pytest.raises(UsageError, match=r"is not understood\. Allowed: size=SIDE or size=WxH \(pixels\), mean="):
        open_model(f"{folder / 'means.onnx'}:{keys}")


def test_keys_are_looked_at_before_the_file() -> None:
    with pytest.raises(UsageError, match="hue=3 is not understood"):
        open_model("missing.onnx:hue=3")


def test_a_size_that_the_file_rules_out(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "fixed.pt2", graph(tmp_path / "fixed.onnx", ("n", 3, "h", SIDE))):
        with pytest.raises(UsageError, match=r"takes pictures of 24x\w+ pixels .*, and 32x24 were asked for\. Leave"):
            open_model(f"{path}:size=32x24")
    assert open_model(f"{folder / 'fixed.pt2'}:size=24").size == (24, 24)
    assert open_model(f"{tmp_path / 'fixed.onnx'}:size=24x12").size == (12, 24)


def test_what_is_no_model() -> None:
    for spec in ("resnet50", "net.pth", "net.h5", "fastestdet:", "kuchen", ""):
        with pytest.raises(UsageError, match=r"is not known\. Allowed: files \.pt2 .*fastestdet:\.\.\. or torchvision"):
            open_model(spec)


@pytest.mark.parametrize("spec", ["a.pt2", "a.pt", "a.ts", "a.onnx:size=8", "a.safetensors", "fastestdet:a.pth"])
def test_a_missing_file(tmp_path: Path, spec: str) -> None:
    with pytest.raises(WeightsError, match=r"there is no file missing/a\.\w+\. Check the path\."):
        open_model(spec.replace("a.", "missing/a."))


@pytest.mark.parametrize("name", ["a.pt2", "a.pt", "a.torchscript", "a.onnx", "fastestdet:a.pth"])
def test_a_file_of_something_else(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    kind, _, file = name.rpartition(":")
    for content in (b"", b"no model " * 99):
        (tmp_path / file).write_bytes(content)
        with pytest.raises(WeightsError, match=r"a\.\w+ cannot be loaded.*(It should be|Get the file again)"):
            open_model(f"{kind}:{tmp_path / file}".lstrip(":"))
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_state_dict_is_no_model(tmp_path: Path) -> None:
    torch.save(Classes().state_dict(), tmp_path / "state.pt")
    with pytest.raises(WeightsError, match="of a state dict alone no model can be made"):
        open_model(str(tmp_path / "state.pt"))
    with pytest.raises(WeightsError, match="is no state dict of FastestDet"):
        open_model(f"fastestdet:{tmp_path / 'state.pt'}")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="is no state dict of FastestDet"):
        open_model(f"fastestdet:{tmp_path / 'list.pth'}")
    torch.save(nn.Linear(2, 2), tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="cannot be loaded"):  # a pickled module would run code
        open_model(f"fastestdet:{tmp_path / 'code.pth'}")


def test_inputs_that_are_no_colour_pictures(tmp_path: Path) -> None:
    needed = r"Needed is float32 of shape N x 3 x height x width"
    grey = exported(Classes(1), tmp_path / "grey.pt2", (1, 1, SIDE, SIDE))
    flat = exported(nn.Linear(12, 5), tmp_path / "flat.pt2", (1, 12))
    last = graph(tmp_path / "last.onnx", (1, SIDE, SIDE, 3))
    double = graph(tmp_path / "double.onnx", kind=TensorProto.DOUBLE)
    for path, shape in (
        (grey, "float32 of shape 1 x 1 x 24 x 24"), (flat, "float32 of shape 1 x 12"),
        (last, "float32 of shape 1 x 24 x 24 x 3"), (double, r"tensor\(double\) of shape any x 3 x any x any"),
    ):  # fmt: skip
        with pytest.raises(WeightsError, match=f"takes {shape}. {needed}"):
            open_model(str(path))


def test_channels_that_only_a_try_can_tell(tmp_path: Path) -> None:
    model = open_model(str(scripted(Classes(4), tmp_path / "four.pt", torch.rand(1, 4, SIDE, SIDE))) + ":size=24")
    with pytest.raises(WeightsError, match=r"cannot take pictures of 3 channels and 24x24 pixels.*4 channels.*Give it"):
        task("classification", model)


def test_more_than_one_input_or_output(tmp_path: Path) -> None:
    x = torch.rand(1, 3, SIDE, SIDE)
    for path in (exported(Both(), tmp_path / "both.pt2", inputs=2), scripted(Both(), tmp_path / "both.pt", x, x)):
        with pytest.raises(WeightsError, match=r"takes 2 inputs and gives 1 outputs\. Needed is one of each"):
            open_model(str(path))
    with pytest.raises(WeightsError, match=r"takes 1 inputs and gives 2 outputs\. Needed is one of each"):
        open_model(str(graph(tmp_path / "two.onnx", outputs=2)))
    for path in (exported(Two(), tmp_path / "two.pt2"), scripted(Two(), tmp_path / "two.pt")):
        with pytest.raises(WeightsError, match=r"gives a tuple of 2 parts for 1 pictures\. Needed is one tensor"):
            task("classification", open_model(str(path)))


def test_a_program_exported_in_training(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"was exported while it was trained.* Export model\.eval\(\)"):
        open_model(str(exported(Classes(), tmp_path / "training.pt2", training=True)))


def test_pictures_of_another_size(folder: Path) -> None:
    model = open_model(str(folder / "fixed.pt2"))
    with pytest.raises(WeightsError, match="cannot take pictures of 3 channels and 30x20 pixels"):
        model(torch.rand(1, 3, 20, 30))


def _write_classifier(path: Path, **metadata: str) -> Path:
    torch.manual_seed(6)
    arguments = {"architecture": "residual", "width": 4, "classes": 5}
    common = {"format": weight_files.FORMAT, "network": "classifier", "arguments": json.dumps(arguments)}
    save_file(Classifier(**arguments).state_dict(), path, common | metadata)
    return path


def test_our_own_classifiers(shipped, tmp_path: Path) -> None:
    path = _write_classifier(tmp_path / "classifier-tiny.safetensors", recipe=json.dumps({"side": 48}))
    shipped(tmp_path)
    for spec in ("classifier-tiny", str(path)):
        model = open_model(spec)
        assert (model.name, model.size, model.trainable) == ("classifier-tiny", (48, 48), True)
        assert model.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    picture = torch.rand(2, 3, 48, 48, requires_grad=True)
    found = model(picture)
    module = weight_files.open_weights(path)
    reference = Classifier(**module.arguments).eval()
    reference.load_state_dict(module.tensors())
    torch.testing.assert_close(found, reference(picture))
    assert torch.autograd.grad(found.sum(), picture)[0].abs().sum() > 0
    assert open_model("classifier-tiny:size=64").size == (64, 64)
    assert open_model(str(_write_classifier(tmp_path / "sideless.safetensors"))).size is None
    with pytest.raises(UsageError, match="names that came along: classifier-tiny, sideless"):
        open_model("classifier-large")
    wrong = _write_classifier(tmp_path / "npp.safetensors", network="npp")
    with pytest.raises(WeightsError, match=r"are npp weights\. As a model take those of a classifier"):
        open_model(str(wrong))


def _fake_torchvision(monkeypatch: pytest.MonkeyPatch, cache: Path, preset: object) -> None:
    weights = types.SimpleNamespace(url="https://example.org/net-1234.pth", transforms=lambda: preset)

    def get_model_weights(name: str) -> object:
        if name != "net":
            raise ValueError(f"Unknown model {name}")
        return types.SimpleNamespace(DEFAULT=weights)

    def get_model(name: str, weights: object) -> nn.Module:
        assert (cache / "checkpoints" / "net-1234.pth").is_file()
        return Means()

    models = types.ModuleType("torchvision.models")
    models.__dict__.update(get_model_weights=get_model_weights, get_model=get_model)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(cache))


def test_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    preset = types.SimpleNamespace(crop_size=[32], mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.5))
    _fake_torchvision(monkeypatch, tmp_path, preset)
    with pytest.raises(UsageError, match=r"torchvision has no mesh with weights.*list_models"):
        open_model("torchvision:mesh")
    with pytest.raises(
        MissingProgramError, match=r"net-1234\.pth is missing. Get https://example.org/net-1234.pth and"
    ):
        open_model("torchvision:net")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net-1234.pth").write_bytes(b"weights")
    model = open_model("torchvision:net")
    assert (model.name, model.size, model.trainable) == ("net", (32, 32), True)
    assert model.digest == hashlib.sha256(b"weights").hexdigest()
    torch.testing.assert_close(model(torch.ones(1, 3, 32, 32)), torch.tensor([[5, 3, 1.4]]))
    assert open_model("torchvision:net:size=40").size == (40, 40)
    _fake_torchvision(monkeypatch, tmp_path, object())
    assert open_model("torchvision:net").size is None


def test_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.delitem(sys.modules, "torchvision.models", raising=False)
    with pytest.raises(MissingProgramError, match=r"needs torchvision, which is not installed\. pip install torchvis"):
        open_model("torchvision:resnet50")


def test_a_detector_is_a_model_too(tmp_path: Path) -> None:
    model = open_model(str(exported(Objects(), tmp_path / "objects.pt2")))
    assert model(torch.rand(2, 3, SIDE, SIDE)).shape == (2, 8, 6, 6)


def _told(path: Path, outputs: dict[str, np.ndarray], shape: Sequence[int | str]) -> Path:
    """A graph that gives these whatever it is shown."""
    nodes = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values))
        for name, values in outputs.items()
    ]
    kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    made = helper.make_graph(
        nodes, "told", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, kinds[str(each.dtype)], each.shape) for name, each in outputs.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.mark.parametrize("shape", [(3, SIDE, SIDE), (1, 3, SIDE, SIDE), ("n", 3, SIDE, SIDE)])
def test_a_graph_that_gives_boxes(tmp_path: Path, shape: Sequence[int | str]) -> None:
    told = {"scores": np.float32([0.9, 0.5]), "labels": np.int64([7, 1]),
            "boxes": np.float32([[1, 2, 3, 4], [5, 6, 7, 8]])}  # fmt: skip
    model = open_model(str(_told(tmp_path / "boxes.onnx", told, shape)))
    assert model.layout is Layout.BOXES and model.size == (SIDE, SIDE) and not model.trainable
    expected = torch.tensor([[1, 2, 3, 4, 0.9, 7], [5, 6, 7, 8, 0.5, 1]])
    torch.testing.assert_close(model(torch.rand(3, 3, SIDE, SIDE)), expected.expand(3, 2, 6))
    assert task("detection", model, (1, 7)).name == "detection"
    with pytest.raises(WeightsError, match="The task classification needs"):
        task("classification", model)


def test_a_graph_that_gives_scores_and_boxes(tmp_path: Path) -> None:
    told = {"scores": np.full((1, 5, 2), 0.5, np.float32), "boxes": np.full((1, 5, 4), 0.25, np.float32)}
    model = open_model(str(_told(tmp_path / "anchors.onnx", told, (1, 3, SIDE, SIDE))))
    assert model.layout is Layout.ANCHORS
    expected = torch.tensor([0.25] * 4 + [0.5] * 2).expand(2, 5, 6)
    torch.testing.assert_close(model(torch.rand(2, 3, SIDE, SIDE)), expected)
    assert task("detection", model).name == "detection"


def test_a_detector_of_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Detector(nn.Module):
        """As many boxes as the number of the picture in its batch."""

        def forward(self, pictures: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
            return [
                {"boxes": torch.ones(n, 4), "scores": torch.full((n,), 0.5), "labels": torch.full((n,), 3)}
                for n, _ in enumerate(pictures)
            ]

    Detector.__module__ = "torchvision.models.detection.net"
    _fake_torchvision(monkeypatch, tmp_path, object())
    monkeypatch.setattr(sys.modules["torchvision.models"], "get_model", lambda name, weights: Detector())
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "net-1234.pth").write_bytes(b"weights")
    model = open_model("torchvision:net")
    assert model.layout is Layout.BOXES
    row = [1, 1, 1, 1, 0.5, 3]
    assert model(torch.rand(3, 3, 8, 8)).tolist() == [[[0] * 6] * 2, [row, [0] * 6], [row, row]]
