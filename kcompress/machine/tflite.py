"""Networks in TensorFlow Lite's format as torch modules, so that gradients flow through them.

Weights of 8 bits become real numbers, and activations are rounded to the levels of the original. A softmax at the end
is left out: its probabilities have 8 bits, too, and logits tell more. Format: schema.fbs of TensorFlow Lite, version 3.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kcompress.errors import MissingProgramError, WeightsError
from kcompress.machine import tflite_steps as steps
from kcompress.machine.input_transform import InputTransform
from kcompress.machine.model import LoadedModel, digest_of, reason
from kcompress.machine.tflite_steps import Levels, Window

_NUMBERS: Mapping[str, Any] = {
    "FLOAT32": np.float32, "INT32": np.int32, "UINT8": np.uint8, "INT64": np.int64, "INT8": np.int8,
}  # fmt: skip


class TfliteNetwork(nn.Module):
    """Steps of a graph in their order: pictures (N, 3, H, W) as real numbers -> output.

    Inputs and outputs of each step are numbers of tensors; ``levels`` has those of the tensors that are quantised.
    """

    def __init__(
        self, parts: list[tuple[nn.Module, list[int], int]], levels: Mapping[int, Levels], first: int, last: int
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part for part, _, _ in parts)
        self._wiring = [(inputs, output) for _, inputs, output in parts]
        self._levels, self._first, self._last = levels, first, last

    def forward(self, pictures: Tensor) -> Tensor:
        values = {self._first: self._rounded(self._first, pictures)}
        for part, (inputs, output) in zip(self.parts, self._wiring, strict=True):
            values[output] = self._rounded(output, part(*(values[number] for number in inputs)))
        return values[self._last]

    def _rounded(self, number: int, x: Tensor) -> Tensor:
        return self._levels[number](x) if number in self._levels else x


def load_tflite(path: Path, spec: str, device: str) -> LoadedModel:
    """Load a classifier; its input transform follows from the levels of its input.

    Raises:
        WeightsError: the file is damaged, takes no colour picture, or has operations that are not known.
        MissingProgramError: the package tflite is not installed.
    """
    try:
        import tflite
    except ImportError:
        raise MissingProgramError(
            f"the model {spec} needs tflite, which is not installed. pip install 'kcompress[tflite]'"
        ) from None
    try:
        graph = _Graph(tflite, path.read_bytes())
        network = graph.network()
    except WeightsError:
        raise
    except Exception as error:  # a damaged table raises whatever comes first
        raise WeightsError(f"{path} cannot be loaded: {reason(error)} It should be a .tflite file.") from error
    _, height, width, channels = graph.shape(graph.first)
    if channels != 3:
        raise WeightsError(f"{path} takes pictures of {channels} channels. Needed are 3: take another model.")
    transform = InputTransform((height, width))
    levels = graph.levels.get(graph.first)
    if levels is not None:  # level n stands for the grey level n - lowest
        zero, unit = float(levels.zero - levels.lowest), 1 / levels.scale
        transform = InputTransform((height, width), 255.0, (zero, zero, zero), (unit, unit, unit))
    return LoadedModel(
        path.stem, network.eval().to(device), partial(digest_of, path), shape=(None, 3, height, width),
        transform=transform,
    )  # fmt: skip


class _Graph:
    """Graph of a file, and what builds torch modules from it.

    Attributes:
        first: number of the input's tensor.
        levels: of the quantised tensors that are computed, by number.
    """

    def __init__(self, schema: Any, data: bytes) -> None:
        if data[4:8] != b"TFL3":
            raise ValueError("it does not begin as one")
        self._schema, self._model = schema, schema.Model.GetRootAs(data, 0)
        if self._model.SubgraphsLength() != 1:
            raise WeightsError("the .tflite file has several graphs. Take one with a single graph.")
        self._graph = self._model.Subgraphs(0)
        if self._graph.InputsLength() != 1 or self._graph.OutputsLength() != 1:
            raise WeightsError("the .tflite file has several inputs or outputs. Take a classifier.")
        self.first, self._last = int(self._graph.Inputs(0)), int(self._graph.Outputs(0))
        self.levels: dict[int, Levels] = {}

    def network(self) -> TfliteNetwork:
        """Torch module of the graph, without gradients into its weights."""
        parts: list[tuple[nn.Module, list[int], int]] = []
        self._note_levels(self.first)
        for place in range(self._graph.OperatorsLength()):
            operator = self._graph.Operators(place)
            code = self._model.OperatorCodes(operator.OpcodeIndex())
            name = self._schema.opcode2name(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
            build = _BUILDERS.get(name)
            if build is None:
                raise WeightsError(
                    f"the .tflite file has the operation {name}. Known are {', '.join(_BUILDERS)}: export the model "
                    "as .pt2 or ONNX."
                )
            inputs, output = [int(number) for number in operator.InputsAsNumpy()], int(operator.Outputs(0))
            computed = [number for number in inputs if number == self.first or any(number == o for *_, o in parts)]
            parts.append((build(self, _Options(self._schema, operator), inputs, output), computed, output))
            self._note_levels(output)
        last = self._last
        if isinstance(parts[-1][0], steps.Softmax):
            last = parts.pop()[1][0]
        return TfliteNetwork(parts, self.levels, self.first, last)

    def shape(self, number: int) -> list[int]:
        """Shape of a tensor, channels last."""
        return [int(side) for side in self._graph.Tensors(number).ShapeAsNumpy()]

    def values(self, number: int) -> Any:
        """Values of a constant tensor as they are stored; None where it is computed."""
        if number < 0:
            return None
        tensor = self._graph.Tensors(number)
        buffer = self._model.Buffers(tensor.Buffer())
        if buffer.DataLength() == 0:
            return None
        return buffer.DataAsNumpy().view(_NUMBERS[self._kind(number)]).reshape(self.shape(number))

    def real(self, number: int, axis: int) -> Tensor | None:
        """Constant tensor as real numbers; its scales are one, or several along an axis."""
        values, (scales, zeros) = self.values(number), self._quantisation(number)
        if values is None:
            return None
        if len(scales):
            sides = [-1 if place == axis else 1 for place in range(values.ndim)]
            values = (values.astype(np.float64) - zeros.reshape(sides)) * scales.astype(np.float64).reshape(sides)
        return torch.from_numpy(values.astype(np.float32))

    def _note_levels(self, number: int) -> None:
        scales, zeros = self._quantisation(number)
        kind = _NUMBERS.get(self._kind(number))
        if kind in (np.uint8, np.int8) and len(scales) == 1:
            limits = np.iinfo(kind)
            self.levels[number] = Levels(float(scales[0]), int(zeros[0]), limits.min, limits.max)

    def _kind(self, number: int) -> str:
        return _name(self._schema.TensorType, self._graph.Tensors(number).Type())

    def _quantisation(self, number: int) -> tuple[Any, Any]:
        """Scales and zero levels; empty where there are none."""
        found = self._graph.Tensors(number).Quantization() if number >= 0 else None
        if found is None or found.ScaleLength() == 0:
            return np.zeros(0), np.zeros(0)
        return found.ScaleAsNumpy(), found.ZeroPointAsNumpy()


class _Options:
    """Options of an operator, read as the table that its kind has."""

    def __init__(self, schema: Any, operator: Any) -> None:
        self._schema, self._table = schema, operator.BuiltinOptions()

    def read(self, kind: str) -> Any:
        """The table of a kind such as ``Pool2DOptions``."""
        found = getattr(self._schema, kind)()
        found.Init(self._table.Bytes, self._table.Pos)
        return found

    def activation(self, table: Any) -> str:
        """Name of the fused activation."""
        return _name(self._schema.ActivationFunctionType, table.FusedActivationFunction())

    def window(self, table: Any, sides: tuple[int, int], *, dilated: bool = True) -> Window:
        """Window of a convolution or a pool."""
        spread = (table.DilationHFactor(), table.DilationWFactor()) if dilated else (1, 1)
        return Window(sides, (table.StrideH(), table.StrideW()), spread, table.Padding() == self._schema.Padding.SAME)


def _name(kinds: Any, value: int) -> str:
    """Name of a value of one of the schema's enumerations."""
    return next(str(name) for name, known in vars(kinds).items() if known == value)


