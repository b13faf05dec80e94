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
- Hyper-latents follow from the sizes of latents beside the latents themselves, as those of Balle et al. (2018) do.
- Latents are rounded about the part of their mean that hyper-latents give, as the part that depends on latents before
  them is known to a decoder only one after the other. All of the mean enters the probabilities.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module
from kcompress.proxies.minnen.entropy import Entropy, Gain
from kcompress.proxies.minnen.klt import stages
from kcompress.proxies.minnen.transforms import transforms

NETWORK = "minnen"
"""What its weights are called."""

SIDE = 64
"""Pixels of a picture for one hyper-latent: sides are padded to multiples of it."""

_FINEST, _SLOPE = math.log(255 / 3**0.5) + 4 / 6 * math.log(2), -51 / 6 * math.log(2)
"""Logarithm of the gains, which are one over HEVC's quantiser step at the start: at coarseness 0, and from there to 1.

Grey is sqrt(3) times as long in the orthonormal transform of three colours as it is in levels.
"""


class Minnen(nn.Module):
    """A codec: pictures (N, 3, H, W), 0..1, and coarsenesses (N,), 0..1 -> decoded pictures, likewise, and bpp (N,).

    Sides may be any. Decoded pictures are neither rounded nor clamped. All bits are those of the true pixels.

    Latents are rounded, and gradients pass as if they were not: so they reach the picture. In training mode bits are
    counted with uniform noise, from torch's own generator, in the place of rounding ("Channel-wise Autoregressive
    Entropy Models", Minnen and Singh 2020, section 3.3: noise for the rate, rounding for the distortion).

    Args:
        width: channels at a quarter of the sides; there are half as many at the half, which cost the most, and a third
            more at an eighth.
        latent: channels of the latents, at a sixteenth of the sides: of 768 numbers for 16x16 pixels so many are kept,
            which bounds what fine qualities can show.
    """

    def __init__(self, width: int = 48, latent: int = 192) -> None:
        super().__init__()
        widths = (width // 2, width, 4 * width // 3, latent)
        start = stages(widths)
        self.analysis, self.synthesis = transforms(widths, [stage.basis for stage in start])
        self.gain = Gain(latent, _FINEST, _SLOPE)
        self.inverse_gain = Gain(latent, -_FINEST, -_SLOPE)
        known = start[-1].deviations / 3  # most places in a photograph have less than its root mean square
        self.entropy = Entropy(width, latent, F.pad(known, (0, latent - len(known)), value=1e-3))

    def forward(self, picture: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        height, width = picture.shape[-2:]
        padded = F.pad(picture.float() - 0.5, (0, -width % SIDE, 0, -height % SIDE), mode="replicate")
        latents = self.analysis(padded).float()
        rounded, bits = self.entropy(latents, self.gain(coarseness), coarseness)
        shown = self.synthesis(rounded * self.inverse_gain(coarseness)).float() + 0.5
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


def quantiser_step(coarseness: Tensor) -> Tensor:
    """HEVC's step, 2 ** ((QP - 4) / 6) grey levels, of coarsenesses (N,): QP is 51 times that."""
    step: Tensor = torch.exp2((51 * coarseness - 4) / 6)
    return step
