"""SSIMULACRA 2.1 in torch: batched, differentiable, on CPU and CUDA, with the original's part computed once.

Source: Jon Sneyers (Cloudinary), "SSIMULACRA 2", July 2022, updated in April 2023, published as code and text at
github.com/cloudinary/ssimulacra2. XYB: libjxl's opsin absorbance. Written from that description.

Borders and the number of scales follow the PyPI package ``ssimulacra2`` 0.3, whose scores these equal: its blur sees
zeros beyond the left and right edge and a mirror beyond the upper and lower one, and a scale with a side below 8 is
left out. Cloudinary's C++ sees zeros beyond all four edges and takes one scale more of a small picture. On a
photograph of 640x400 that makes 0.1 points at score 85 and 2.4 at 42; on a crop of 128x128 it can make 20.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from kcompress.images import Pixels
from kcompress.inference.constants import constant
from kcompress.metrics import sides
from kcompress.metrics.filters import filtered, gaussian

SCALES = 6
SMALLEST_SIDE = 8

# Rows of the opsin absorbance matrix (mixes of linear R, G, B, each row sums to 1) and its bias.
_ABSORBANCE = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
_BIAS = 0.0037930732552754493
_C2 = 0.0009  # SSIM's second constant; the first is gone with the denominator of the luminance term

_REACH = 5
_TAPS = gaussian(1.5, _REACH)

# Rows that `prepare` works on at a time on the CPU: a strip's intermediate planes stay in the cache.
_STRIP_PIXELS = 1 << 16

# Weights of the errors: for X, Y and B-Y, a row a scale; of the 1-norm, then of the 4-norm, the weights of
# (SSIM, ringing, blur). Where a picture has fewer scales, the list is read on without a gap, as the reference does.
# fmt: off
_WEIGHTS = torch.tensor([
    0.0, 0.0007376606707406586, 0.0, 0.0, 0.0007793481682867309, 0.0,
    0.0, 0.0004371155730107379, 0.0, 1.1041726426657346, 0.00066284834129271, 0.00015231632783718752,
    0.0, 0.0016406437456599754, 0.0, 1.8422455520539298, 11.441172603757666, 0.0,
    0.0007989109436015163, 0.000176816438078653, 0.0, 1.8787594979546387, 10.94906990605142, 0.0,
    0.0007289346991508072, 0.9677937080626833, 0.0, 0.00014003424285435884, 0.9981766977854967, 0.00031949755934435053,
    0.0004550992113792063, 0.0, 0.0, 0.0013648766163243398, 0.0, 0.0,

    0.0, 0.0, 0.0, 7.466890328078848, 0.0, 17.445833984131262,
    0.0006235601634041466, 0.0, 0.0, 6.683678146179332, 0.00037724407979611296, 1.027889937768264,
    225.20515300849274, 0.0, 0.0, 19.213238186143016, 0.0011401524586618361, 0.001237755635509985,
    176.39317598450694, 0.0, 0.0, 24.43300999870476, 0.28520802612117757, 0.0004485436923833408,
    0.0, 0.0, 0.0, 34.77906344483772, 44.835625328877896, 0.0,
    0.0, 0.0, 0.0, 0.0, 0.0, 0.0,

    0.0, 0.0008680556573291698, 0.0, 0.0, 0.0, 0.0,
    0.0, 0.0005313191874358747, 0.0, 0.00016533814161379112, 0.0, 0.0,
    0.0, 0.0, 0.0, 0.0004179171803251336, 0.0017290828234722833, 0.0,
    0.0020827005846636437, 0.0, 0.0, 8.826982764996862, 23.19243343998926, 0.0,
    95.1080498811086, 0.9863978034400682, 0.9834382792465353,
    0.0012286405048278493, 171.2667255897307, 0.9807858872435379,
    0.0, 0.0, 0.0, 0.0005130064588990679, 0.0, 0.00010854057858411537,
], dtype=torch.float64)
# fmt: on


class Reference:
    """Original, prepared for comparison with any number of distorted versions."""

    def __init__(self, original: Tensor) -> None:
        """Prepare (N, 3, H, W) sRGB, no side below 8: uint8 0..255, or floating 0..1 (what lies outside is clipped).

        Raises:
            UnsupportedError: a side is below 8.
        """
        self._size = sides.of_original("SSIMULACRA2", original, SMALLEST_SIDE)
        self._originals = [_prepared(part) for part in _parts(original)]

    def score(self, distorted: Tensor) -> Tensor:
        """SSIMULACRA 2.1 (N,), float64, of distorted pictures as the original; N may differ where one of the two is 1.

        Higher is better: 100 identical, 90 visually lossless, 70 high, 50 medium, 30 low quality, no lower bound.
        Differentiable; the gradient at identical pictures is 0.

        Raises:
            InputError: the sizes differ.
        """
        sides.check_equal("SSIMULACRA2", self._size, distorted)
        parts = _parts(distorted)
        originals = self._originals * (len(parts) if len(self._originals) == 1 else 1)
        parts *= len(originals) if len(parts) == 1 else 1
        return torch.cat([_score(*pair) for pair in zip(originals, parts, strict=True)])


def ssimulacra2(original: Tensor, distorted: Tensor) -> Tensor:
    """SSIMULACRA 2.1 (N,) of two batches of pictures; shapes and range as in `Reference.score`."""
    return Reference(original).score(distorted)


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 8, on the CPU; range as `Reference.score`."""
    with torch.inference_mode():
        reference = Reference(_batch(original))

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            return reference.score(_batch(distorted)).item()

    return score


