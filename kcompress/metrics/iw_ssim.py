"""IW-SSIM: structural similarity of luma at five scales, each place weighted by the information that it holds.

Source: Wang and Li, "Information content weighting for perceptual image quality assessment", IEEE Trans. Image
Processing 20 (2011), with the constants of the authors' program. Written from that description; scores equal those of
the package piq.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Pixels

SMALLEST_SIDE = 161
"""Four halvings must leave the window of 11 pixels room."""

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, finest first (those of MS-SSIM); they add up to 1."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_NOISE = 0.4
"""Variance of the eye's own noise, sigma_n^2, squared grey levels."""

_WINDOW, _SIGMA = 11, 1.5
_BLOCK = 3
_MARGIN = (_WINDOW - _BLOCK) // 2
_PART = 1 << 16
_SMALL = torch.finfo(torch.float32).eps


def iw_ssim(original: Tensor, distorted: Tensor) -> Tensor:
    """IW-SSIM (N,): 1 for identical pictures, about 0 where no structure is left. Differentiable.

    Pictures are (N, 3, H, W) sRGB, floating 0..1, no side below 161.

    Raises:
        InputError: the sizes differ.
        UnsupportedError: a side is below 161.
    """
    if original.shape[2:] != distorted.shape[2:]:
        raise InputError("IW-SSIM compares pictures of one size. Give an original and versions of it.")
    if min(original.shape[2:]) < SMALLEST_SIDE:
        raise UnsupportedError(f"IW-SSIM needs {SMALLEST_SIDE} pixels a side. Give larger pictures.")
    # x is the original, y the distorted picture; a band is one scale of a Laplacian pyramid.
    x, y = _pyramid(_luma(original)), _pyramid(_luma(distorted))
    score = torch.ones_like(distorted[:, 0, 0, 0])
    for scale, exponent in enumerate(_EXPONENTS):
        if scale == len(_EXPONENTS) - 1:
            # In double precision: squares of its large means would drown small variances.
            luminance, structure = _similarity(x[scale].double(), y[scale].double())
            similarity = (luminance * structure).mean((1, 2, 3)).to(score)
        else:
            _, structure = _similarity(x[scale], y[scale])
            parent = x[scale + 1] if scale < len(_EXPONENTS) - 2 else None
            weights = _information(x[scale], y[scale], parent)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
            weights = weights + _SMALL  # flat pictures hold no information anywhere: all places count alike
            similarity = (structure * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))
        score = score * similarity.abs() ** exponent
    return score


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """A function that scores distorted pixels (H, W, 3) against the original's, on the CPU; no side below 161."""
    batch = _batch(original)

    def score(distorted: Pixels) -> float:
        if np.array_equal(original, distorted):
            return 1.0
        with torch.inference_mode():
            return float(iw_ssim(batch, _batch(distorted)))

    return score


def _luma(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) 0..1 -> (N, 1, H, W) 0..255."""
    red, green, blue = rgb.unbind(1)
    return 255 * (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


def _pyramid(plane: Tensor) -> list[Tensor]:
    """Laplacian pyramid of five bands; the last one is what the others leave. Each band has twice the gain before."""
    bands = []
    for _ in range(len(_EXPONENTS) - 1):
        low = _binomial(plane)[..., ::2, ::2]
        spread = low.new_zeros(*low.shape[:2], 2 * low.shape[2], 2 * low.shape[3])
        spread[..., ::2, ::2] = low
        bands.append(plane - _binomial(spread)[..., : plane.shape[2], : plane.shape[3]])
        plane = low
    return [*bands, plane]


def _binomial(plane: Tensor) -> Tensor:
    """Filter of 1 4 6 4 1 along both axes, with a gain of 2, mirrored at the edges."""
    taps = torch.tensor([1.0, 4, 6, 4, 1]).to(plane) * (2**0.5 / 16)
    plane = F.conv2d(F.pad(plane, (2, 2, 0, 0), mode="reflect"), taps.view(1, 1, 1, 5))
    return F.conv2d(F.pad(plane, (0, 0, 2, 2), mode="reflect"), taps.view(1, 1, 5, 1))


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM's luminance term and its contrast and structure term, (N, 1, H - 10, W - 10) each."""
    offsets = torch.arange(_WINDOW).to(x) - _WINDOW // 2
    gaussian = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    gaussian = gaussian / gaussian.sum()
    planes = torch.cat([x, y, x * x, y * y, x * y])
    planes = F.conv2d(F.conv2d(planes, gaussian.view(1, 1, 1, -1)), gaussian.view(1, 1, -1, 1))
    mean_x, mean_y, square_x, square_y, product = planes.chunk(5)
    variances = F.relu(square_x - mean_x**2) + F.relu(square_y - mean_y**2)
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance, (2 * (product - mean_x * mean_y) + _C2) / (variances + _C2)


