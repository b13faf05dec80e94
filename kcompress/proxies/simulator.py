"""Codec simulators that are learned: one network shows what the decoder shows, another counts the bits.

The third system's two networks ("AI-Based Preprocessing Technologies for JPEG Image Coding"), for any codec. Both see
the picture as 8x8 blocks of DCT coefficients in units of a quantiser step, which is learned for every frequency as a
function of the coarseness; so they stand on the grid of blocks, and start as what all these codecs have in common:
small coefficients vanish, and bits grow with the logarithm of the others. Convolutions over neighbouring blocks
learn the rest: prediction, larger and smaller transforms, filters in the loop. They are conditioned on the coarseness
by feature-wise scales and shifts (FiLM: Perez et al., arXiv 1709.07871).

Values are expectations, not a bit-exact decoder; for JPEG there is one in ``proxies.jpeg``. What they are good for is
their gradients; ``proxies.real`` puts the encoder's own values on top.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.blockdct import DCT
from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module

NETWORK = "simulator"
"""What its weights are called."""

SIDE = 8
"""Of a block, pixels."""

_COEFFICIENTS = 3 * SIDE**2
_COLOURS = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=torch.float64
)
"""To Y, Cb and Cr (BT.601, full range)."""


class Simulator(nn.Module):
    """A codec: pictures (N, 3, H, W), 0..1, and coarsenesses (N,), 0..1 -> decoded pictures, likewise, and bpp (N,).

    Sides may be any. Decoded pictures are neither rounded nor clamped. Bits per pixel are counted without headers and
    containers, as `training.proxies.real.coded` counts them.

    Args:
        width: channels of the network of distortions; that of bits has three quarters of them.
        depth: its blocks; that of bits has two fewer, at least one.
    """

    def __init__(self, width: int = 48, depth: int = 4) -> None:
        super().__init__()
        self.distortion = Distortion(width, depth)
        self.rate = Rate(max(8, 3 * width // 4), max(1, depth - 2))

    def forward(self, picture: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        decoded: Tensor = self.distortion(picture, coarseness)
        bpp: Tensor = self.rate(picture, coarseness)
        return decoded, bpp


def shipped(codec: str) -> Simulator:
    """The simulator of a codec that came along, not to be trained any further.

    Raises:
        WeightsError: none did for this codec.
    """
    return opened(weight_files.folder() / f"{NETWORK}-{codec}.safetensors")


def opened(path: Path) -> Simulator:
    """A simulator from its file, not to be trained any further.

    Raises:
        WeightsError: missing, or other weights, or none that fit.
    """
    weights = weight_files.open_weights(path, NETWORK)
    simulator: Simulator = torch_module(weights, Simulator)
    return simulator.eval().requires_grad_(False)


class Distortion(nn.Module):
    """Pictures (N, 3, H, W), 0..1, and coarsenesses (N,) -> what the decoder is expected to show, likewise.

    A coefficient of u steps becomes u * sigmoid((|u| - t) / w) + a: a dead zone whose edge t follows from the
    neighbourhood, as the shift a does, which starts as nothing.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = _Blocks()
        self.steps = _Steps()
        self.context = _Context(2 * _COEFFICIENTS, width, depth, 2 * _COEFFICIENTS)
        self.edge = nn.Parameter(torch.full((_COEFFICIENTS, 1, 1), 0.6))
        self.sharpness = nn.Parameter(torch.full((_COEFFICIENTS, 1, 1), math.log(6)))

    def forward(self, picture: Tensor, coarseness: Tensor) -> Tensor:
        coefficients = self.blocks.of(picture)
        steps = self.steps(coarseness)
        units = coefficients / steps
        size = units.abs()
        seen = torch.cat([units.sign() * size.log1p(), size.log1p()], dim=1)
        edge, shift = self.context(seen, coarseness).chunk(2, dim=1)
        kept = torch.sigmoid((size - self.edge - edge) * self.sharpness.exp())
        change = (units * (kept - 1) + shift) * steps
        return picture + self.blocks.back(change, picture.shape[-2], picture.shape[-1])


