"""A learned codec as the proxy of a real one: the joint autoregressive and hierarchical prior model.

"Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (Minnen, Balle, Toderici 2018).
"Preprocessing Enhanced Image Compression for Machine Vision" (NPP, section 3.3) takes it for the traditional codec
where gradients are wanted. It compresses by itself, by a transform, a quantiser and a model of probabilities, and is
then tuned to show what the real decoder shows: see ``training.minnen``. It serves in trainings alone, so it counts
bits and writes none.

What differs from the paper:

- One network serves all qualities. NPP has a proxy for every QP, and its third stage, which draws QPs at random, needs
  them all; here the latents are multiplied before the quantiser and after it by gains for every channel that are
  functions of the coarseness ("Asymmetric Gained Deep Image Compression with Continuous Rate Adaptation", Cui et al.
  2021).
- It is small, for it trains and serves on a CPU, and starts as a transform that is known to be good, not at random.
- Latents are rounded about the part of their mean that hyper-latents give, as the part that depends on latents before
  them is known to a decoder only one after the other. All of the mean enters the probabilities.
"""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module
from kcompress.training.proxies.gdn import GDN
from kcompress.training.proxies.klt import stages
from kcompress.training.proxies.priors import FactorisedPrior, MaskedConv, gaussian_bits, quantised

NETWORK = "minnen"
"""What its weights are called."""

SIDE = 64
"""Pixels of a picture for one hyper-latent: sides are padded to multiples of it."""

_KERNEL = 5
_PACE = 1 / 32
_HYPER_GAIN = 2.0
"""Of the hyper-latents at the start, so that rounding leaves something of them."""