def _information(x: Tensor, y: Tensor, parent: Tensor | None) -> Tensor:
    """Information that is shared by what the eye takes up of both pictures, bits: (N, 1, H - 2, W - 2).

    The original's neighbourhoods are a Gaussian scale mixture: a multiplier s of a vector of covariance C_u. The
    distorted ones are g times that, plus noise of variance v; the eye adds noise of its own to both.
    """
    with torch.no_grad():
        s, eigenvalues = _scale_mixture(x, parent)
    planes = torch.cat([x, y, x * x, y * y, x * y])
    mean_x, mean_y, square_x, square_y, product = F.avg_pool2d(planes, _BLOCK, stride=1).chunk(5)
    variance_x, variance_y = F.relu(square_x - mean_x**2), F.relu(square_y - mean_y**2)
    covariance = product - mean_x * mean_y
    g = covariance / (variance_x + _SMALL)
    v = variance_y - g * covariance
    flat_x, flat_y = variance_x < _SMALL, variance_y < _SMALL
    v = torch.where(flat_x, variance_y, v).masked_fill(flat_y, 0)
    g = g.masked_fill(flat_x | flat_y, 0)
    both, own = v + (1 + g * g) * _NOISE, _NOISE * v
    # A sum over at most ten eigenvalues, one at a time: all at once would take ten times the memory.
    bits = torch.zeros_like(s)
    for eigenvalue in eigenvalues.unbind(-1):
        bits = bits + torch.log2(1 + (both * s * eigenvalue.view(-1, 1, 1, 1) + own) / _NOISE**2)
    return torch.where(bits < _SMALL, 0, bits)


def _scale_mixture(x: Tensor, parent: Tensor | None) -> tuple[Tensor, Tensor]:
    """Multipliers s (N, 1, H - 2, W - 2) of the neighbourhoods of a band, and eigenvalues (N, 9 or 10) of C_u.

    A neighbourhood is 3x3 samples, and the sample of the next coarser band over its middle.
    """
    count, _, height, width = x.shape
    vectors = F.unfold(x, _BLOCK)
    if parent is not None:
        over = _enlarged(parent)[..., 1 : height - 1, 1 : width - 1]
        vectors = torch.cat([vectors, over.reshape(count, 1, -1)], dim=1)
    # In double precision, as the smallest eigenvalues are millionths of the largest, and a part at a time.
    parts = torch.split(vectors, _PART, dim=-1)
    covariance = sum(part.double() @ part.double().mT for part in parts) / vectors.shape[-1]
    eigenvalues, axes = torch.linalg.eigh(covariance)
    positive = eigenvalues.clamp_min(0)
    eigenvalues = positive * eigenvalues.sum(-1, keepdim=True) / positive.sum(-1, keepdim=True).clamp_min(_SMALL)
    whitening = axes.mT / eigenvalues.sqrt().clamp_min(1e-15)[..., None]
    s = torch.cat([(whitening @ part.double()).square().mean(1).to(x) for part in parts], dim=-1)
    return s.view(count, 1, height - 2, width - 2), eigenvalues.to(x)


def _enlarged(band: Tensor) -> Tensor:
    """A band at twice the size: bilinear to 4 H - 3 samples, one more beyond each edge by a line, every other kept."""
    height, width = band.shape[2:]
    fine = F.interpolate(band, size=(4 * height - 3, 4 * width - 3), mode="bilinear", align_corners=False)
    fine = torch.cat([2 * fine[..., :1, :] - fine[..., 1:2, :], fine, 2 * fine[..., -1:, :] - fine[..., -2:-1, :]], 2)
    fine = torch.cat([2 * fine[..., :1] - fine[..., 1:2], fine, 2 * fine[..., -1:] - fine[..., -2:-1]], 3)
    return fine[..., ::2, ::2]


def _batch(pixels: Pixels) -> Tensor:
    """(1, 3, H, W) float32, 0..1."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 255
