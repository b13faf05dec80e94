"""Learned codec simulators: one network predicts the reconstruction, another the rate.

The third system's two networks ("AI-Based Preprocessing Technologies for JPEG Image Coding"), for any codec. Both work
on 8x8 DCT coefficients in units of quantiser steps, which are learned for every frequency as functions of coarseness.
So they see the grid of blocks, and start as all these codecs are: small coefficients vanish, and bits grow with the
logarithm of the others. Convolutions over neighbouring blocks learn the rest: prediction, other transforms, loop
filters. Coarseness conditions them by feature-wise scales and shifts (FiLM: Perez et al., arXiv 1709.07871).

Values are expectations, not a bit-exact decoder (`proxies.jpeg` is one for JPEG). Their gradients are what they are
good for; `proxies.straight_through` puts the encoder's own values on top.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import DCT
from kcompress.colour import JFIF_RGB_TO_YCC

NETWORK = "simulator"
"""Name of its weights."""

SIDE = 8
"""Side of a block, pixels."""

_COEFFICIENTS = 3 * SIDE**2
_COLOURS = torch.tensor(JFIF_RGB_TO_YCC, dtype=torch.float64)


class Simulator(nn.Module):
    """Codec simulator.

        picture (N, 3, H, W), 0..1 -> DistortionNetwork -> reconstruction (N, 3, H, W), neither rounded nor clamped
        coarseness (N,), 0..1      -> RateNetwork       -> bits per pixel (N,)

    Sides may be any. Headers and containers do not count, as in `proxies.straight_through.encode_decode`.
    With ``still``, gradients take what the contexts say as a constant. A network that is trained through frozen weights
    would find patterns that change what the contexts say, and neither bits nor picture of the codec: on held-out
    photographs 300 steps of npp changed BPG's bits by -7 % for the simulator, and by -1 % in truth.

    Args:
        width: channels of the distortion network; the rate network has three quarters of them.
        depth: its blocks; the rate network has two fewer, at least one.
    """

    def __init__(self, width: int = 48, depth: int = 4) -> None:
        super().__init__()
        self.distortion = DistortionNetwork(width, depth)
        self.rate = RateNetwork(max(8, 3 * width // 4), max(1, depth - 2))

    def forward(self, picture: Tensor, coarseness: Tensor, *, still: bool = False) -> tuple[Tensor, Tensor]:
        decoded: Tensor = self.distortion(picture, coarseness, still=still)
        bpp: Tensor = self.rate(picture, coarseness, still=still)
        return decoded, bpp


class DistortionNetwork(nn.Module):
    """Expected reconstruction.

        picture (N, 3, H, W) -> DCT (N, 192, h, w) -> / steps(coarseness) -> u -> context -> dead zone t, shift a
          -> u * sigmoid((|u| - t) / w) + a -> * steps -> inverse DCT of the change -> picture + change (N, 3, H, W)

    h = ceil(H / 8), w = ceil(W / 8). The shift a starts as 0.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = _Blocks()
        self.steps = _Steps()
        self.context = _Context(2 * _COEFFICIENTS, width, depth, 2 * _COEFFICIENTS)
        self.edge = nn.Parameter(torch.full((_COEFFICIENTS, 1, 1), 0.6))
        self.sharpness = nn.Parameter(torch.full((_COEFFICIENTS, 1, 1), math.log(6)))

    def forward(self, picture: Tensor, coarseness: Tensor, *, still: bool = False) -> Tensor:
        units, steps, kept, shift = self.seen(picture, coarseness, still=still)
        change = (units * (kept - 1) + shift) * steps
        return picture + self.blocks.synthesise(change, picture.shape[-2], picture.shape[-1])

    def seen(
        self, picture: Tensor, coarseness: Tensor, *, still: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Units u, their steps, the probabilities that they are not coded as 0, and the shifts."""
        steps = self.steps(coarseness)
        units = self.blocks.analyse(picture) / steps
        size = units.abs()
        features = torch.cat([units.sign() * size.log1p(), size.log1p()], dim=1)
        edge, shift = self.context(features.detach() if still else features, coarseness).chunk(2, dim=1)
        kept = torch.sigmoid((size - self.edge - edge) * self.sharpness.exp())
        return units, steps, kept, shift


class RateNetwork(nn.Module):
    """Expected bits per pixel.

        picture (N, 3, H, W) -> DCT (N, 192, h, w) -> DC prediction -> / steps(coarseness) -> context -> weights
          -> weighted magnitudes -> bits a block (N, h, w) -> sum / (H W) -> (N,)

    Weights follow from the neighbourhood of a block: gradients are local, and a picture may have any size.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = _Blocks()
        self.steps = _Steps()
        self.context = _Context(2 * _COEFFICIENTS, width, depth, 2 * _COEFFICIENTS + 1)
        self.weight = nn.Parameter(torch.zeros(2 * _COEFFICIENTS, 1, 1))
        self.block = nn.Parameter(torch.tensor(0.0))

    def forward(self, picture: Tensor, coarseness: Tensor, *, still: bool = False) -> Tensor:
        bits = self.map(picture, coarseness, still=still).flatten(1).sum(1)
        return bits / (picture.shape[-2] * picture.shape[-1])

    def map(self, picture: Tensor, coarseness: Tensor, *, still: bool = False) -> Tensor:
        """Bits of every block, (N, h, w), above 0."""
        coefficients = _dc_predicted(self.blocks.analyse(picture))
        units = coefficients / self.steps(coarseness)
        square = units.square()
        features = torch.cat([units.sign() * units.abs().log1p(), square.log1p() / 2], dim=1)
        found = self.context(features.detach() if still else features, coarseness)
        sizes = torch.cat([square.log1p() / 2, square.square() / (1 + square.square())], dim=1)
        weights = F.softplus(self.weight + found[:, 1:])
        return (weights * sizes).sum(1) + F.softplus(self.block + found[:, 0])


class _Blocks(nn.Module):
    """Block DCT of YCbCr in 4:4:4, and its inverse."""

    forwards: Tensor
    backwards: Tensor

    def __init__(self) -> None:
        super().__init__()
        dct = torch.from_numpy(DCT).double()
        matrix = 255 * torch.kron(_COLOURS, torch.kron(dct, dct))
        self.register_buffer("forwards", matrix.float(), persistent=False)
        self.register_buffer("backwards", torch.linalg.inv(matrix).float(), persistent=False)

    def analyse(self, picture: Tensor) -> Tensor:
        """Coefficients (N, 192, h, w), grey levels, Y, Cb, Cr by 8x8 in row order, of (N, 3, H, W), 0..1."""
        height, width = picture.shape[-2:]
        padded = F.pad(picture.float() - 0.5, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
        with _exact():
            return _pointwise(self.forwards, F.pixel_unshuffle(padded, SIDE))

    def synthesise(self, coefficients: Tensor, height: int, width: int) -> Tensor:
        """Picture difference (N, 3, H, W) of a coefficient difference (N, 192, h, w)."""
        with _exact():
            return F.pixel_shuffle(_pointwise(self.backwards, coefficients.float()), SIDE)[..., :height, :width]


def _pointwise(matrix: Tensor, values: Tensor) -> Tensor:
    """1x1 convolution with a matrix."""
    return F.conv2d(values, matrix[:, :, None, None])


def _dc_predicted(coefficients: Tensor) -> Tensor:
    """Coefficients with DC less the mean DC of the blocks above and on the left: all codecs predict it somehow."""
    mean = coefficients[:, :: SIDE**2]
    above = torch.cat([mean[:, :, :1], mean[:, :, :-1]], dim=2)
    left = torch.cat([mean[..., :1], mean[..., :-1]], dim=3)
    planes = coefficients.reshape(coefficients.shape[0], 3, SIDE**2, *coefficients.shape[2:])
    return torch.cat([(mean - (above + left) / 2)[:, :, None], planes[:, :, 1:]], dim=2).flatten(1, 2)


class _Steps(nn.Module):
    """Quantiser steps (N, 192, 1, 1), grey levels, of coarseness (N,): log step is a parabola for each frequency.

    They start as HEVC's, 2 ** ((QP - 4) / 6); JPEG's and WebP's are not far.
    """

    def __init__(self) -> None:
        super().__init__()
        start = torch.tensor([0.3, 5.0, 0.0])
        self.parabola = nn.Parameter(start[:, None].repeat(1, _COEFFICIENTS))

    def forward(self, coarseness: Tensor) -> Tensor:
        powers = torch.stack([torch.ones_like(coarseness), coarseness, coarseness.square()], dim=1)
        with _exact():
            logarithms = powers.float() @ self.parabola
        return logarithms.clamp(-2, 8).exp()[:, :, None, None]


class _Context(nn.Module):
    """Residual context network with FiLM: features (N, C, h, w), coarseness (N,) -> (N, C', h, w); 0 at first."""

    def __init__(self, in_channels: int, width: int, depth: int, out_channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(in_channels, width, 1)
        self.modulation = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 2 * width * depth))
        self.near = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.mixed = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(depth))
        self.leave = nn.Conv2d(width, out_channels, 1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)
        self._depth = depth

    def forward(self, features: Tensor, coarseness: Tensor) -> Tensor:
        state = self.enter(features)
        films = self.modulation(2 * coarseness[:, None].float() - 1).float()[:, :, None, None].chunk(self._depth, dim=1)
        for near, mixed, film in zip(self.near, self.mixed, films, strict=True):
            scale, shift = film.chunk(2, dim=1)
            state = state + mixed(F.gelu(near(state) * (1 + scale) + shift))
        output: Tensor = self.leave(state).float()
        return output


@contextmanager
def _exact() -> Iterator[None]:
    """Context without bfloat16, whose 8 bits are too few for coefficients."""
    with torch.autocast("cpu", enabled=False):
        yield
