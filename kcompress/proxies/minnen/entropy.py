"""Entropy model of a learned codec: hyper-latents, autoregressive context, and a Gaussian for each latent.

"Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (Minnen, Balle, Toderici 2018), figure 1.
"""

import math

import torch
from torch import Tensor, nn

from kcompress.proxies.minnen.priors import FactorisedPrior, MaskedConv, gaussian_bits, quantise

_KERNEL = 5
_FINEST_HYPER_GAIN, _HYPER_SLOPE = math.log(4), -2.0
"""Initial log gain of hyper-latents at coarseness 0, and its change up to 1: fine qualities keep more of them."""


class Entropy(nn.Module):
    """Rounded latents, in quantiser steps, and their bits.

        latents y (N, M, h, w) -> h_a -> z (N, width, h/4, w/4) -> * gain -> round -> z_hat -> h_s -> centre, hyper
        y * gain - centre -> round -> y_hat (N, M, h, w); masked context of y_hat, hyper -> mean, scale -> bits (N,)

    Also takes gains (N, M, 1, 1) and coarseness (N,). h and w are multiples of 4; M is ``latent``. The deviations (M,)
    are the latents' initial standard deviations.
    """

    def __init__(self, width: int, latent: int, deviations: Tensor) -> None:
        super().__init__()
        self.spread = nn.Parameter(deviations.log()[:, None, None])
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(2 * latent, width, 1), nn.LeakyReLU(0.2),
            _down(width, width), nn.LeakyReLU(0.2), _down(width, width),
        )  # fmt: skip
        self.hyper_gain = Gain(width, _FINEST_HYPER_GAIN, _HYPER_SLOPE)
        self.hyper_prior = FactorisedPrior(width)
        self.hyper_synthesis = nn.Sequential(
            _up(width, width), nn.LeakyReLU(0.2), _up(width, width), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * latent, 3, padding=1),
        )  # fmt: skip
        self.context = MaskedConv(latent, width, _KERNEL)
        self.parameters_of = nn.Sequential(
            nn.Conv2d(latent + width + 1, 2 * width, 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 2 * latent, 1)
        )
        for network in (self.hyper_analysis, self.hyper_synthesis, self.context, self.parameters_of):
            _keep_size(network)
        for network in (self.hyper_synthesis, self.parameters_of):  # at first a mean of 0, and the scale expected
            for parameter in network[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, latents: Tensor, gain: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        # Networks see latents in units of their spread, which quality does not change; quantiser and bits in steps.
        spread = self.spread.exp()
        steps = gain * spread
        units = latents / spread
        hyper = self.hyper_analysis(torch.cat([units, (8 * units.abs()).log1p()], dim=1)).float()
        hyper_step = 1 / self.hyper_gain(coarseness)
        hyper = quantise(hyper / hyper_step, noisy=self.training) * hyper_step
        with torch.autocast(latents.device.type, enabled=False):
            hyper_bits = self.hyper_prior(hyper, hyper_step)
        centre, features = self.hyper_synthesis(hyper).float().chunk(2, dim=1)
        middle = centre * steps
        residual = latents * gain - middle
        rounded = quantise(residual, noisy=False) + middle
        chosen = quantise(residual, noisy=True) + middle if self.training else rounded
        # Where a step exceeds the spread, latents are the quantiser's noise, and must not be large numbers.
        mean, scale = self.gaussians(chosen / (1 + steps.square()).sqrt(), features, coarseness)
        with torch.autocast(latents.device.type, enabled=False):
            bits = gaussian_bits(chosen - middle - mean * steps, scale * steps)
        return rounded, bits.flatten(1).sum(1) + hyper_bits.flatten(1).sum(1)

    def gaussians(self, latents: Tensor, hyper: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        """Means, beside the hyper-latents' part, and scales of latents, (N, M, h, w) each, in units of spread.

        Latents (N, M, h, w) are about 1 in size; each is predicted from those before it, and from features of the
        hyper-latents (N, M, h, w) and coarseness (N,).
        """
        level = (2 * coarseness.float() - 1)[:, None, None, None].expand(-1, 1, *latents.shape[2:])
        features = torch.cat([hyper, self.context(latents).float(), level], dim=1)
        mean, logarithm = self.parameters_of(features).float().chunk(2, dim=1)
        return mean, logarithm.clamp(-10, 5).exp()


class Gain(nn.Module):
    """Gains (N, C, 1, 1) of coarseness (N,): log gain is a parabola for each channel.

    It starts as ``finest`` at coarseness 0, and changes by ``slope`` up to 1.
    """

    def __init__(self, channels: int, finest: float, slope: float) -> None:
        super().__init__()
        self.parabola = nn.Parameter(torch.tensor([finest, slope, 0.0])[:, None].repeat(1, channels))

    def forward(self, coarseness: Tensor) -> Tensor:
        value = coarseness.float()[:, None]
        constant, linear, square = self.parabola
        logarithms: Tensor = constant + value * (linear + value * square)
        return logarithms.clamp(-9, 9).exp()[:, :, None, None]


def _down(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, _KERNEL, stride=2, padding=_KERNEL // 2)


def _up(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(in_channels, out_channels, _KERNEL, stride=2, padding=_KERNEL // 2, output_padding=1)


@torch.no_grad()
def _keep_size(network: nn.Module) -> None:
    """Initialise weights so that variance is kept ("Delving Deep into Rectifiers", He et al. 2015)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            taps = layer.in_channels * math.prod(layer.kernel_size)
            if isinstance(layer, nn.ConvTranspose2d):
                taps //= math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=(2 / taps) ** 0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
