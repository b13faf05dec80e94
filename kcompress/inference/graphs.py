"""Torch modules as ONNX graphs."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import onnx
import onnx.compose
import torch
from onnx import helper
from torch import Tensor, nn

from kcompress.errors import WeightsError
from kcompress.inference.row_scan import RowScanNetwork
from kcompress.inference.window_scan import WindowScanNetwork

Whole = TypeVar("Whole", RowScanNetwork, WindowScanNetwork)

_LARGEST = 65536
"""Largest side of a picture that a graph takes, pixels."""


def graph(module: nn.Module, multiple: int, more: Sequence[Tensor] = (), channels: int = 3) -> onnx.ModelProto:
    """ONNX graph of a network on images (1, channels, H, W) float32; ``more`` are examples of the other inputs.

    H and W are multiples of ``multiple``, pixels, which is also the side of a row-scan network's cells. That of a
    window-scan network takes windows (W, channels, H, W).

    Raises:
        WeightsError: the exporter gave nothing.
    """
    image = torch.rand(1, channels, 8 * multiple, 9 * multiple)
    rows, columns = (torch.export.Dim(name, min=1, max=_LARGEST // multiple) for name in ("rows", "columns"))
    if isinstance(module, WindowScanNetwork):
        tokens = torch.export.Dim("tokens", min=2, max=_LARGEST)
        return _scanned(
            _exported(_Window(module), (image,), ({2: multiple * rows, 3: multiple * columns},)),
            _exported(_Picture(module), (module.run_window(image).detach(),), ({1: tokens},)),
        )
    if not isinstance(module, RowScanNetwork):
        return _exported(module, (image, *more), ({2: multiple * rows, 3: multiple * columns}, *(None for _ in more)))
    (condition,) = more
    with torch.no_grad():
        features, *others = module.run_head(image, condition)
    row, of_row, of_cells = image[:, :, :multiple], {3: multiple * columns}, {2: columns}
    kept = tuple(each[:, :, 0] for each in others)
    return _joined(
        _exported(_Head(module), (row, condition), (of_row, None), 1 + len(kept)),
        _exported(_Context(module), (features,), ({2: rows, 3: columns},)),
        _exported(
            _Tail(module), (row, condition, features[:, :, 0], *kept), (of_row, None, of_cells, (of_cells,) * len(kept))
        ),
        multiple,
    )


class _Stage(nn.Module, Generic[Whole]):
    """A part of a network, as a module of its own."""

    def __init__(self, whole: Whole) -> None:
        super().__init__()
        self.whole: Whole = whole


class _Head(_Stage[RowScanNetwork]):
    """Head on a row (1, C, side, W): (1, D, w) each."""

    def forward(self, row: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        return tuple(each[:, :, 0] for each in self.whole.run_head(row, condition))


class _Context(_Stage[RowScanNetwork]):
    """Context, (1, D, h, w) -> (1, D, h, w)."""

    def forward(self, features: Tensor) -> Tensor:
        return self.whole.run_context(features)


class _Tail(_Stage[RowScanNetwork]):
    """Tail on a row (1, C, side, W), its context and kept tensors (1, D, w): the row of the output."""

    def forward(self, row: Tensor, condition: Tensor, around: Tensor, *kept: Tensor) -> Tensor:
        return self.whole.run_tail(row, condition, around[:, :, None], *(each[:, :, None] for each in kept))


class _Window(_Stage[WindowScanNetwork]):
    """Tokens of a window, (1, C, H, W) -> (1, T, D)."""

    def forward(self, window: Tensor) -> Tensor:
        return self.whole.run_window(window)


class _Picture(_Stage[WindowScanNetwork]):
    """Output of a picture, (1, T, D) -> (1, ...)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.whole.run_picture(tokens)


