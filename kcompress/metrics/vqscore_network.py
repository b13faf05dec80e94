"""VQscore's network as a torch module: a convolutional backbone and a transformer encoder.

The Kuchen paper (section 4.1) describes its score by these two parts alone; its weights are not public.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference.window_scan import WindowScanNetwork
from kcompress.metrics import vqscore_residuals
from kcompress.metrics.vqscore_trunk import STAGES, Trunk

MULTIPLE = 32
"""Side of a token, pixels; sides of the input are multiples of it."""


def _convolution(inputs: int, outputs: int, size: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class _Residual(nn.Module):
    """Residual block of two 3x3 convolutions, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels, 3, 1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class _Encoder(nn.Module):
    """Transformer encoder layer, pre-norm: (N, T, C) -> (N, T, C)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention = nn.LayerNorm(channels)
        self.ask = nn.Linear(channels, 3 * channels)
        self.answer = nn.Linear(channels, channels)
        self.before_mixing = nn.LayerNorm(channels)
        self.mixing = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        qkv = self.ask(self.before_attention(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        tokens = tokens + self.answer(attended.transpose(1, 2).flatten(2))
        y: Tensor = tokens + self.mixing(self.before_mixing(tokens))
        return y


class VQscoreNetwork(WindowScanNetwork):
    """Score of a picture, of which it sees windows.

        windows (W, 3, H, W) -> + log differences to 3x3, 9x9 means (W, 9, H, W) -> 5 levels, H/2 .. H/32
          -> each pooled to 32x32 pixels, concatenated (W, 480, H/32, W/32) -> tokens (W, T, tokens)
        windows -> trunk of a classifier -> stages, pooled alike (W, 464, H/32, W/32) -> two layers -> added to them
        windows -> shares of residuals (W, T, 447)
        tokens of all windows (1, W T, tokens) -> transformer encoder -> mean -> linear -> logit
        means of shares, as log odds, and of encoded tokens -> two layers -> added to it -> sigmoid -> (1, 1)

    The log differences make faint traces as strong as edges: without them training takes many times longer. Tokens see
    the finest level, where a codec's traces are. There are no positional encodings: quality does not depend on place.
    The encoder sees all windows, so that sharp places tell that others are out of focus, not softened. What a filter
    has left behind shows in shares of residuals all over the picture, which no level counts.

    Shapes: windows of one picture, (W, 3, H, W) RGB 0..1, H and W multiples of 32 -> (1, 1), 0..100.
    Cost: 31 kFLOP a pixel, 45 with the trunk.

    Args:
        content: width between the trunk and the tokens; 0 to do without the trunk.
        residuals: width between the shares of residuals and the logit; 0 to do without them.
    """

    CHANNELS = (32, 64, 96, 128, 160)

    def __init__(
        self, tokens: int = 128, heads: int = 4, layers: int = 2, content: int = 0, residuals: int = 0
    ) -> None:
        super().__init__()
        levels = [nn.Sequential(_convolution(9, 32, 5, 2), _convolution(32, 32, 3, 1))]
        for fine, coarse in zip(self.CHANNELS, self.CHANNELS[1:], strict=False):
            levels.append(nn.Sequential(_convolution(fine, coarse, 3, 2), _Residual(coarse)))
        self.levels = nn.ModuleList(levels)
        self.tokens = nn.Linear(sum(self.CHANNELS), tokens)
        self.trunk = Trunk() if content else None
        channels = sum(stage.channels for stage in STAGES)
        self.content = (
            nn.Sequential(nn.Linear(channels, content), nn.GELU(), nn.Linear(content, tokens)) if content else None
        )
        self.encoder = nn.Sequential(*(_Encoder(tokens, heads) for _ in range(layers)))
        self.head = nn.Sequential(nn.LayerNorm(tokens), nn.Linear(tokens, 1))
        self.residuals = (
            nn.Sequential(nn.Linear(vqscore_residuals.CHANNELS + tokens, residuals), nn.GELU(), nn.Linear(residuals, 1))
            if residuals
            else None
        )

    def run_window(self, windows: Tensor) -> Tensor:
        """Tokens of each window, row by row, shares behind them: (N, 3, H, W) -> (N, H/32 W/32, tokens + shares)."""
        x = torch.cat([windows - 0.5, *_log_differences(windows)], dim=1)
        levels = []
        for level in self.levels:
            x = level(x)
            levels.append(x)
        tokens: Tensor = self.tokens(_pooled(levels))
        if self.trunk is not None and self.content is not None:
            tokens = tokens + self.content(_pooled(self.trunk(windows)))
        return tokens if self.residuals is None else torch.cat([tokens, vqscore_residuals.shares(windows)], dim=2)

    def run_picture(self, tokens: Tensor) -> Tensor:
        """Scores of pictures with these tokens: (N, T, tokens + shares) -> (N, 1), 0..100."""
        return self.score(self._encoded(tokens))

    def look(self, pictures: Tensor) -> Tensor:
        """Encoded tokens of pictures that are one window each: (N, 3, H, W) -> (N, H/32 W/32, tokens + shares)."""
        return self._encoded(self.run_window(pictures))

    def score(self, encoded: Tensor) -> Tensor:
        """Score of encoded tokens: (N, T, tokens + shares) -> (N, 1), 0..100."""
        tokens, shares = self._parts(encoded.mean(dim=1))
        logit: Tensor = self.head(tokens)
        if self.residuals is not None:
            odds = torch.log((shares + 0.01) / (1.01 - shares))
            logit = logit + self.residuals(torch.cat([odds, tokens], dim=1))
        return 100 * torch.sigmoid(logit.float())

    def _encoded(self, tokens: Tensor) -> Tensor:
        """Tokens by the encoder, and the shares behind them as they are."""
        tokens, shares = self._parts(tokens)
        return torch.cat([self.encoder(tokens), shares], dim=-1)

    def _parts(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens, and shares of residuals, (..., tokens) and (..., shares); of the latter there may be none."""
        width = self.tokens.out_features
        return both[..., :width], both[..., width:]


def _pooled(maps: Sequence[Tensor]) -> Tensor:
    """Means over tokens of maps whose last are of their size, row by row: (N, C, h, w) each -> (N, T, sum of C)."""
    rows = maps[-1].shape[-2]
    sides = [each.shape[-2] // rows for each in maps]
    pooled = [F.avg_pool2d(each, side) if side > 1 else each for each, side in zip(maps, sides, strict=True)]
    return torch.cat(pooled, dim=1).flatten(2).transpose(1, 2)


def _log_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Log differences to the means of 3x3 and 9x9 pixels: sign(d) log(1 + |d|), d in grey levels, (N, 3, H, W) each."""
    near, wide = _around(image)
    few, many = _around(torch.ones_like(image[:1, :1]))  # pixels outside are none
    return _logarithm(image - near / few), _logarithm(image - wide / many)


def _logarithm(difference: Tensor) -> Tensor:
    levels = difference * 255
    return torch.sign(levels) * torch.log1p(levels.abs())


def _around(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of 3x3 and of 9x9 values around each."""
    near = _sums(F.pad(x, (4, 4, 4, 4)), 1)
    return near[..., 3:-3, 3:-3], _sums(near, 3)


def _sums(x: Tensor, apart: int) -> Tensor:
    """Sums of 3x3 values at distance ``apart``; sides shrink by 2 apart. Faster than pooling."""
    rows = x[..., : -2 * apart, :] + x[..., apart:-apart, :]
    rows += x[..., 2 * apart :, :]
    both = rows[..., : -2 * apart] + rows[..., apart:-apart]
    both += rows[..., 2 * apart :]
    return both
