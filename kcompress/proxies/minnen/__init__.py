"""A learned codec as the proxy of a real one: the joint autoregressive and hierarchical prior model.

"Joint Autoregressive and Hierarchical Priors for Learned Image Compression" (Minnen, Balle, Toderici 2018).
"Preprocessing Enhanced Image Compression for Machine Vision" (NPP, section 3.3) takes it for the traditional codec
where gradients are wanted. It is a codec of its own (transform, quantiser, entropy model), then tuned to reconstruct
what the real decoder does. It serves in trainings alone, so it counts bits and writes none.

What differs from the paper:

- One network serves all qualities; NPP has a proxy for every QP. Latents are multiplied before and after the quantiser
  by gains of each channel, functions of coarseness ("Asymmetric Gained Deep Image Compression with Continuous Rate
  Adaptation", Cui et al. 2021).
- It is small, to train and serve on a CPU, and starts as the Karhunen-Loeve transform, not at random.
- Hyper-latents see magnitudes of latents beside the latents themselves, as in Balle et al. (2018).
- Latents are rounded about the part of their mean that hyper-latents give: a decoder knows the other part, by context,
  only one latent after the other. All of the mean enters the probabilities.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.proxies.minnen.entropy import Entropy, Gain
from kcompress.proxies.minnen.klt import stages
from kcompress.proxies.minnen.transforms import transforms

NETWORK = "minnen"
"""Name of its weights."""

SIDE = 64
"""Side of a hyper-latent in the picture, pixels: sides are padded to multiples of it."""

_FINEST, _SLOPE = math.log(255 / 3**0.5) + 4 / 6 * math.log(2), -51 / 6 * math.log(2)
"""Initial log gain at coarseness 0, and its change up to coarseness 1: gains start as 1 / HEVC's quantiser step.

Grey is sqrt(3) times as long in the orthonormal transform of three colours as in levels.
"""


class Minnen(nn.Module):
    """The proxy codec.

        picture x (N, 3, H, W) -> g_a -> y (N, latent, H/16, W/16) -> * gain -> round -> y_hat -> / gain -> g_s -> x_hat
                                  y -> h_a -> z (N, width, H/64, W/64) -> round -> z_hat -> h_s -> mean, scale of y_hat
                                  bits of y_hat (Gaussian) + bits of z_hat (factorised prior) -> / (H W) -> bpp (N,)

    The second input is coarseness (N,), 0..1. Sides may be any; x_hat is neither rounded nor clamped.

    Rounding is straight-through. In training mode bits are counted with uniform noise, from torch's own generator, in
    place of rounding ("Channel-wise Autoregressive Entropy Models", Minnen and Singh 2020, section 3.3).

    Args:
        width: channels at a quarter of the sides; half as many at the half, a third more at an eighth.
        latent: channels of y, out of 768 numbers for 16x16 pixels; bounds the quality at fine settings.
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
        decoded = self.synthesis(rounded * self.inverse_gain(coarseness)).float() + 0.5
        return decoded[..., :height, :width], bits / (height * width)


def quantiser_step(coarseness: Tensor) -> Tensor:
    """HEVC's quantiser step, 2 ** ((QP - 4) / 6) grey levels, of coarseness (N,) = QP / 51: (N,)."""
    step: Tensor = torch.exp2((51 * coarseness - 4) / 6)
    return step
