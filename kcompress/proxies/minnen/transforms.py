"""Analysis and synthesis transforms of a learned codec: pictures to latents at a sixteenth of the sides, and back.

"Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (Minnen, Balle, Toderici 2018), table 1:
four convolutions of 5x5 by 2 with GDN between them, and their transposes with the inverse.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.proxies.minnen.gdn import GDN

_KERNEL = 5
_PACE = 1 / 16


def transforms(widths: Sequence[int], bases: Sequence[Tensor]) -> tuple[nn.Sequential, nn.Sequential]:
    """Analysis g_a, (N, 3, H, W) -> (N, M, H / 2 ** S, W / 2 ** S), and synthesis g_s, its inverse.

    Widths are channels after each of the S stages; the last is M. Bases are initial weights of the stages by
    `klt.stages`; further channels start at random, and the synthesis ignores them.
    """
    downs = [_Down(before, after) for before, after in pairwise([3, *widths])]
    ups = [_Up(after, before) for before, after in pairwise([3, *widths])]
    for down, up, basis in zip(downs, ups, bases, strict=True):
        _start(down, up, basis)
    analysis: list[nn.Module] = [downs[0]]
    synthesis: list[nn.Module] = [ups[0]]
    for width, down, up in zip(widths, downs[1:], ups[1:], strict=False):
        analysis += [GDN(width), down]
        synthesis += [GDN(width, inverse=True), up]
    return nn.Sequential(*analysis), nn.Sequential(*synthesis[::-1])


class _Down(nn.Conv2d):
    """Strided convolution whose weights are ``_PACE`` times its parameters: Adam changes them slowly.

    ("Progressive Growing of GANs", Karras et al. 2018, section 4.1.) The transforms are good at the start, the entropy
    model is not.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, _KERNEL, stride=2, padding=_KERNEL // 2)

    def forward(self, values: Tensor) -> Tensor:
        return F.conv2d(values, _PACE * self.weight, self.bias, 2, _KERNEL // 2)


class _Up(nn.ConvTranspose2d):
    """Transposed convolution, likewise."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, _KERNEL, stride=2, padding=_KERNEL // 2, output_padding=1)

    def forward(self, values: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.conv_transpose2d(values, _PACE * self.weight, self.bias, 2, _KERNEL // 2, 1)


@torch.no_grad()
def _start(down: _Down, up: _Up, basis: Tensor) -> None:
    out_channels, in_channels = basis.shape[:2]
    middle = slice(_KERNEL // 2, _KERNEL // 2 + 2)
    down.weight /= _PACE
    down.weight[:out_channels] = 0
    up.weight[:] = 0
    for layer in (down, up):
        layer.weight[:out_channels, :in_channels, middle, middle] = basis / _PACE
        assert layer.bias is not None
        layer.bias[:] = 0
