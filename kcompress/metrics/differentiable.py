"""Metrics as functions of tensors that a training or a search can descend: finite everywhere, higher is better."""

from collections.abc import Callable

import torch
from torch import Tensor

from kcompress.metrics.butteraugli import butteraugli
from kcompress.metrics.psnr_hvs_m import masked_error
from kcompress.metrics.ssimulacra2 import ssimulacra2
from kcompress.metrics.vif import vif

Score = Callable[[Tensor, Tensor], Tensor]


def _psnr_hvs_m(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, finite where nothing of a difference is seen."""
    return -10 * torch.log10(masked_error(original, distorted) / 255**2 + 1e-7)


def _psnr(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, finite where nothing was lost."""
    return -10 * torch.log10((original - distorted).square().flatten(1).mean(1) + 1e-7)


def _vif(original: Tensor, distorted: Tensor) -> Tensor:
    return 100 * vif(original, distorted)


def _butteraugli(original: Tensor, distorted: Tensor) -> Tensor:
    """The metric, higher for better."""
    return -butteraugli(original, distorted)


SCORES: dict[str, Score] = {
    "ssimulacra2": ssimulacra2, "butteraugli": _butteraugli, "psnr-hvs-m": _psnr_hvs_m, "psnr": _psnr, "vif": _vif,
}  # fmt: skip
"""Of two batches (N, 3, H, W) 0..1: (N,), higher is better, differentiable; VIF in per cent."""
