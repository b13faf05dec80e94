"""Priors of quantised latents: their bits under learned probabilities.

Probabilities are logarithms throughout: so a value far out in a tail still has a gradient.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.proxies.minnen.gdn import bounded

SMALLEST_SCALE = 0.11
"""Smallest scale of a Gaussian, in quantiser steps ("Joint Autoregressive ...", Minnen et al. 2018)."""

_MANY = 32.0
"""Bits from which a Gaussian's tail grows logarithmically, like an escape code: its gradient is bounded."""

_FAR = 1e4
"""Clamp of distances, in standard deviations: squares of more are too large for float32."""

FILTERS = (1, 3, 3, 3, 1)
"""Widths of a factorised prior's network: K = 4, r = 3."""


def quantise(values: Tensor, *, noisy: bool) -> Tensor:
    """Straight-through rounding; or uniform noise of width 1 in its place."""
    if noisy:
        return values + torch.rand_like(values) - 0.5
    return values + (values.round() - values).detach()


def gaussian_bits(values: Tensor, scale: Tensor) -> Tensor:
    """Bits of values under a Gaussian around 0, convolved with a uniform distribution of width 1: same shape.

    ("Variational Image Compression with a Scale Hyperprior", Balle et al. 2018, equation 11.) Values and scales, which
    are standard deviations of at least ``SMALLEST_SCALE``, are in quantiser steps.
    """
    scale = bounded(scale, SMALLEST_SCALE)
    size = values.abs()  # the lower tail, where differences of cumulative probabilities are exact
    upper = torch.special.log_ndtr(((0.5 - size) / scale).clamp(min=-_FAR))
    lower = torch.special.log_ndtr(((-0.5 - size) / scale).clamp(min=-_FAR))
    bits = (upper + _log_share(upper - lower)) / -math.log(2)
    return torch.where(bits > _MANY, _MANY * (1 + (bits.clamp(min=_MANY) / _MANY).log()), bits)


class FactorisedPrior(nn.Module):
    """Learned distribution of each channel: values (N, C, H, W) -> bits (N, C, H, W).

    The cumulative distribution is a small monotone network (Balle et al. 2018, appendix 6.1). Bits are those of an
    interval of one quantiser step, (N, C, 1, 1) or a number, around each value; the spread is their initial width.
    """

    def __init__(self, channels: int, spread: float = 1.0) -> None:
        super().__init__()
        slope = spread ** (1 / (len(FILTERS) - 1))
        sizes = list(pairwise(FILTERS))
        # Every layer multiplies by 1 / slope: all of them by 1 / spread.
        start = [math.log(math.expm1(1 / slope / after)) for _, after in sizes]
        self.matrices = nn.ParameterList(
            torch.full((channels, after, before), value) for (before, after), value in zip(sizes, start, strict=True)
        )
        self.biases = nn.ParameterList(torch.rand(channels, after, 1) - 0.5 for _, after in sizes)
        self.factors = nn.ParameterList(torch.zeros(channels, after, 1) for _, after in sizes[:-1])

    def forward(self, values: Tensor, step: Tensor | float = 1.0) -> Tensor:
        lower, upper = self._logits(values - step / 2), self._logits(values + step / 2)
        # sigmoid(u) - sigmoid(l) = sigmoid(u) sigmoid(-l) (1 - exp(l - u))
        return -(F.logsigmoid(upper) + F.logsigmoid(-lower) + _log_share(upper - lower)) / math.log(2)

    def _logits(self, values: Tensor) -> Tensor:
        """Logits of the cumulative distribution at the values, (N, C, H, W)."""
        count, channels, height, width = values.shape
        state = values.transpose(0, 1).reshape(channels, 1, -1)
        for number, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            state = F.softplus(matrix) @ state + bias
            if number < len(self.factors):
                state = state + self.factors[number].tanh() * state.tanh()
        return state.reshape(channels, count, height, width).transpose(0, 1)


def _log_share(difference: Tensor) -> Tensor:
    """ln(1 - exp(-difference)) for differences of logarithms above 0."""
    return torch.log(-torch.expm1(-difference.clamp(min=1e-7)))


class MaskedConv(nn.Conv2d):
    """Causal convolution with an odd kernel: it sees the rows above, and the left part of its own row.

    ("Pixel Recurrent Neural Networks", van den Oord et al. 2016: mask A.) The size is kept.
    """

    mask: Tensor

    def __init__(self, in_channels: int, out_channels: int, side: int = 5) -> None:
        super().__init__(in_channels, out_channels, side, padding=side // 2)
        before = torch.arange(side * side).reshape(side, side) < side * side // 2
        self.register_buffer("mask", before.float(), persistent=False)

    def forward(self, values: Tensor) -> Tensor:
        return F.conv2d(values, self.weight * self.mask, self.bias, padding=self.padding)
