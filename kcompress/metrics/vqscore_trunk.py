"""Trunk of EfficientNet-Lite0, a classifier: it knows what is shown, so that a soft scene is told from a softened one.

Tan and Le, EfficientNet, 2019, table 1, in the variant of TensorFlow's TPU models: ReLU6 in place of swish, no squeeze
and excitation. Batch norms are part of the convolutions. ImageNet taught it first, then VQscore's training.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F


class Stage(NamedTuple):
    """Blocks of one kind: the first may halve the picture, and changes the number of channels."""

    blocks: int
    size: int
    stride: int
    widening: int
    channels: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16), Stage(2, 3, 2, 6, 24), Stage(2, 5, 2, 6, 40), Stage(3, 3, 2, 6, 80), Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
)  # fmt: skip
"""Those to a 32nd of the sides, which are all but the last."""


class _Convolution(nn.Conv2d):
    """Convolution whose output has the input's size by the stride, with TensorFlow's padding: more at the far end."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, groups=groups)
        before = (size - stride) // 2
        self.margins = (before, size - stride - before) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.margins) if any(self.margins) else x)


class _Block(nn.Module):
    """Inverted bottleneck: pointwise, depthwise, pointwise without activation; plus the input where sizes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.widening
        self.widen = _Convolution(inputs, wide, 1) if stage.widening > 1 else None
        self.filter = _Convolution(wide, wide, stage.size, stride, wide)
        self.narrow = _Convolution(wide, stage.channels, 1)
        self.adds = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.widen is None else F.relu6(self.widen(x))
        y: Tensor = self.narrow(F.relu6(self.filter(wide)))
        return x + y if self.adds else y


class Trunk(nn.Module):
    """Outputs of all stages: (N, 3, H, W) RGB 0..1, sides multiples of 32 -> one (N, C, H/s, W/s) a stage.

    Cost: 13 kFLOP a pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, STEM, 3, 2)
        self.stages = nn.ModuleList()
        inputs = STEM
        for stage in STAGES:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(_Block(inputs, stage, stage.stride if number == 0 else 1))
                inputs = stage.channels
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem((255 * image - 127) / 128))
        seen = []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        return seen
