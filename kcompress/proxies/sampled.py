"""Random samples of what a codec may decode, drawn from its simulator, with derivatives that training cannot exploit.

A simulator predicts expected pictures and expected bits. A preprocessor that is trained on these values learns two
things that do not help with the real codec. It corrects the expected error in advance, although the errors of a real
file scatter around it. And it adds patterns for which the simulator's context networks predict fewer bits. Hence:

- Levels are drawn at random: each has an error of rounding, and is 0 with the probability that the simulator predicts.
- Outputs of the context networks count as constants, so no derivatives pass through them.
- Whether a coefficient becomes 0 is judged by the derivative of the cost halfway between its value and 0, as
  `training.exact_jpeg` does for levels. A cost that is far from quadratic, such as a model's loss, follows the
  expected picture instead.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.simulator import SIDE, DistortionNetwork, Simulator
from kcompress.proxies.straight_through import straight_through

_NOISE = 0.5
"""Width of the uniform error of rounding, in steps of the simulator, which learned wider ones than the codec has.

With it the PSNR of samples is near that of the codec: on average over 48 patches at all qualities 1.1 dB above JPEG's,
1.4 above WebP's and 2.2 below HEVC's. With a width of 1 it would be up to 5 dB too low at coarse qualities.
"""

_QP = 1 / 51
"""A step of HEVC's scale as coarseness."""


@dataclass(frozen=True)
class Sample:
    """Sample of a simulated codec.

    Attributes:
        bits: expected bits per pixel, (N,), differentiable by the picture, with contexts as constants.
        units: DCT coefficients of the picture in steps, (N, 192, h, w), differentiable.
        kept: probability that a coefficient is not coded as 0, same shape, differentiable.
        decoded: picture of the drawn levels, (N, 3, H, W), with the derivatives of the expected picture.
        in_units: function from pictures (N, 3, H, W) to their coefficients in steps.
        in_pixels: function from changes of coefficients, in steps, to changes of pixels.
    """

    bits: Tensor
    units: Tensor
    kept: Tensor
    decoded: Tensor
    in_units: Callable[[Tensor], Tensor]
    in_pixels: Callable[[Tensor], Tensor]

    def path(self, original: Tensor, decoded: Tensor, by_pixels: Tensor) -> Tensor:
        """Sums (N,) to differentiate in place of the expected cost C; their values mean nothing.

        A coefficient u is kept with probability p and becomes 0 otherwise: the expected cost is p C(u) + (1 - p) C(0).
        Its derivative by u is p C'(u); by p it is C(u) - C(0), about u C'(u / 2). C' is taken as linear around the
        decoded level, with the slope of `diagonal_hessian`.

        Args:
            original: pictures (N, 3, H, W), 0..1, that the cost compares with.
            decoded: what it compares, a sample or the encoder's own picture.
            by_pixels: derivatives of the cost by the pixels of ``decoded``.
        """
        units, decoded = self.units.detach(), decoded.detach()
        error, levels = self.in_units(decoded - original), self.in_units(decoded)
        still = torch.zeros_like(levels).requires_grad_()
        with torch.enable_grad():
            (slopes,) = torch.autograd.grad(self.in_pixels(still), still, by_pixels)
        bend = diagonal_hessian(slopes, error)
        as_it_is, halfway = (slopes + bend * (place - levels) for place in (units, units / 2))
        return (as_it_is * self.kept.detach() * self.units + halfway * units * self.kept).flatten(1).sum(1)


def sample(simulator: Simulator, picture: Tensor, coarseness: Tensor) -> Sample:
    """Draw a sample of pictures (N, 3, H, W), 0..1, at coarsenesses (N,), with torch's random numbers."""
    network: DistortionNetwork = simulator.distortion
    units, steps, kept, _ = network.seen(picture, coarseness, still=True)
    height, width = picture.shape[-2:]

    def in_pixels(levels: Tensor) -> Tensor:
        return network.blocks.synthesise(levels * steps, height, width)

    with torch.no_grad():
        rounded = units + _NOISE * (torch.rand_like(units) - 0.5)
        levels = torch.where(torch.rand_like(units) < kept, rounded, 0.0)
        drawn = (picture + in_pixels(levels - units)).clamp(0, 1)
    decoded = straight_through(drawn, picture + in_pixels(units * (kept - 1)))
    bits = simulator.rate(picture, coarseness, still=True)
    return Sample(bits, units, kept, decoded, lambda seen: network.blocks.analyse(seen) / steps, in_pixels)


def displaced(
    draw: Callable[[Tensor, Tensor], Sample | None], picture: Tensor, coarseness: Tensor
) -> tuple[Tensor, Tensor]:
    """Pictures and bits per pixel, as a proxy gives them, of a sample that does not lie on the grid of blocks.

    The picture lies anywhere on the grid, and each coarseness is up to one QP off, so that a training does not learn
    what serves one grid and one size of steps alone. ``draw`` is `sample` of some simulator.
    """
    height, width = picture.shape[-2:]
    top, left = torch.randint(SIDE, (2,)).tolist()
    padded = F.pad(picture, (left, SIDE - left, top, SIDE - top), mode="replicate")
    found = draw(padded, coarseness + _QP * (2 * torch.rand_like(coarseness) - 1))
    assert found is not None  # of other proxies there are no samples
    bits = found.bits * (padded.shape[-2] * padded.shape[-1] / (height * width))
    return found.decoded[..., top : top + height, left : left + width], bits