_Build = Callable[[_Graph, _Options, list[int], int], nn.Module]
"""Graph, options of an operator, numbers of its inputs and of its output -> module."""


def _convolution(graph: _Graph, options: _Options, inputs: list[int], output: int, *, depthwise: bool) -> nn.Module:
    table = options.read("DepthwiseConv2DOptions" if depthwise else "Conv2DOptions")
    weight = graph.real(inputs[1], 3 if depthwise else 0)
    assert weight is not None
    weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
    bias = graph.real(inputs[2], 0) if len(inputs) > 2 else None
    groups = graph.shape(inputs[0])[3] // weight.shape[1]
    window = options.window(table, (weight.shape[2], weight.shape[3]))
    return steps.Convolution(weight.contiguous(), bias, window, groups, options.activation(table))


def _linear(graph: _Graph, options: _Options, inputs: list[int], output: int) -> nn.Module:
    weight = graph.real(inputs[1], 0)
    assert weight is not None
    bias = graph.real(inputs[2], 0) if len(inputs) > 2 else None
    return steps.Linear(weight, bias, options.activation(options.read("FullyConnectedOptions")))


def _pool(graph: _Graph, options: _Options, inputs: list[int], output: int, *, mean: bool) -> nn.Module:
    table = options.read("Pool2DOptions")
    window = options.window(table, (table.FilterHeight(), table.FilterWidth()), dilated=False)
    return steps.Pool(window, options.activation(table), mean=mean)


def _add(graph: _Graph, options: _Options, inputs: list[int], output: int) -> nn.Module:
    return steps.Add(options.activation(options.read("AddOptions")))


def _mean(graph: _Graph, options: _Options, inputs: list[int], output: int) -> nn.Module:
    axes = sorted(np.atleast_1d(graph.values(inputs[1])).tolist())
    if axes != [1, 2]:
        raise WeightsError(f"the .tflite file has a mean over the axes {axes}. Known is that over rows and columns.")
    return steps.Mean(keep=len(graph.shape(output)) == 4)


def _pad(graph: _Graph, options: _Options, inputs: list[int], output: int) -> nn.Module:
    (_, rows, columns, _) = graph.values(inputs[1]).tolist()
    return steps.Pad([*columns, *rows])


def _reshape(graph: _Graph, options: _Options, inputs: list[int], output: int) -> nn.Module:
    return steps.Reshape(graph.shape(output)[1:])


_BUILDERS: Mapping[str, _Build] = {
    "CONV_2D": partial(_convolution, depthwise=False),
    "DEPTHWISE_CONV_2D": partial(_convolution, depthwise=True),
    "FULLY_CONNECTED": _linear,
    "AVERAGE_POOL_2D": partial(_pool, mean=True),
    "MAX_POOL_2D": partial(_pool, mean=False),
    "ADD": _add,
    "MEAN": _mean,
    "PAD": _pad,
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "SOFTMAX": lambda *_: steps.Softmax(),
    "QUANTIZE": lambda *_: nn.Identity(),
    "DEQUANTIZE": lambda *_: nn.Identity(),
}