class Minnen(nn.Module):
    """A codec: pictures (N, 3, H, W), 0..1, and coarsenesses (N,), 0..1 -> decoded pictures, likewise, and bpp (N,).

    Sides may be any. Decoded pictures are neither rounded nor clamped. All bits are those of the true pixels.

    In training mode uniform noise, from torch's own generator, stands for rounding; in evaluation latents are rounded,
    and gradients pass as if they were not. So both modes have gradients with respect to the picture.

    Args:
        width: channels of the inner stages; the outermost, which cost the most, have two thirds of them.
        latent: channels of the latents, at a sixteenth of the sides.
    """

    def __init__(self, width: int = 48, latent: int = 128) -> None:
        super().__init__()
        widths = (max(1, 2 * width // 3), width, width, latent)
        start = stages(widths)
        self.analysis = _analysis(widths)
        self.synthesis = _synthesis(widths)
        _start(self.analysis, self.synthesis, [stage.basis for stage in start])
        self.gain = _Gain(latent, _finest_gain(), _SLOPE)
        self.inverse_gain = _Gain(latent, -_finest_gain(), -_SLOPE)
        deviations = F.pad(start[-1].deviations, (0, latent - len(start[-1].deviations)), value=1e-3) / 3
        self.entropy = Entropy(width, latent, deviations)

    def forward(self, picture: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        height, width = picture.shape[-2:]
        padded = F.pad(picture.float() - 0.5, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
        latents = self.analysis(padded).float()
        chosen, bits = self.entropy(latents, self.gain(coarseness), coarseness)
        shown = self.synthesis(chosen * self.inverse_gain(coarseness)).float() + 0.5
        return shown[..., :height, :width], bits / (height * width)


def shipped(codec: str) -> Minnen:
    """The proxy of a codec that came along, not to be trained any further.

    Raises:
        WeightsError: none did for this codec.
    """
    return opened(weight_files.folder() / f"{NETWORK}-{codec}.safetensors")


def opened(path: Path) -> Minnen:
    """A proxy from its file, in evaluation mode, not to be trained any further.

    Raises:
        WeightsError: missing, or other weights, or none that fit.
    """
    weights = weight_files.open_weights(path, NETWORK)
    proxy: Minnen = torch_module(weights, Minnen)
    return proxy.eval().requires_grad_(False)


class Entropy(nn.Module):
    """Latents (N, M, h, w), gains (N, M, 1, 1) and coarsenesses (N,) -> quantised latents, in steps, and bits (N,).

    Each latent is a Gaussian whose mean and scale follow from hyper-latents, at a quarter of the sides, and from the
    latents before it in the order of rows. h and w are multiples of 4.

    Args:
        width: channels inside, and of the hyper-latents.
        latent: M.
        deviations: (M,), standard deviations that latents are expected to have at the start.
    """

    def __init__(self, width: int, latent: int, deviations: Tensor) -> None:
        super().__init__()
        self.spread = nn.Parameter(deviations.log()[:, None, None])
        self.hyper_analysis = nn.Sequential(
            nn.Conv2d(2 * latent, width, 3, padding=1), nn.LeakyReLU(0.2),
            _down(width, width), nn.LeakyReLU(0.2), _down(width, width),
        )  # fmt: skip
        self.hyper_gain = _Gain(width, math.log(_HYPER_GAIN), 0)
        self.hyper_prior = FactorisedPrior(width)
        self.hyper_synthesis = nn.Sequential(
            _up(width, width), nn.LeakyReLU(0.2), _up(width, width), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * latent, 3, padding=1),
        )  # fmt: skip
        self.context = MaskedConv(latent, 2 * width, _KERNEL)
        self.parameters_of = nn.Sequential(
            nn.Conv2d(latent + 2 * width + 1, latent, 1), nn.LeakyReLU(0.2), nn.Conv2d(latent, 2 * latent, 1)
        )
        for network in (self.hyper_analysis, self.hyper_synthesis, self.context, self.parameters_of):
            _keep_size(network)
        for network in (self.hyper_synthesis, self.parameters_of):  # at first a mean of 0, and the scale expected
            for parameter in network[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, latents: Tensor, gain: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        # Networks see latents in units of their spread, which quality does not change; quantiser and bits, in steps.
        spread = self.spread.exp()
        steps = gain * spread
        seen = latents / spread
        hyper = self.hyper_analysis(torch.cat([seen, (8 * seen.abs()).log1p()], dim=1)).float()
        hyper = hyper * self.hyper_gain(coarseness)
        hyper = quantised(hyper, noisy=self.training)
        with torch.autocast(latents.device.type, enabled=False):
            hyper_bits = self.hyper_prior(hyper)
        centre, told = self.hyper_synthesis(hyper / self.hyper_gain(coarseness)).float().chunk(2, dim=1)
        middle = centre * steps
        residual = latents * gain - middle
        rounded = quantised(residual, noisy=False) + middle
        chosen = quantised(residual, noisy=True) + middle if self.training else rounded
        # Where a step is more than the spread, all that could be seen is the quantiser's noise: not in large numbers.
        mean, scale = self.gaussians(chosen / (1 + steps.square()).sqrt(), told, coarseness)
        with torch.autocast(latents.device.type, enabled=False):
            bits = gaussian_bits(chosen - middle - mean * steps, scale * steps)
        return rounded, bits.flatten(1).sum(1) + hyper_bits.flatten(1).sum(1)

    def gaussians(self, chosen: Tensor, told: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        """What a decoder expects of latents: means, beside what hyper-latents gave, and scales, in units of spread.

        Args:
            chosen: latents (N, M, h, w), about 1 in size, of which each is expected from those before it.
            told: by hyper-latents, (N, M, h, w).
            coarseness: (N,).
        """
        level = (2 * coarseness.float() - 1)[:, None, None, None].expand(-1, 1, *chosen.shape[2:])
        seen = torch.cat([told, self.context(chosen).float(), level], dim=1)
        mean, logarithm = self.parameters_of(seen).float().chunk(2, dim=1)
        return mean, logarithm.clamp(-10, 5).exp()


class _Gain(nn.Module):
    """Coarsenesses (N,) -> gains (N, C, 1, 1): for every channel a parabola of the logarithm.

    Args:
        channels: C.
        finest: logarithm at coarseness 0, at the start.
        slope: from there to coarseness 1.
    """

    def __init__(self, channels: int, finest: float, slope: float) -> None:
        super().__init__()
        self.parabola = nn.Parameter(torch.tensor([finest, slope, 0.0])[:, None].repeat(1, channels))

    def forward(self, coarseness: Tensor) -> Tensor:
        value = coarseness.float()[:, None]
        constant, linear, square = self.parabola
        logarithms: Tensor = constant + value * (linear + value * square)
        return logarithms.clamp(-9, 9).exp()[:, :, None, None]


def quantiser_step(coarseness: Tensor) -> Tensor:
    """HEVC's step, 2 ** ((QP - 4) / 6) grey levels, of coarsenesses (N,): QP is 51 times that."""
    step: Tensor = torch.exp2((51 * coarseness - 4) / 6)
    return step


_SLOPE = -51 / 6 * math.log(2)


def _finest_gain() -> float:
    """Logarithm of the gain at coarseness 0: one step of the latents is then HEVC's quantiser step.

    Latents are of vectors of three colours, whose length is sqrt(3) times the grey that they are.
    """
    return math.log(255) + 4 / 6 * math.log(2) - math.log(3) / 2


def _down(seen: int, told: int) -> nn.Conv2d:
    return nn.Conv2d(seen, told, _KERNEL, stride=2, padding=_KERNEL // 2)


def _up(seen: int, told: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(seen, told, _KERNEL, stride=2, padding=_KERNEL // 2, output_padding=1)


class _SlowDown(nn.Conv2d):
    """By 2; the weights are ``_PACE`` times what is learned, so an optimiser of Adam's kind changes them slowly.

    ("Progressive Growing of GANs", Karras et al. 2018, section 4.1.) For the transforms are good at the start, and the
    entropy model is not.
    """

    def __init__(self, seen: int, told: int) -> None:
        super().__init__(seen, told, _KERNEL, stride=2, padding=_KERNEL // 2)

    def forward(self, values: Tensor) -> Tensor:
        return F.conv2d(values, _PACE * self.weight, self.bias, self.stride, self.padding)


class _SlowUp(nn.ConvTranspose2d):
    """Likewise."""

    def __init__(self, seen: int, told: int) -> None:
        super().__init__(seen, told, _KERNEL, stride=2, padding=_KERNEL // 2, output_padding=1)

    def forward(self, values: Tensor, output_size: list[int] | None = None) -> Tensor:
        return F.conv_transpose2d(
            values, _PACE * self.weight, self.bias, self.stride, self.padding, self.output_padding
        )


@torch.no_grad()
def _keep_size(network: nn.Module) -> None:
    """Random weights that neither shrink nor grow what passes through ("Delving Deep into Rectifiers", He et al. 2015)."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            taps = layer.in_channels * math.prod(layer.kernel_size)
            if isinstance(layer, nn.ConvTranspose2d):
                taps //= math.prod(layer.stride)
            nn.init.normal_(layer.weight, std=(2 / taps) ** 0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)


def _analysis(widths: tuple[int, ...]) -> nn.Sequential:
    """Pictures to latents: convolutions by 2, and GDN between them."""
    layers: list[nn.Module] = [_SlowDown(3, widths[0])]
    for before, after in pairwise(widths):
        layers += [GDN(before), _SlowDown(before, after)]
    return nn.Sequential(*layers)


def _synthesis(widths: tuple[int, ...]) -> nn.Sequential:
    """Latents to pictures: the other way round."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths[::-1]):
        layers += [_SlowUp(before, after), GDN(after, inverse=True)]
    return nn.Sequential(*layers, _SlowUp(widths[0], 3))


@torch.no_grad()
def _start(analysis: nn.Sequential, synthesis: nn.Sequential, bases: list[Tensor]) -> None:
    """Make the transforms those of the bases; channels that are left are random, and the synthesis ignores them."""
    downs = [layer for layer in analysis if isinstance(layer, nn.Conv2d)]
    ups = [layer for layer in synthesis if isinstance(layer, nn.ConvTranspose2d)][::-1]
    for down, up, basis in zip(downs, ups, bases, strict=True):
        told, seen = basis.shape[:2]
        middle = slice(_KERNEL // 2, _KERNEL // 2 + 2)
        down.weight[:told] = 0
        up.weight[:] = 0
        for layer in (down, up):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            layer.weight[:told, :seen, middle, middle] = basis / _PACE
