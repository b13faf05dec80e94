"""Tiny networks in every kind of file, made anew: their answers are known or easily computed beside."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

SIDE = 24


class Means(nn.Module):
    """What every channel is on average: tells how pictures were prepared."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Classes(nn.Module):
    """A classifier with parameters, 5 logits."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.convolution = nn.Conv2d(channels, 5, 5, 2)
        self.norm = nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        return 30 * torch.relu(self.norm(self.convolution(x))).mean((2, 3))


class One(Classes):
    """The same, and its example's batch size of 1 is built in."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).reshape(1, 5)


class Softmax(Classes):
    """Probabilities instead of logits."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).softmax(1)


class Objects(nn.Module):
    """A detector of FastestDet's form with 3 classes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.convolution = nn.Conv2d(3, 8, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = 4 * self.convolution(x)
        return torch.cat([y[:, :1].sigmoid(), y[:, 1:5], y[:, 5:].softmax(1)], 1)


class Two(nn.Module):
    """Two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3)), x.amax((2, 3))


class Both(nn.Module):
    """Two inputs."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x + y).mean((2, 3))


def exported(
    module: nn.Module, path: Path, shape: Sequence[int] = (1, 3, SIDE, SIDE), *, free: bool = False,
    training: bool = False, inputs: int = 1,
) -> Path:  # fmt: skip
    """A ``.pt2`` file; ``free``: of any batch size, height and width."""
    sizes = {axis: torch.export.Dim(name, min=8, max=4096) for axis, name in ((2, "h"), (3, "w"))}
    examples = tuple(torch.rand(2, *shape[1:]) if free else torch.rand(*shape) for _ in range(inputs))
    dynamic = ({0: torch.export.Dim("n"), **sizes},) if free else None
    torch.export.save(torch.export.export(module.train(training), examples, dynamic_shapes=dynamic), path)
    return path


def scripted(module: nn.Module, path: Path, *examples: Tensor) -> Path:
    """A TorchScript file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.")  # deprecated
        torch.jit.save(torch.jit.trace(module.eval(), examples or torch.rand(1, 3, SIDE, SIDE)), path)
    return path


def graph(
    path: Path, shape: Sequence[int | str] = ("n", 3, "h", "w"), kind: int = TensorProto.FLOAT, outputs: int = 1,
    rows: Sequence[int | str] = ("n", 3),
) -> Path:  # fmt: skip
    """An ``.onnx`` file that gives the means of the channels."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], [f"y{number}"], axes=[2, 3], keepdims=0) for number in range(outputs)
    ]
    made = helper.make_graph(
        nodes, "means", [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(f"y{number}", kind, rows) for number in range(outputs)],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
