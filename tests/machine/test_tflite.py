"""TensorFlow Lite: the same answers as its own interpreter, and gradients."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from kcompress.errors import MissingProgramError, WeightsError
from kcompress.machine.models import open_model
from kcompress.machine.tasks import task

pytestmark = pytest.mark.usefixtures("one_thread")
SIDE = (13, 18)
MODELS = Path(__file__).parents[3] / "shared/data/models"
QUANTISED = {"uint8": (np.uint8, 3), "int8": (np.int8, 9)}


class Builder:
    """A .tflite file, tensor by tensor and operation by operation; every tensor is quantised, or none."""

    def __init__(self, kind: str) -> None:
        pytest.importorskip("tflite")
        pytest.importorskip("ai_edge_litert")
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.kind, self.random = schema, kind, np.random.default_rng(0)
        self.tensors, self.buffers, self.operators, self.codes = [], [schema.BufferT()], [], []

    def tensor(self, shape, kind=0, scale=None, zero=0, values=None, axis=0) -> int:
        made = self.schema.TensorT()
        made.name, made.shape, made.type = f"t{len(self.tensors)}".encode(), list(shape), kind
        made.buffer = 0
        if values is not None:
            self.buffers.append(self.schema.BufferT())
            self.buffers[-1].data = list(np.ascontiguousarray(values).tobytes())
            made.buffer = len(self.buffers) - 1
        if scale is not None:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale = np.atleast_1d(scale).tolist()
            made.quantization.zeroPoint = [zero] * np.size(scale)
            made.quantization.quantizedDimension = axis
        self.tensors.append(made)
        return len(self.tensors) - 1

    def flow(self, shape, scale: float, zero: int = 0) -> int:
        """A tensor that is computed; ``zero`` is that of unsigned levels."""
        if self.kind == "float32":
            return self.tensor(shape)
        return self.tensor(shape, QUANTISED[self.kind][1], scale, zero - 128 * (self.kind == "int8"))

    def weights(self, shape, inputs_scale: float, axis: int = 0) -> list[int]:
        """Random weights and biases; signed ones have a scale an output channel."""
        outputs = shape[axis]
        if self.kind == "float32":
            return [self.tensor(shape, values=self.random.normal(0, 0.3, shape).astype(np.float32)),
                    self.tensor((outputs,), values=self.random.normal(0, 0.3, outputs).astype(np.float32))]  # fmt: skip
        if self.kind == "uint8":
            scale, values, zero, number = 0.006, self.random.integers(0, 256, shape, np.uint8), 120, 3
        else:
            scale, values, zero, number = (
                self.random.uniform(0.003, 0.006, outputs), self.random.integers(-127, 128, shape, np.int8), 0, 9,
            )  # fmt: skip
        biases = self.random.integers(-3000, 3000, outputs, np.int32)
        return [self.tensor(shape, number, scale, zero, values, axis),
                self.tensor((outputs,), 2, np.float64(inputs_scale) * scale, 0, biases)]  # fmt: skip

    def constant(self, *values) -> int:
        array = np.array(values, dtype=np.int32)
        return self.tensor(array.shape, 2, values=array)

    def add(self, name: str, inputs: list[int], output: int, options: str = "", **fields) -> int:
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = code.builtinCode
        code.version = 3 if self.kind == "int8" and name != "RESHAPE" else 1
        self.codes.append(code)
        made = self.schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self.codes) - 1, inputs, [output]
        if options:
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            made.builtinOptions = getattr(self.schema, f"{options}T")()
            for field, value in fields.items():
                assert hasattr(made.builtinOptions, field)
                setattr(made.builtinOptions, field, value)
        self.operators.append(made)
        return output

    def write(self, path: Path, first: int, last: int) -> Path:
        import flatbuffers

        model, graph = self.schema.ModelT(), self.schema.SubGraphT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [first], [last]
        model.version, model.subgraphs, model.buffers = 3, [graph], self.buffers
        model.operatorCodes = self.codes
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return path


def everything(path: Path, kind: str, *, softmax: bool = True, pool: str = "MEAN") -> Path:
    """A classifier of 5 classes by all known operations that a kind of numbers has."""
    made = Builder(kind)
    height, width = SIDE
    relu6 = {"fusedActivationFunction": 3}
    step = {"strideH": 2, "strideW": 2, "dilationHFactor": 1, "dilationWFactor": 1}
    one = {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    first = made.flow((1, height, width, 3), 1 / 128, 128)
    x = made.add("CONV_2D", [first, *made.weights((8, 3, 5, 3), 1 / 128)], made.flow((1, 7, 9, 8), 6 / 255),
                 "Conv2DOptions", padding=0, **step, **relu6)  # fmt: skip
    depth = made.weights((1, 3, 3, 8), 6 / 255, 3)
    x = made.add("DEPTHWISE_CONV_2D", [x, *depth], made.flow((1, 4, 5, 8), 6 / 255), "DepthwiseConv2DOptions",
                 padding=0, depthMultiplier=1, **step, **relu6)  # fmt: skip
    y = made.add("CONV_2D", [x, *made.weights((8, 1, 1, 8), 6 / 255)], made.flow((1, 4, 5, 8), 0.03, 130),
                 "Conv2DOptions", padding=1, **one)  # fmt: skip
    x = made.add("ADD", [x, y], made.flow((1, 4, 5, 8), 0.04, 100), "AddOptions")
    x = made.add("PAD", [x, made.constant((0, 0), (1, 0), (2, 1), (0, 0))], made.flow((1, 5, 8, 8), 0.04, 100),
                 "PadOptions")  # fmt: skip
    x = made.add("MAX_POOL_2D", [x], made.flow((1, 5, 8, 8), 0.04, 100), "Pool2DOptions", padding=0, strideH=1,
                 strideW=1, filterHeight=2, filterWidth=3)  # fmt: skip
    x = made.add("AVERAGE_POOL_2D", [x], made.flow((1, 3, 4, 8), 0.04, 100), "Pool2DOptions", padding=0, strideH=2,
                 strideW=2, filterHeight=3, filterWidth=3)  # fmt: skip
    if pool == "MEAN":
        x = made.add("MEAN", [x, made.constant(1, 2)], made.flow((1, 8), 0.03, 100), "ReducerOptions", keepDims=False)
    else:
        x = made.add("RESHAPE", [x, made.constant(1, 96)], made.flow((1, 96), 0.04, 100), "ReshapeOptions")
    inputs = made.tensors[x].shape[1]
    x = made.add("FULLY_CONNECTED", [x, *made.weights((5, inputs), 0.03 if pool == "MEAN" else 0.04)],
                 made.flow((1, 5), 0.02 if pool == "MEAN" else 0.08, 128), "FullyConnectedOptions")  # fmt: skip
    if softmax:
        x = made.add("SOFTMAX", [x], made.flow((1, 5), 1 / 256), "SoftmaxOptions", beta=1.0)
    return made.write(path, first, x)


def by_interpreter(path: Path, pictures: np.ndarray) -> np.ndarray:
    """Its answers to pictures (N, H, W, 3) of 8 bits, as real numbers."""
    from ai_edge_litert.interpreter import Interpreter

    running = Interpreter(str(path), num_threads=1)
    running.allocate_tensors()
    (given,), (told,) = running.get_input_details(), running.get_output_details()
    scale, zero = told["quantization"]
    found = []
    for picture in pictures:
        if given["dtype"] == np.float32:
            shown = (picture.astype(np.float32) - 128) / 128
        else:
            shown = (picture.astype(int) + np.iinfo(given["dtype"]).min).astype(given["dtype"])
        running.set_tensor(given["index"], shown[None])
        running.invoke()
        answer = running.get_tensor(told["index"])[0].astype(float)
        found.append((answer - zero) * scale if scale else answer)
    return np.array(found)


@pytest.fixture
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, *SIDE, 3), np.uint8)


def shown(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255


@pytest.mark.parametrize("pool", ["MEAN", "RESHAPE"])
@pytest.mark.parametrize(
    ("kind", "keys"), [("uint8", ""), ("int8", ""), ("float32", ":range=255,mean=128/128/128,std=128/128/128")]
)
def test_equal_to_its_interpreter(tmp_path: Path, pictures: np.ndarray, kind: str, keys: str, pool: str) -> None:
    path = everything(tmp_path / "net.tflite", kind, softmax=False, pool=pool)
    expected = by_interpreter(path, pictures)
    model = open_model(f"{path}{keys}")
    assert model.size == SIDE and model.trainable and model.name == "net"
    ours = model(shown(pictures)).numpy()
    assert np.ptp(expected, axis=0).min() > 0.15, "the answers differ"
    # A level more or less where the original rounds a sum twice.
    step = {"MEAN": 0.02, "RESHAPE": 0.08}[pool]
    np.testing.assert_allclose(ours, expected, atol=1e-4 if kind == "float32" else 2.01 * step)
    if kind != "float32":
        assert (np.abs(ours - expected) > step / 2).mean() < 0.6
        np.testing.assert_allclose(ours / step, np.round(ours / step), atol=1e-3)


def test_logits_stand_for_probabilities(tmp_path: Path, pictures: np.ndarray) -> None:
    path = everything(tmp_path / "net.tflite", "uint8")
    found = task("classification", open_model(str(path)))
    ours = found.pseudo_labels(shown(pictures))
    np.testing.assert_allclose(ours, by_interpreter(path, pictures), atol=0.02)
    plain = open_model(str(everything(tmp_path / "logits.tflite", "uint8", softmax=False)))
    torch.testing.assert_close(open_model(str(path))(shown(pictures)), plain(shown(pictures)))


def test_gradients_flow(tmp_path: Path, pictures: np.ndarray) -> None:
    judge = task("classification", open_model(str(everything(tmp_path / "net.tflite", "uint8"))))
    clear = shown(pictures)
    changed = (clear * 0.5 + 0.2).requires_grad_()
    targets = judge.pseudo_labels(clear)
    before, least = judge.loss(changed, targets), judge.loss(clear, targets)
    gradient = torch.autograd.grad(before.sum(), changed)[0]
    assert gradient.isfinite().all() and gradient.flatten(1).abs().amax(1).gt(0).all()
    optimizer = torch.optim.Adam([changed], lr=0.02)
    for _ in range(20):
        optimizer.zero_grad()
        judge.loss(changed, targets).sum().backward()
        optimizer.step()
    assert (judge.loss(changed, targets) - least).sum() < 0.3 * (before - least).sum()


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Builder("float32")
    first = made.flow((1, 4, 4, 3), 1)
    path = made.write(tmp_path / "odd.tflite", first, made.add("TANH", [first], made.flow((1, 4, 4, 3), 1)))
    with pytest.raises(
        WeightsError, match=r"has the operation TANH\. Known are CONV_2D, .*: export the model as \.pt2"
    ):
        open_model(str(path))
    whole = everything(tmp_path / "net.tflite", "uint8").read_bytes()
    for damaged in (b"", b"nothing", whole[:200], whole[:-20]):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"odd\.tflite cannot be loaded: .* It should be a \.tflite file"):
            open_model(str(path))
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(MissingProgramError, match=r"needs tflite, .*pip install 'kcompress\[tflite\]'"):
        open_model(str(path))


@pytest.mark.skipif(not MODELS.is_dir(), reason="the published MobileNets do not lie beside the checkout")
@pytest.mark.parametrize("name", ["mobilenet_v1_0.5_160_quant", "mobilenet_v2_1.0_224_quant"])
def test_mobilenets(name: str, lake, balloons) -> None:
    path = MODELS / f"{name}.tflite"
    found = task("classification", open_model(str(path)))
    for image in (lake, balloons):
        picture = found.resized(shown(image.pixels[None].copy())).mul(255).round()
        told = by_interpreter(path, picture.permute(0, 2, 3, 1).numpy().astype(np.uint8))
        ours = found.pseudo_labels(picture / 255).numpy()
        assert ours.argmax() == told.argmax() and np.abs(ours - told).max() < 0.1