class Rate(nn.Module):
    """Pictures (N, 3, H, W), 0..1, and coarsenesses (N,) -> bits per pixel (N,).

    The bits are a sum over all blocks of weighted sizes of their coefficients, where the weights follow from the
    neighbourhood: so a gradient is local, and a picture may have any size.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = _Blocks()
        self.steps = _Steps()
        self.context = _Context(2 * _COEFFICIENTS, width, depth, 2 * _COEFFICIENTS + 1)
        self.weight = nn.Parameter(torch.zeros(2 * _COEFFICIENTS, 1, 1))
        self.block = nn.Parameter(torch.tensor(0.0))

    def forward(self, picture: Tensor, coarseness: Tensor) -> Tensor:
        bits = self.map(picture, coarseness).flatten(1).sum(1)
        return bits / (picture.shape[-2] * picture.shape[-1])

    def map(self, picture: Tensor, coarseness: Tensor) -> Tensor:
        """Bits of every block, (N, ceil(H / 8), ceil(W / 8)), above 0."""
        coefficients = _predicted(self.blocks.of(picture))
        units = coefficients / self.steps(coarseness)
        square = units.square()
        seen = torch.cat([units.sign() * units.abs().log1p(), square.log1p() / 2], dim=1)
        found = self.context(seen, coarseness)
        sizes = torch.cat([square.log1p() / 2, square.square() / (1 + square.square())], dim=1)
        weights = F.softplus(self.weight + found[:, 1:])
        return (weights * sizes).sum(1) + F.softplus(self.block + found[:, 0])


class _Blocks(nn.Module):
    """Pictures as blocks of DCT coefficients, and back."""

    forwards: Tensor
    backwards: Tensor

    def __init__(self) -> None:
        super().__init__()
        dct = torch.from_numpy(DCT).double()
        matrix = 255 * torch.kron(_COLOURS, torch.kron(dct, dct))
        self.register_buffer("forwards", matrix.float(), persistent=False)
        self.register_buffer("backwards", torch.linalg.inv(matrix).float(), persistent=False)

    def of(self, picture: Tensor) -> Tensor:
        """(N, 3, H, W), 0..1 -> (N, 192, ceil(H / 8), ceil(W / 8)), grey levels: Y, Cb, Cr by 8x8 in row order."""
        height, width = picture.shape[-2:]
        padded = F.pad(picture.float() - 0.5, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
        with _exact():
            return _each(self.forwards, F.pixel_unshuffle(padded, SIDE))

    def back(self, coefficients: Tensor, height: int, width: int) -> Tensor:
        """A difference of coefficients as a difference of pictures."""
        with _exact():
            return F.pixel_shuffle(_each(self.backwards, coefficients.float()), SIDE)[..., :height, :width]


def _each(matrix: Tensor, values: Tensor) -> Tensor:
    """The matrix times every column of channels."""
    return F.conv2d(values, matrix[:, :, None, None])


def _predicted(coefficients: Tensor) -> Tensor:
    """The mean of each block less that of the blocks above and on its left, as all codecs predict it somehow."""
    mean = coefficients[:, :: SIDE**2]
    above = torch.cat([mean[:, :, :1], mean[:, :, :-1]], dim=2)
    left = torch.cat([mean[..., :1], mean[..., :-1]], dim=3)
    planes = coefficients.reshape(coefficients.shape[0], 3, SIDE**2, *coefficients.shape[2:])
    return torch.cat([(mean - (above + left) / 2)[:, :, None], planes[:, :, 1:]], dim=2).flatten(1, 2)


class _Steps(nn.Module):
    """Coarsenesses (N,) -> quantiser steps (N, 192, 1, 1), grey levels: for each frequency a parabola of the logarithm.

    They start where HEVC's are, 2 ** ((QP - 4) / 6); JPEG's and WebP's are not far.
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
    """Features of blocks (N, C, h, w) and coarsenesses (N,) -> what neighbourhoods say, (N, C', h, w); at first 0."""

    def __init__(self, seen: int, width: int, depth: int, told: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(seen, width, 1)
        self.modulation = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 2 * width * depth))
        self.near = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.mixed = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(depth))
        self.leave = nn.Conv2d(width, told, 1)
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
        told: Tensor = self.leave(state).float()
        return told


@contextmanager
def _exact() -> Iterator[None]:
    """Without bfloat16, whose 8 bits are too few for coefficients."""
    with torch.autocast("cpu", enabled=False):
        yield
