"""Differentiable metrics as objectives of trainings and searches: finite everywhere, higher is better."""

from collections.abc import Callable

import torch
from pytorch_msssim import ms_ssim
from torch import Tensor

from kcompress.metrics.butteraugli import butteraugli
from kcompress.metrics.iw_ssim import iw_ssim
from kcompress.metrics.psnr_hvs_m import masked_error
from kcompress.metrics.ssimulacra2 import ssimulacra2
from kcompress.metrics.vif import vif

Score = Callable[[Tensor, Tensor], Tensor]
"""Original and distorted batches (N, 3, H, W) 0..1 -> scores (N,)."""


def _psnr_hvs_m(original: Tensor, distorted: Tensor) -> Tensor:
    """PSNR-HVS-M, dB, finite for invisible differences."""
    return -10 * torch.log10(masked_error(original, distorted) / 255**2 + 1e-7)


def _psnr(original: Tensor, distorted: Tensor) -> Tensor:
    """PSNR over RGB, dB, finite for equal pictures."""
    return -10 * torch.log10((original - distorted).square().flatten(1).mean(1) + 1e-7)


def _vif(original: Tensor, distorted: Tensor) -> Tensor:
    return 100 * vif(original, distorted)


def _butteraugli(original: Tensor, distorted: Tensor) -> Tensor:
    """Negative Butteraugli."""
    return -butteraugli(original, distorted)


def _ms_ssim(original: Tensor, distorted: Tensor) -> Tensor:
    """-ln(1 - MS-SSIM): the score itself hardly moves where quality is high."""
    return -torch.log(1 - ms_ssim(distorted, original, data_range=1, size_average=False) + 1e-5)


def _iw_ssim(original: Tensor, distorted: Tensor) -> Tensor:
    """-ln(1 - IW-SSIM)."""
    return -torch.log(1 - iw_ssim(original, distorted) + 1e-5)


SCORES: dict[str, Score] = {
    "ssimulacra2": ssimulacra2, "butteraugli": _butteraugli, "psnr-hvs-m": _psnr_hvs_m, "psnr": _psnr, "vif": _vif,
    "ms-ssim": _ms_ssim, "iw-ssim": _iw_ssim,
}  # fmt: skip
"""Score functions by name. VIF is in per cent; MS-SSIM and IW-SSIM are logarithms and need 161 pixels a side."""
