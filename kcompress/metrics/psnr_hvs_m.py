"""PSNR-HVS-M in torch: batched, differentiable; errors of 8x8 DCT blocks after contrast masking.

Source: Ponomarenko, Silvestri, Egiazarian, Carli, Astola and Lukin, "On between-coefficient contrast masking of DCT
basis functions", VPQM 2007, and the authors' ``psnrhvsm.m``. Written from that description.

Both of its tables come from Q, the steps of JPEG's luma table: to all their six digits the sensitivities to contrast
(CSFCof) are 25.73509 / Q and the weights of masking (MaskCof) are (10 / Q)^2. So coefficients are counted in steps.

Luma is BT.601's of full range and is not rounded: rounding to 8 bits moves scores from 50 dB on by 0.4 to 5 dB.
The authors' program leaves out an incomplete block at the right and lower edge; here a block that ends at the edge and
overlaps the one before stands in its place, so that every pixel counts. With sides of multiples of 8 it is the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from kcompress.images import Pixels
from kcompress.inference.constants import constant
from kcompress.metrics import sides

SMALLEST_SIDE = 8  # one block

# ITU-T T.81, table K.1, row order.
_STEPS = torch.tensor([
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
], dtype=torch.float64)  # fmt: skip
_SENSITIVITY = 25.73509
_MASKING = 10.0

# What a mask of 1 hides, in steps: 1 / MaskCof levels of an AC coefficient, nothing of the mean.
_HIDDEN = torch.where(torch.arange(64) > 0, _STEPS / _MASKING**2, 0)

_RANGE = torch.arange(8, dtype=torch.float64)
_DCT = torch.cos(_RANGE[:, None] * (2 * _RANGE + 1) * torch.pi / 16) / 2
_DCT[0] /= 2**0.5
_TO_STEPS = torch.kron(_DCT, _DCT).T / _STEPS  # (64 pixels, 64 coefficients) of a block, both in row order

_HALVES = torch.kron(torch.eye(2, dtype=torch.float64), torch.ones(4, 4, dtype=torch.float64))
_LESS_QUARTERS_MEANS = torch.eye(64, dtype=torch.float64) - torch.kron(_HALVES, _HALVES) / 16

_FLAT = 1e-3  # levels; a block that varies less does so by rounding
_STRIP_PIXELS = 1 << 17  # worked on at a time by `prepare`: a strip's intermediate values stay in the cache


class Reference:
    """Original, prepared for comparison with any number of distorted versions."""

    def __init__(self, original: Tensor) -> None:
        """Prepare (N, 3, H, W) sRGB or (N, 1, H, W) luma, no side below 8.

        Uint8 0..255, or floating 0..1 (what lies outside is not clipped).

        Raises:
            UnsupportedError: a side is below 8.
        """
        self._size = sides.of_original("PSNR-HVS-M", original, SMALLEST_SIDE)
        self._spectrum = _spectrum(original)

    def score(self, distorted: Tensor) -> Tensor:
        """PSNR-HVS-M (N,), float64, 10 log10(255^2 / masked error), dB, of distorted pictures as for `masked_error`.

        Higher is better; infinite for invisible differences. Differentiable; the gradient is 0 where the score is
        infinite. It raises what `masked_error` raises.
        """
        return _decibels(self.masked_error(distorted))

    def masked_error(self, distorted: Tensor) -> Tensor:
        """Mean squared error of DCT coefficients after masking, weighted by contrast sensitivity: (N,) float64.

        It is in squared levels of 0..255, 0 for invisible differences. Differentiable: as an objective it is finite for
        equal pictures, and its gradient is 0 there. The gradient includes that of the distorted picture's own masks.
        Not for ``torch.autocast``: bfloat16 is too coarse. N may differ from the original's where one of the two is 1.

        Raises:
            InputError: the sizes differ.
        """
        return self.block_errors(distorted).mean(1, dtype=torch.float64)

    def block_errors(self, distorted: Tensor) -> Tensor:
        """Masked error of each block, (N, blocks); otherwise as `masked_error`."""
        sides.check_equal("PSNR-HVS-M", self._size, distorted)
        return _errors(self._spectrum, _spectrum(distorted))


def psnr_hvs_m(original: Tensor, distorted: Tensor) -> Tensor:
    """PSNR-HVS-M (N,) of two batches of pictures; shapes and range as in `Reference.score`."""
    return Reference(original).score(distorted)


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 8, on the CPU; range as `Reference.score`."""
    with torch.inference_mode():
        references = [Reference(strip) for strip in _strips(original)]

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            strips = zip(references, _strips(distorted), strict=True)
            errors = [reference.block_errors(strip)[0] for reference, strip in strips]
            return _decibels(torch.cat(errors).mean(dtype=torch.float64)).item()

    return score


