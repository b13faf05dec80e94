"""The neural preprocessor for machine vision as a torch module (Lu et al., "Preprocessing Enhanced Image Compression
for Machine Vision", section 3.2 and figure 3).
"""  # noqa: D205

import torch
from torch import Tensor, nn

LEVELS = 3
"""Number of downsamplings; input sizes are multiples of 2 ** LEVELS."""

_HIDDEN = 32
"""Width of the hidden layer between coarseness and scales; the paper gives no number."""


class Npp(nn.Module):
    """Two parallel branches, added up: 1x1 convolutions for pixels, a U-Net for semantics.

        picture x (N, 3, H, W) -> 1x1, 1x1 -> * s -> 1x1 ------------------------------------------> + -> y (N, 3, H, W)
                               -> U-Net, levels (N, width << l, H >> l, W >> l), each * s -> 3x3 --> +
                               ------------------------------------------------------------------> +

    Quantisation adaptive layers scale features channel by channel, f' = f * s(coarseness). The paper gives no channel
    counts; figure 3's network has 9.42 M parameters, and ``width`` 70 comes nearest to it (9.3 M). Two things that the
    paper leaves open: the picture is added to the branches, whose last layers start as 0, so that training starts at
    the identity; and scales start as 1.

    Shapes: picture (N, 3, H, W), RGB 0..1, H and W multiples of 8, and coarseness (N, 1), 0 finest .. 1 coarsest
    -> (N, 3, H, W), not clamped.
    Cost: about 0.28 * width ** 2 kFLOP a pixel.
    """

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        widths = [width << level for level in range(LEVELS + 1)]
        self.pixels = nn.ModuleList([_pointwise(3, width), _pointwise(width, width)])
        self.down = nn.ModuleList(
            _block(inputs, outputs) for inputs, outputs in zip([3, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * each, each, 2, 2) for each in reversed(widths[:-1]))
        self.merge = nn.ModuleList(_block(2 * each, each) for each in reversed(widths[:-1]))
        self.pixels_out, self.meaning_out = nn.Conv2d(width, 3, 1), nn.Conv2d(width, 3, 3, padding=1)
        for last in (self.pixels_out, self.meaning_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.adaptation = _Adaptation([width, *widths, *reversed(widths[:-1])])

    def forward(self, picture: Tensor, coarseness: Tensor | None) -> Tensor:
        """Filtered picture. Coarseness None leaves the adaptive layers out, as in the paper's second stage."""
        scales = iter(self.adaptation(coarseness))
        x = 2 * picture - 1
        shallow = x
        for layer in self.pixels:
            shallow = layer(shallow)
        shallow = shallow * next(scales)
        features: list[Tensor] = []
        for level, down in enumerate(self.down):
            x = down(nn.functional.max_pool2d(x, 2) if level else x) * next(scales)
            features.append(x)
        x = features.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([features.pop(), up(x)], dim=1)) * next(scales)
        filtered: Tensor = picture + self.pixels_out(shallow) + self.meaning_out(x)
        return filtered


class _Adaptation(nn.Module):
    """Coarseness (N, 1) -> scales (N, C, 1, 1) of each of several layers; 1 without a coarseness."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels
        self.enter, self.leave = nn.Linear(1, _HIDDEN), nn.Linear(_HIDDEN, sum(channels))
        nn.init.zeros_(self.leave.weight)
        nn.init.ones_(self.leave.bias)

    def forward(self, coarseness: Tensor | None) -> tuple[Tensor, ...]:
        if coarseness is None:
            return tuple(torch.ones(1, device=self.leave.bias.device) for _ in self.channels)
        scales = self.leave(torch.relu(self.enter(2 * coarseness - 1)))
        return torch.split(scales[:, :, None, None], self.channels, dim=1)


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1), nn.LeakyReLU(0.1))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.LeakyReLU(0.1),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.LeakyReLU(0.1),
    )  # fmt: skip
