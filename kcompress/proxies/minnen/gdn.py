"""Generalised divisive normalisation (GDN): the nonlinearity of learned codecs.

"Density Modeling of Images Using a Generalized Normalization Transformation" (Balle, Laparra, Simoncelli 2016), with
the exponents that "End-to-end Optimized Image Compression" (Balle, Laparra, Simoncelli 2017, section 3) chose for
pictures.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_SMALLEST_BETA = 1e-3
_PEDESTAL = 2.0**-18


class GDN(nn.Module):
    """y_i = x_i / sqrt(beta_i + sum_j gamma_ij x_j ** 2) over the channels of (N, C, H, W), float32 in and out.

    beta and gamma are squares of bounded parameters: they stay positive, and change slowly near 0 ("Efficient Nonlinear
    Transforms for Lossy Image Compression", Balle 2018, section 2). It starts as nearly the identity. The inverse
    multiplies by the square root instead (IGDN of the synthesis): an approximate inverse.
    """

    def __init__(self, channels: int, *, inverse: bool = False) -> None:
        super().__init__()
        self._inverse = inverse
        self.root_beta = nn.Parameter(torch.ones(channels))
        self.root_gamma = nn.Parameter((1e-3 * torch.eye(channels) + 1e-5).sqrt())

    @property
    def beta(self) -> Tensor:
        """Offset (C,), above 0."""
        return bounded(self.root_beta, _SMALLEST_BETA**0.5).square()

    @property
    def gamma(self) -> Tensor:
        """Weights (C, C), above 0: row i weakens channel i by every channel j."""
        return bounded(self.root_gamma, _PEDESTAL).square()

    def forward(self, values: Tensor) -> Tensor:
        with torch.autocast(values.device.type, enabled=False):
            values = values.float()
            norm = F.conv2d(values.square(), self.gamma[:, :, None, None], self.beta)
            return values * (norm.sqrt() if self._inverse else norm.rsqrt())


def bounded(values: Tensor, least: float) -> Tensor:
    """max(values, least); a gradient that would raise a value below the bound still passes."""
    bound: Tensor = _Bounded.apply(values, least)  # type: ignore[no-untyped-call]
    return bound


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: Tensor, least: float) -> Tensor:
        context.save_for_backward(values)
        context.least = least
        return values.clamp(min=least)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = context.saved_tensors
        return gradient * ((values >= context.least) | (gradient < 0)), None
