"""Differentiable metrics as objectives of trainings and searches: finite everywhere, higher is better."""

from collections.abc import Callable

import torch
from torch import Tensor

from kcompress.metrics.butteraugli import butteraugli
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


SCORES: dict[str, Score] = {
    "ssimulacra2": ssimulacra2, "butteraugli": _butteraugli, "psnr-hvs-m": _psnr_hvs_m, "psnr": _psnr, "vif": _vif,
}  # fmt: skip
"""Score functions by name; VIF is in per cent."""
