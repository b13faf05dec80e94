"""Operations of TensorFlow Lite as torch modules, with channels second.

Numbers are real ones, not 8-bit levels. Where the original rounds to levels, these round too, and gradients pass
(`Levels`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Pair = tuple[int, int]
"""Number for rows and one for columns."""

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "NONE": lambda x: x, "RELU": F.relu, "RELU6": F.relu6, "RELU_N1_TO_1": lambda x: x.clamp(-1, 1), "TANH": torch.tanh,
}  # fmt: skip
"""Fused into operations, by the schema's names."""


class Levels(NamedTuple):
    """Levels of a quantised tensor: the real number of level n is (n - zero) * scale."""

    scale: float
    zero: int
    lowest: int
    highest: int

    def __call__(self, x: Tensor) -> Tensor:
        """Real numbers rounded to levels; the gradient passes, but for numbers beyond the last levels."""
        rounded: Tensor = _Rounding.apply(x, self)  # type: ignore[no-untyped-call]
        return rounded

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest real number."""
        return (self.lowest - self.zero) * self.scale, (self.highest - self.zero) * self.scale


class _Rounding(torch.autograd.Function):
    """Rounding to levels with a straight-through gradient, in few passes over memory, which is where time goes."""

    @staticmethod
    def forward(context: Any, x: Tensor, levels: Levels) -> Tensor:
        context.save_for_backward(x)
        context.ends = levels.ends
        return x.clamp(*levels.ends).div_(levels.scale).round_().mul_(levels.scale)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = context.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *context.ends), None


class Window(NamedTuple):
    """Window that slides over a picture: its sides, step, the spread of its places, and whether edges are padded."""

    sides: Pair
    stride: Pair
    dilation: Pair = (1, 1)
    same: bool = False

    def margins(self, height: int, width: int) -> list[int]:
        """Padding left, right, top and bottom; a side of the output is that of the input by the stride, rounded up."""
        found = []
        for length, side, step, spread in zip((width, height), *(each[::-1] for each in self[:3]), strict=True):
            missing = max((-(-length // step) - 1) * step + (side - 1) * spread + 1 - length, 0) if self.same else 0
            found += [missing // 2, missing - missing // 2]
        return found


class Convolution(nn.Module):
    """Convolution; depthwise ones have as many groups as input channels."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, window: Window, groups: int, activation: str) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._window, self._groups, self._activation = window, groups, ACTIVATIONS[activation]
        self._pointwise = groups == 1 and window.sides == window.stride == (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self._pointwise:  # as a matrix product: torch's convolution on one thread is slower
            return self._activation(F.linear(x.movedim(1, -1), self.weight[:, :, 0, 0], self.bias).movedim(-1, 1))
        x = F.pad(x, self._window.margins(*x.shape[2:]))
        y = F.conv2d(
            x, self.weight, self.bias, self._window.stride, dilation=self._window.dilation, groups=self._groups
        )
        return self._activation(y)


class Linear(nn.Module):
    """Fully connected layer; of a picture it takes all values, channels last."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self._activation(F.linear(channels_last(x).flatten(1), self.weight, self.bias))


class Pool(nn.Module):
    """Mean or maximum of each window; padding does not count."""

    def __init__(self, window: Window, activation: str, *, mean: bool) -> None:
        super().__init__()
        self._window, self._mean, self._activation = window, mean, ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        margins = self._window.margins(*x.shape[2:])
        if not self._mean:
            padded = F.pad(x, margins, value=float("-inf"))
            return self._activation(F.max_pool2d(padded, self._window.sides, self._window.stride))
        total, count = (
            F.avg_pool2d(F.pad(each, margins), self._window.sides, self._window.stride)
            for each in (x, torch.ones_like(x[:1, :1]))
        )
        return self._activation(total / count)


class Add(nn.Module):
    """Sum of two tensors."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self._activation(x + y)


class Mean(nn.Module):
    """Mean over rows and columns."""

    def __init__(self, *, keep: bool) -> None:
        super().__init__()
        self._keep = keep

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self._keep)


class Pad(nn.Module):
    """Margins of zeros: left, right, top and bottom."""

    def __init__(self, margins: Sequence[int]) -> None:
        super().__init__()
        self._margins = [*margins]

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self._margins)


class Reshape(nn.Module):
    """The same values in another shape, which is told without the number of pictures, channels last."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self._shape = [*shape]

    def forward(self, x: Tensor) -> Tensor:
        y = channels_last(x).reshape(len(x), *self._shape)
        return y.movedim(-1, 1) if y.ndim == 4 else y


class Softmax(nn.Module):
    """Probabilities of logits (N, classes)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


def channels_last(x: Tensor) -> Tensor:
    """Pictures (N, C, H, W) -> (N, H, W, C); other tensors as they are."""
    return x.movedim(1, -1) if x.ndim == 4 else x
