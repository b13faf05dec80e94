"""Small classifiers of two kinds: one to train a preprocessor for, one that it has never seen.

``residual`` is a residual network with batch normalisation (He et al., "Deep Residual Learning for Image Recognition",
table 1) whose four stages have 2, 2, 2 and 1 basic blocks. ``inverted`` has inverted residuals with depthwise
convolutions (Sandler et al., "MobileNetV2", table 1), but fewer of them. Both end in global average pooling, so
pictures may have other sizes than those trained on, at some loss.
"""

import torch
from torch import Tensor, nn

ARCHITECTURES = ("residual", "inverted")

_MEAN = (0.5, 0.45, 0.38)
_SPREAD = 0.25


class Classifier(nn.Module):
    """Classifier: (N, 3, H, W), RGB 0..1 -> features (N, C, h, w) -> mean (N, C) -> logits (N, classes).

    Its architecture is one of ``ARCHITECTURES``, its width the channels of the first stage.
    """

    mean: Tensor

    def __init__(self, architecture: str, width: int, classes: int) -> None:
        super().__init__()
        if architecture not in ARCHITECTURES:
            raise ValueError(f"architecture {architecture} is not known, only {', '.join(ARCHITECTURES)}")
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.features, outputs = _residual(width) if architecture == "residual" else _inverted(width)
        self.drop = nn.Dropout(0.2)
        self.leave = nn.Linear(outputs, classes)

    def forward(self, picture: Tensor) -> Tensor:
        found = self.features((picture - self.mean) / _SPREAD)
        logits: Tensor = self.leave(self.drop(found.mean((2, 3))))
        return logits


def _residual(width: int) -> tuple[nn.Sequential, int]:
    parts: list[nn.Module] = [_normed(3, width, 5, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = width
    for stage, blocks in enumerate((2, 2, 2, 1)):
        for block in range(blocks):
            parts.append(_Basic(channels, width << stage, 2 if stage and not block else 1))
            channels = width << stage
    return nn.Sequential(*parts), channels


def _inverted(width: int) -> tuple[nn.Sequential, int]:
    parts: list[nn.Module] = [_normed(3, width, 3, 2), nn.SiLU(), _normed(width, 2 * width, 3, 2), nn.SiLU()]
    channels = 2 * width
    for outputs, blocks, stride in ((2 * width, 2, 1), (4 * width, 3, 2), (6 * width, 2, 2)):
        for block in range(blocks):
            parts.append(_Inverted(channels, outputs, 1 if block else stride))
            channels = outputs
    parts += [_normed(channels, 4 * channels, 1), nn.SiLU()]
    return nn.Sequential(*parts), 4 * channels


class _Basic(nn.Module):
    """Basic block: two 3x3 convolutions and a shortcut, which is a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_normed(inputs, outputs, 3, stride), nn.ReLU(), _normed(outputs, outputs, 3))
        same = inputs == outputs and stride == 1
        self.beside = nn.Identity() if same else _normed(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.beside(x) + self.inner(x))


class _Inverted(nn.Module):
    """Inverted residual: 1x1 to four times the channels, 3x3 depthwise, 1x1 back; shortcut where shapes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        wide = 4 * inputs
        self.inner = nn.Sequential(
            _normed(inputs, wide, 1), nn.SiLU(), _normed(wide, wide, 3, stride, wide), nn.SiLU(),
            _normed(wide, outputs, 1),
        )  # fmt: skip
        self.same = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x)
        return x + y if self.same else y


def _normed(inputs: int, outputs: int, side: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))