@dataclass(frozen=True)
class _Spectrum:
    """DCT blocks of a batch.

    Attributes:
        steps: (N, blocks, 64) DCT coefficients in JPEG's steps.
        mask: (N, blocks, 1) masking threshold of AC errors, levels, without the coefficient's MaskCof.
    """

    steps: Tensor
    mask: Tensor


def _spectrum(batch: Tensor) -> _Spectrum:
    blocks = _blocks(_luma(batch))
    steps = blocks @ constant(_TO_STEPS, blocks)
    # The AC coefficients' weighted energy counts as far as the block varies within its quarters: an edge hides less
    # than texture does. Norms instead of variances (which the source takes without bias) and of the root of their
    # product: their gradients are finite at 0.
    energy = _MASKING * _norm(steps[..., 1:])
    quarters, whole = (
        _norm(blocks @ constant(_LESS_QUARTERS_MEANS, blocks)),
        _norm(blocks - blocks.mean(-1, keepdim=True)),
    )
    texture = (16 / 15 * 63 / 64) ** 0.5 * quarters / whole.clamp_min(_FLAT)
    return _Spectrum(steps, energy * texture / 32)


def _errors(original: _Spectrum, distorted: _Spectrum) -> Tensor:
    """Mean squares (N, blocks) of visible errors; the paper's equation 3, weighted by CSFCof."""
    difference = (original.steps - distorted.steps).abs()
    hidden = torch.maximum(original.mask, distorted.mask) * constant(_HIDDEN, difference)
    return _SENSITIVITY**2 * (difference - hidden).clamp_min(0).square().mean(-1)


def _decibels(error: Tensor) -> Tensor:
    visible = error > 0
    return torch.where(visible, 10 * torch.log10(255**2 / torch.where(visible, error, 1)), inf)


def _norm(x: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return norm


def _luma(batch: Tensor) -> Tensor:
    """Luma (N, H, W), levels 0..255, float32 or better."""
    levels = batch.to(torch.promote_types(batch.dtype, torch.float32)) * (255 if batch.is_floating_point() else 1)
    if levels.shape[1] == 1:
        return levels[:, 0]
    red, green, blue = levels.unbind(1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _blocks(planes: Tensor) -> Tensor:
    """Blocks (N, blocks, 64) of planes (N, H, W); blocks and their pixels in row order."""
    for axis in (1, 2):
        rest = planes.shape[axis] % 8
        if rest:
            whole, last = planes.narrow(axis, 0, planes.shape[axis] - rest), planes.narrow(axis, -8, 8)
            planes = torch.cat([whole, last], axis)
    number, height, width = planes.shape
    return planes.reshape(number, height // 8, 8, width // 8, 8).transpose(2, 3).reshape(number, -1, 64)


def _strips(pixels: Pixels) -> Iterator[Tensor]:
    """Rows of blocks, (1, 3, h, W) each."""
    height, width = pixels.shape[:2]
    step = max(8, _STRIP_PIXELS // width // 8 * 8)
    for top in range(0, height, step):
        rows = pixels[min(top, height - 8) : top + step]
        yield torch.from_numpy(np.ascontiguousarray(rows.transpose(2, 0, 1)))[None]