@dataclass(frozen=True)
class _Strip:
    """Strip of rows of the original at one scale.

    Attributes:
        rows: position in the picture with mirrored rows, margins of the blur included.
        picture: (N, 3, h + 2 * reach, W) XYB of these rows.
        mean: (N, 3, h, W) local mean.
        variance: (N, channels, h, W) local variance plus SSIM's constant, of the channels whose SSIM counts.
    """

    rows: slice
    picture: Tensor
    mean: Tensor
    variance: Tensor

    def maps(self, distorted: Tensor, counted: list[slice]) -> Iterator[Tensor]:
        """Error maps (N, channels, h, W) of SSIM, ringing and blur; ``distorted`` is XYB of the same rows."""
        mean = _blur(distorted)
        ssim, ringing, blur = counted

        # SSIM without the denominator of its luminance term. Written with the variance of the difference,
        # 2 cov(a, b) = var(a) + var(b) - var(a - b), which float32 keeps exact where the two are nearly equal.
        shift = (mean[:, ssim] - self.mean[:, ssim]).square()
        variances = self.variance + _blur(distorted[:, ssim].square()) - mean[:, ssim].square()
        ratio = (_blur((distorted[:, ssim] - self.picture[:, ssim]).square()) - shift) / variances
        yield (shift + ratio * (1 - shift)).clamp_min(0)

        # Edges that the original lacks (ringing, blocking), and edges that got lost (blur).
        own = slice(_REACH, -_REACH)
        edges, original_edges = (distorted[:, :, own] - mean).abs(), (self.picture[:, :, own] - self.mean).abs()
        change = (1 + edges) / (1 + original_edges) - 1
        yield change[:, ringing].clamp_min(0)
        yield (-change[:, blur]).clamp_min(0)


class _Scale:
    """Original at one scale."""

    def __init__(self, picture: Tensor, weights: Tensor) -> None:
        """Take XYB with mirrored rows (N, 3, H + 2 * reach, W) and weights (3, 2, 3): X, Y, B-Y; norms; error maps."""
        self._counted = _counted(weights)
        self._weights = constant(weights, picture.new_empty(0, dtype=weights.dtype))
        self._pixels = (picture.shape[2] - 2 * _REACH) * picture.shape[3]
        ssim = self._counted[0]
        self._strips = []
        for rows in _strips(picture, 2 * _REACH):
            own = picture[:, :, rows]
            mean = _blur(own)
            variance = _blur(own[:, ssim].square()) - mean[:, ssim].square() + _C2
            self._strips.append(_Strip(rows, own, mean, variance))

    def error(self, distorted: Tensor) -> Tensor:
        """Weighted sum (N,) of the norms of the error maps; ``distorted`` is XYB with mirrored rows."""
        moments: list[list[Tensor]] = [[], [], []]
        for strip in self._strips:
            maps = strip.maps(distorted[:, :, strip.rows], self._counted)
            for found, error in zip(moments, maps, strict=True):
                of_rows = torch.stack([error.sum(-1), error.square().square().sum(-1)], 2)  # (N, channels, 2, h)
                found.append(of_rows.sum(-1, dtype=torch.float64))
        total = []
        for number, (channels, found) in enumerate(zip(self._counted, moments, strict=True)):
            mean = torch.stack(found).sum(0) / self._pixels
            norms = torch.stack([mean[..., 0], _power(mean[..., 1], 0.25)], -1)
            total.append((self._weights[channels, :, number] * norms).sum((-2, -1)))
        return torch.stack(total).sum(0)


def _parts(batch: Tensor) -> list[Tensor]:
    """Parts of a batch: on the CPU one picture each, so that the bits of a score do not depend on the batch."""
    return [batch] if batch.is_cuda else [picture[None] for picture in batch.contiguous()]


def _prepared(original: Tensor) -> list[_Scale]:
    pictures = list(_scales(original))
    return [_Scale(*each) for each in zip(pictures, _weights(len(pictures)), strict=True)]