def _exported(
    module: nn.Module, examples: tuple[Tensor, ...], shapes: tuple[Any, ...], outputs: int = 1
) -> onnx.ModelProto:
    names = ["output", *(f"output_{number}" for number in range(1, outputs))]
    with _quiet("torch.onnx"), warnings.catch_warnings():  # of torchvision, which nothing here needs
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)  # torch's own code
        warnings.filterwarnings("ignore", "# The axis name: .* shares the same shape constraints", UserWarning)
        program = torch.onnx.export(
            module.eval(), examples, dynamo=True, dynamic_shapes=shapes, output_names=names, optimize=True,
            verbose=False,
        )  # fmt: skip
    if program is None:
        raise WeightsError("the ONNX export gave nothing. Check the versions of torch and onnxscript.")
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]  # stack traces of the export, with paths of the machine it ran on
    return model


def _joined(head: onnx.ModelProto, context: onnx.ModelProto, tail: onnx.ModelProto, side: int) -> onnx.ModelProto:
    """One graph: a scan of the head over rows of ``side`` pixels, the context, a scan of the tail."""
    first, between, last = (
        onnx.compose.add_prefix(model, f"{name}_").graph
        for name, model in (("head", head), ("context", context), ("tail", tail))
    )
    channels = head.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    kept = [f"kept_{number}" for number in range(1, len(first.output))]
    (features,), (around,) = ([each.name for each in side] for side in (between.input, between.output))
    nodes = [
        helper.make_node("Shape", ["image"], ["width"], start=3),
        helper.make_node("Concat", ["cut", "width"], ["shape_of_rows"], axis=0),
        helper.make_node("Reshape", ["image", "shape_of_rows"], ["rows"]),
        _loop(first, ["rows"], [features, *kept]),
        *between.node,
        _loop(last, ["rows", around, *kept], ["changed"]),
        helper.make_node("Concat", ["whole", "width"], ["shape_of_image"], axis=0),
        helper.make_node("Reshape", ["changed", "shape_of_image"], ["output"]),
    ]
    shapes = [
        helper.make_tensor(name, onnx.TensorProto.INT64, [len(shape)], shape)
        for name, shape in (("cut", [1, channels, -1, side]), ("whole", [1, channels, -1]))
    ]
    image, output = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, "height", "width"])
        for name in ("image", "output")
    )
    inputs = [image, head.graph.input[1]]
    whole = helper.make_graph(nodes, "row_scan", inputs, [output], [*shapes, *between.initializer])
    return helper.make_model(whole, opset_imports=head.opset_import, ir_version=head.ir_version)


def _scanned(window: onnx.ModelProto, picture: onnx.ModelProto) -> onnx.ModelProto:
    """One graph: a scan over windows, then what is made of all their tokens."""
    each, last = (
        onnx.compose.add_prefix(model, f"{name}_").graph for name, model in (("window", window), ("picture", picture))
    )
    channels, depth = (
        side[0].type.tensor_type.shape.dim[place].dim_value for side, place in ((each.input, 1), (each.output, 2))
    )
    nodes = [
        helper.make_node("Unsqueeze", ["windows", "one"], ["pictures"]),
        helper.make_node("Scan", ["pictures"], ["seen"], body=each, num_scan_inputs=1, scan_output_axes=[1]),
        helper.make_node("Reshape", ["seen", "row"], [last.input[0].name]),
        *last.node,
    ]
    constants = [
        helper.make_tensor(name, onnx.TensorProto.INT64, [len(values)], values)
        for name, values in (("one", [1]), ("row", [1, -1, depth]))
    ]
    taken = helper.make_tensor_value_info("windows", onnx.TensorProto.FLOAT, ["windows", channels, "height", "width"])
    whole = helper.make_graph(nodes, "window_scan", [taken], last.output, [*constants, *last.initializer])
    return helper.make_model(whole, opset_imports=window.opset_import, ir_version=window.ir_version)


def _loop(body: onnx.GraphProto, rows: Sequence[str], outputs: Sequence[str]) -> onnx.NodeProto:
    """Scan node over rows along axis 2; the body's second input, the condition, is the same for all of them."""
    condition = body.input.pop(1).name
    body.node.insert(0, helper.make_node("Identity", ["condition"], [condition]))
    return helper.make_node(
        "Scan", rows, outputs, body=body, num_scan_inputs=len(rows),
        scan_input_axes=[2] * len(rows), scan_output_axes=[2] * len(outputs),
    )  # fmt: skip


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Raise the level of the logger of this name to errors."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
