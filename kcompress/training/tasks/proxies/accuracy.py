"""Accuracy of a simulator of a codec: metrics over patches in several versions."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.proxies.jpeg import DifferentiableJpeg, standard_quantiser_steps
from kcompress.training.tasks.proxies.coded_patches import CodedPatches

FLOOR = 0.01
"""Bits per pixel that are added before logarithms: what is next to nothing does not count."""

_CPU = torch.device("cpu")
Proxy = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Pictures (N, 3, H, W) and coarsenesses (N,) -> decoded pictures and bits per pixel."""

METRICS = {
    "psnr_to_the_decoder_db": "mean PSNR between simulated and real decode",
    "psnr_gain_db": "of it over the picture itself, which is what predicting no distortion gives",
    "bpp_error_percent": "root mean square of the relative error of bits per pixel, by its logarithm",
    "ln_bpp_correlation": "Pearson's, of simulated and real ln(bpp)",
    "ln_bpp_difference_error": "root mean square error of the change of ln(bpp) by a preprocessing",
    "ln_bpp_difference_spread": "root mean square of that change itself: the error of predicting none",
    "ln_bpp_difference_correlation": "Pearson's, of simulated and real change",
}


def decibels(one: Tensor, other: Tensor) -> Tensor:
    """PSNR (N,) of batches (N, 3, H, W), 0..1; at most 60 dB."""
    return -10 * torch.log10((one - other).square().flatten(1).mean(1) + 1e-6)


def logarithm(bpp: Tensor) -> Tensor:
    """ln(bpp), finite for empty pictures."""
    return (bpp.clamp(min=0) + FLOOR).log()


def changes(logarithms: Tensor, versions: int) -> Tensor:
    """By how much ln(bpp) (M,) of every version differs from that of the patch itself: (N, V - 1)."""
    each = logarithms.reshape(-1, versions)
    return each[:, 1:] - each[:, :1]


@torch.no_grad()
def accuracy(proxy: Proxy, patches: CodedPatches, codec: str, device: torch.device = _CPU) -> dict[str, float]:
    """``METRICS`` of a proxy on a device: of a simulator, or for JPEG of the exact one."""
    quality, gain, simulated, real = [], [], [], []
    for number in range(len(patches.bpp)):
        seen = patches.batch(codec, np.array([number]))  # all versions of a patch
        decoded, bpp = (part.cpu() for part in proxy(seen.pictures.to(device), seen.coarseness.to(device)))
        found = decibels(decoded.clamp(0, 1), seen.decoded)
        quality.append(found)
        gain.append(found - decibels(seen.pictures, seen.decoded))
        simulated.append(logarithm(bpp))
        real.append(logarithm(seen.bpp))
    ours, truth = torch.cat(simulated), torch.cat(real)
    change, true_change = (changes(values, patches.bpp.shape[1]).flatten() for values in (ours, truth))
    return {
        "psnr_to_the_decoder_db": float(torch.cat(quality).mean()),
        "psnr_gain_db": float(torch.cat(gain).mean()),
        "bpp_error_percent": 100 * float((ours - truth).square().mean().sqrt()),
        "ln_bpp_correlation": _correlation(ours, truth),
        "ln_bpp_difference_error": float((change - true_change).square().mean().sqrt()),
        "ln_bpp_difference_spread": float(true_change.square().mean().sqrt()),
        "ln_bpp_difference_correlation": _correlation(change, true_change),
    }


def exact_jpeg(pictures: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
    """The proxy of ``proxies.jpeg`` in the form of a simulator."""
    qualities = [CODECS["jpeg"].quality.nearest(float(value)) for value in coarseness]
    return DifferentiableJpeg(standard_quantiser_steps(qualities), progressive=True)(pictures)


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])