@cache
def _weights(scales: int) -> tuple[Tensor, ...]:
    """Weights (3, 2, 3) of each scale: X, Y, B-Y; norms; error maps."""
    return _WEIGHTS[: 18 * scales].reshape(3, scales, 2, 3).unbind(1)


def _score(original: list[_Scale], distorted: Tensor) -> Tensor:
    pairs = zip(original, _scales(distorted), strict=True)
    error = 0.9562382616834844 * torch.stack([scale.error(picture) for scale, picture in pairs]).sum(0)
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    return 100 - 10 * _power(error, 0.6276336467831387)


def _counted(weights: Tensor) -> list[slice]:
    """Channels with a nonzero weight, for each error map: the others need not be computed."""
    counted = []
    for number in range(3):
        channels = [channel for channel in range(3) if weights[channel, :, number].any()] or [0]
        # As a slice, which copies nothing: any choice out of three is evenly spaced.
        counted.append(slice(channels[0], channels[-1] + 1, 2 if channels == [0, 2] else 1))
    return counted


def _scales(picture: Tensor) -> Iterator[Tensor]:
    """XYB with mirrored rows, (N, 3, H + 2 * reach, W), at 1:1, 1:2 .. 1:32; downsampled in linear light."""
    linear: Callable[[Tensor], Tensor] = _linear
    for _ in range(SCALES):
        if min(picture.shape[2:]) < SMALLEST_SIDE:
            return
        # Linear light is never held whole: on large pictures fresh memory costs more than arithmetic.
        strips, halves = [_xyb(linear(picture[:, :, :_REACH].flip(2)))], []
        for rows in _strips(picture):
            light = linear(picture[:, :, rows])
            strips.append(_xyb(light))
            halves.append(_halved(light))
        strips.append(_xyb(linear(picture[:, :, -_REACH:].flip(2))))
        yield torch.cat(strips, 2)
        picture, linear = torch.cat(halves, 2), lambda light: light


def _linear(picture: Tensor) -> Tensor:
    """Linear light 0..1 of sRGB (IEC 61966-2-1)."""
    if picture.dtype == torch.uint8:
        levels = _linear(torch.arange(256, device=picture.device) / 255)
        return levels.index_select(0, picture.flatten().int()).view(picture.shape)
    picture = picture.float().clamp(0, 1)
    return torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)


def _xyb(linear: Tensor) -> Tensor:
    """X, Y and B-Y, shifted and scaled to about 0..1, of linear R, G, B."""
    red, green, blue = linear.unbind(1)
    long, middle, short = (
        (a * red).add_(green, alpha=b).add_(blue, alpha=c).add_(_BIAS) ** (1 / 3) for a, b, c in _ABSORBANCE
    )
    # XYB is of cube roots less the bias's; it falls out of X and of B-Y.
    y = (long + middle).mul_(0.5)
    return torch.stack([(long - middle).mul_(7).add_(0.42), y + (0.01 - _BIAS ** (1 / 3)), (short - y).add_(0.55)], 1)


def _halved(linear: Tensor) -> Tensor:
    """Means of 2x2; a last odd row or column stands for itself."""
    height, width = linear.shape[2:]
    # Not padded, as that has no deterministic gradient on CUDA.
    linear = torch.cat([linear, linear[:, :, -1:]], 2) if height % 2 else linear
    linear = torch.cat([linear, linear[..., -1:]], 3) if width % 2 else linear
    upper, lower = linear[:, :, ::2], linear[:, :, 1::2]
    return (upper[..., ::2] + upper[..., 1::2] + lower[..., ::2] + lower[..., 1::2]) / 4


def _strips(picture: Tensor, overlap: int = 0) -> Iterator[slice]:
    """Strips of rows of a picture, with overlap."""
    height, width = picture.shape[2] - overlap, picture.shape[3]
    whole = picture.is_cuda or not torch.is_inference_mode_enabled()  # gradients of strips are whole pictures
    step = height if whole else max(2 * _REACH, _STRIP_PIXELS // width // 2 * 2)  # even, for what is halved
    for top in range(0, height, step):
        yield slice(top, min(top + step, height) + overlap)


def _blur(rows: Tensor) -> Tensor:
    """Gaussian blur of sigma 1.5: (N, C, H + 2 * reach, W) -> (N, C, H, W), zeros left and right."""
    return filtered(pad(filtered(rows, 2, _TAPS), (_REACH, _REACH)), 3, _TAPS)


def _power(x: Tensor, exponent: float) -> Tensor:
    """Power of positive values, 0 otherwise; the gradient at 0 is 0 instead of infinite."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1) ** exponent, 0)


def _batch(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
