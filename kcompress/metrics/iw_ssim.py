"""IW-SSIM: structural similarity of luma at five scales, each place weighted by the information that it holds.

Source: Wang and Li, "Information content weighting for perceptual image quality assessment", IEEE Trans. Image
Processing 20 (2011), with the constants of the authors' program. Written from that description; scores equal those of
the package piq.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.images import Pixels
from kcompress.metrics import sides
from kcompress.metrics.filters import gaussian, mirrored, windowed

SMALLEST_SIDE = 161
"""Four halvings must leave the window of 11 pixels room."""

_EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, finest first (those of MS-SSIM); they add up to 1."""

_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_NOISE = 0.4
"""Variance of the eye's own noise, sigma_n^2, squared grey levels."""

_WINDOW = 11
_GAUSSIAN = gaussian(1.5, _WINDOW // 2)
_BLOCK = 3
_BOX = (1 / 3, 1 / 3)
_BINOMIAL = tuple(tap * 2**0.5 / 16 for tap in (1, 4, 6))
_MARGIN = (_WINDOW - _BLOCK) // 2
_PART = 1 << 16
_SMALL = torch.finfo(torch.float32).eps


class Reference:
    """Original, prepared for comparison with any number of distorted versions."""

    def __init__(self, original: Tensor) -> None:
        """Prepare (N, 3, H, W) sRGB, floating 0..1, no side below 161.

        Raises:
            UnsupportedError: a side is below 161.
        """
        self._size = sides.of_original("IW-SSIM", original, SMALLEST_SIDE)
        *bands, rest = _pyramid(_luma(original))
        self._windows = [_Windows(band) for band in bands]
        parents = [*bands[1:], None]
        self._neighbourhoods = [_Neighbourhoods(*each) for each in zip(bands, parents, strict=True)]
        # In double precision: squares of its large means would drown small variances.
        self._rest = _Windows(rest.double())

    def score(self, distorted: Tensor) -> Tensor:
        """IW-SSIM (N,): 1 for identical pictures, about 0 where no structure is left. Differentiable.

        Raises:
            InputError: the sizes differ.
        """
        sides.check_equal("IW-SSIM", self._size, distorted)
        *bands, rest = _pyramid(_luma(distorted))
        luminance, structure = self._rest.similarity(rest.double())
        score = (luminance * structure).mean((1, 2, 3)).to(rest).abs() ** _EXPONENTS[-1]
        for windows, places, band, exponent in zip(
            self._windows, self._neighbourhoods, bands, _EXPONENTS[:-1], strict=True
        ):
            _, structure = windows.similarity(band)
            weights = places.information(band)[..., _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
            weights = weights + _SMALL  # flat pictures hold no information anywhere: all places count alike
            similarity = (structure * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))
            score = score * similarity.abs() ** exponent
        return score


def iw_ssim(original: Tensor, distorted: Tensor) -> Tensor:
    """IW-SSIM (N,) of two batches of pictures; shapes and range as in `Reference.score`."""
    return Reference(original).score(distorted)


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """A function that scores distorted pixels (H, W, 3) against the original's, on the CPU; no side below 161."""
    with torch.inference_mode():
        reference = Reference(_batch(original))

    def score(distorted: Pixels) -> float:
        if np.array_equal(original, distorted):
            return 1.0
        with torch.inference_mode():
            return float(reference.score(_batch(distorted)))

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
    return mirrored(plane, _BINOMIAL)


class _Windows:
    """Local moments of one band of the original, in windows of 11x11."""

    def __init__(self, x: Tensor) -> None:
        self._x = x
        self._mean, square = windowed(torch.cat([x, x * x], 1), _GAUSSIAN).chunk(2, 1)
        self._variance = F.relu(square - self._mean**2)

    def similarity(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """SSIM's luminance term and its contrast and structure term, (N, 1, H - 10, W - 10) each."""
        mean_y, square_y, product = windowed(torch.cat([y, y * y, self._x * y], 1), _GAUSSIAN).chunk(3, 1)
        mean_x, variances = self._mean, self._variance + F.relu(square_y - mean_y**2)
        luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
        return luminance, (2 * (product - mean_x * mean_y) + _C2) / (variances + _C2)


class _Neighbourhoods:
    """Neighbourhoods of 3x3 samples of one band of the original, as a Gaussian scale mixture.

    A multiplier s (N, 1, H - 2, W - 2) of a vector of covariance C_u, of which the eigenvalues count.
    """

    def __init__(self, x: Tensor, parent: Tensor | None) -> None:
        self._x = x
        self._mean, square = _means(x, x * x)
        self._variance = F.relu(square - self._mean**2)
        self._flat = self._variance < _SMALL
        with torch.no_grad():
            self._s, self._eigenvalues = _scale_mixture(x, parent)

    def information(self, y: Tensor) -> Tensor:
        """Information that is shared by what the eye takes up of both pictures, bits: (N, 1, H - 2, W - 2).

        Distorted neighbourhoods are g times the original's, plus noise of variance v; the eye adds noise of its own to
        both.
        """
        mean_y, square_y, product = _means(y, y * y, self._x * y)
        variance_y = F.relu(square_y - mean_y**2)
        covariance = product - self._mean * mean_y
        g = covariance / (self._variance + _SMALL)
        v = variance_y - g * covariance
        flat = variance_y < _SMALL
        v = torch.where(self._flat, variance_y, v).masked_fill(flat, 0)
        g = g.masked_fill(self._flat | flat, 0)
        both, own = v + (1 + g * g) * _NOISE, _NOISE * v
        # A sum over at most ten eigenvalues, one at a time: all at once would take ten times the memory.
        bits = torch.zeros_like(both)
        for eigenvalue in self._eigenvalues.unbind(-1):
            bits = bits + torch.log2(1 + (both * self._s * eigenvalue.view(-1, 1, 1, 1) + own) / _NOISE**2)
        return torch.where(bits < _SMALL, 0, bits)


def _means(*planes: Tensor) -> Sequence[Tensor]:
    return windowed(torch.cat(planes, 1), _BOX).chunk(len(planes), 1)


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
