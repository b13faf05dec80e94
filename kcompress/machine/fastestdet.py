"""FastestDet, a small detector, as a torch module: ShuffleNetV2, three merged levels, an anchor-free head.

Restated from the graph of ``FastestDet.onnx`` and the names in the state dict of its authors
(github.com/dog-qiuqiu/FastestDet, BSD-3-Clause). Backbone: Ma et al., "ShuffleNet V2".
"""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.errors import WeightsError

SIDE = (352, 352)
"""Height and width of its training pictures, pixels; other multiples of 32 are possible."""

_STAGES = (("stage2", 24, 48, 4), ("stage3", 48, 96, 8), ("stage4", 96, 192, 4))
"""Name, input channels, output channels and number of blocks of each stage."""

_CHANNELS = 96
"""Input channels of the head."""


def _normed(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]


class _Shuffle(nn.Module):
    """Block of ShuffleNetV2; with stride 2 both branches take the whole input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        middle = outputs // 2
        self.branch_main = nn.Sequential(
            *_normed(inputs, middle, 1), nn.ReLU(),
            *_normed(middle, middle, 3, stride, middle),
            *_normed(middle, outputs - inputs, 1), nn.ReLU(),
        )  # fmt: skip
        self.branch_proj = (
            nn.Sequential(*_normed(inputs, inputs, 3, stride, inputs), *_normed(inputs, inputs, 1), nn.ReLU())
            if stride == 2
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.branch_proj is not None:
            return torch.cat([self.branch_proj(x), self.branch_main(x)], dim=1)
        return torch.cat([x[:, 0::2], self.branch_main(x[:, 1::2])], dim=1)


class _Backbone(nn.Module):
    """Backbone: (N, 3, H, W) -> three levels, of 1/8, 1/16 and 1/32 of its sides."""

    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_normed(3, 24, 3, 2), nn.ReLU())
        for name, inputs, outputs, blocks in _STAGES:
            rest = (_Shuffle(outputs // 2, outputs, 1) for _ in range(blocks - 1))
            setattr(self, name, nn.Sequential(_Shuffle(inputs, outputs, 2), *rest))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.first_conv(x), 3, 2, 1)
        levels = []
        for name, *_ in _STAGES:
            x = getattr(self, name)(x)
            levels.append(x)
        return levels


def _named(name: str, *layers: nn.Module) -> nn.Sequential:
    """Layers one after the other, below a name that the state dict of its authors has."""
    return nn.Sequential(OrderedDict([(name, nn.Sequential(*layers))]))


def _conv1x1(inputs: int, outputs: int) -> nn.Sequential:
    return _named("conv1x1", *_normed(inputs, outputs, 1), nn.ReLU())


def _part(inputs: int, outputs: int) -> nn.Sequential:
    """Branch of the head: a depthwise 5x5 convolution and a 1x1 one."""
    return _named("conv5x5", *_normed(inputs, inputs, 5, 1, inputs), nn.ReLU(), *_normed(inputs, outputs, 1))


class _Pyramid(nn.Module):
    """Spatial pyramid: one, two and three depthwise 5x5 convolutions in parallel; it reaches 6 places far."""

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.Conv1x1 = _conv1x1(inputs, channels)
        for count in (1, 2, 3):
            parts = [part for _ in range(count) for part in (*_normed(channels, channels, 5, 1, channels), nn.ReLU())]
            setattr(self, f"S{count}", nn.Sequential(*parts))
        self.output = nn.Sequential(*_normed(3 * channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.Conv1x1(x)
        branches = torch.cat([getattr(self, f"S{count}")(x) for count in (1, 2, 3)], dim=1)
        return F.relu(x + self.output(branches))


class _Head(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _conv1x1(channels, channels)
        self.obj_layers, self.reg_layers, self.cls_layers = (_part(channels, count) for count in (1, 4, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1x1(x)
        classes = self.cls_layers(x).softmax(1)
        return torch.cat([self.obj_layers(x).sigmoid(), self.reg_layers(x), classes], dim=1)


class FastestDet(nn.Module):
    """The network, for a number of classes.

        picture (N, 3, H, W) -> backbone -> levels at 1/8, 1/16, 1/32 -> concatenated at 1/16 -> pyramid (N, 96, h, w)
          -> head: objectness (1), box (4), classes -> (N, 5 + classes, h, w), h = H / 16, w = W / 16

    Shapes: (N, 3, H, W) BGR 0..1, H and W multiples of 32 -> (N, 5 + classes, H / 16, W / 16): objectness 0..1, four
    numbers of a box (`kcompress.machine.boxes`), and the classes' probabilities.
    """

    def __init__(self, classes: int = 80) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.SPP = _Pyramid(sum(outputs for _, _, outputs, _ in _STAGES), _CHANNELS)
        self.detect_head = _Head(_CHANNELS, classes)

    def forward(self, picture: Tensor) -> Tensor:
        fine, middle, coarse = self.backbone(picture)
        levels = [F.avg_pool2d(fine, 3, 2, 1), middle, F.interpolate(coarse, scale_factor=2.0)]
        y: Tensor = self.detect_head(self.SPP(torch.cat(levels, dim=1)))
        return y

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor], path: Path) -> "FastestDet":
        """Network of a state dict in its authors' format; messages name the path of its file.

        Raises:
            WeightsError: it is the state dict of another network.
        """
        try:
            built = cls(len(state["detect_head.cls_layers.conv5x5.3.weight"]))
            built.load_state_dict(state)
        except (KeyError, TypeError, RuntimeError) as error:
            text = " ".join(str(error).split())[:200]
            raise WeightsError(f"{path} is no state dict of FastestDet ({text}). Give its .pth file.") from error
        return built
