"""VIF (visual information fidelity) of luma, without credit for enhancement.

Source: Sheikh and Bovik, "Image information and visual quality", IEEE Trans. Image Processing 15 (2006), in the pixel
domain (section IV, remark on implementations), at the four scales of VMAF. Gains g above 1 count as 1, as in VMAF's
NEG models. Flat places of the original count by how flat they stay, as in libvmaf's vif.c.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from kcompress.images import Pixels
from kcompress.metrics import sides
from kcompress.metrics.filters import Taps, gaussian, mirrored

SMALLEST_SIDE = 48
"""Smallest side, pixels: three halvings must leave room for the windows."""

_WINDOWS = (17, 9, 5, 3)
"""Side of the window at each scale; its Gaussian has a fifth of it as standard deviation."""

_SIGMA_N_SQ = 2.0
"""Variance sigma_n^2 of the visual noise, squared levels."""

_FLAT = 4 / 255**2
"""Loss for each squared level of the distorted variance, where the original's is below the noise."""

_SMALL = 1e-10


class Reference:
    """Original, prepared for comparison with any number of distorted versions."""

    def __init__(self, original: Tensor) -> None:
        """Prepare (N, 3, H, W) sRGB or (N, 1, H, W) luma, floating 0..1, no side below 48.

        Raises:
            UnsupportedError: a side is below 48.
        """
        self._size = sides.of_original("VIF", original, SMALLEST_SIDE)
        self._scales = [_Scale(plane, window) for plane, window in _pyramid(_luma(original))]

    def score(self, distorted: Tensor) -> Tensor:
        """VIF (N,), mean of the four scales: about 0 (all lost) .. 1 (identical); higher is better. Differentiable.

        It is not symmetric in original and distorted.

        Raises:
            InputError: the sizes differ.
        """
        return torch.stack(self.scales(distorted)).mean(0)

    def scales(self, distorted: Tensor) -> list[Tensor]:
        """Score of every scale, finest first, (N,) each; otherwise as `score`."""
        sides.check_equal("VIF", self._size, distorted)
        pairs = zip(self._scales, _pyramid(_luma(distorted)), strict=True)
        return [scale.ratio(plane) for scale, (plane, _) in pairs]


def vif(original: Tensor, distorted: Tensor) -> Tensor:
    """VIF (N,) of two batches of pictures; shapes and range as in `Reference.score`."""
    return Reference(original).score(distorted)


def prepare(original: Pixels) -> Callable[[Pixels], float]:
    """Score function of an original (H, W, 3), no side below 48, on the CPU; range as `Reference.score`."""
    with torch.inference_mode():
        reference = Reference(_batch(original))

    def score(distorted: Pixels) -> float:
        with torch.inference_mode():
            return float(reference.score(_batch(distorted)))

    return score


class _Scale:
    """Luma of the original at one scale."""

    def __init__(self, x: Tensor, window: Taps) -> None:
        self._x, self._window = x, window
        self._mu_x, xx = _blurred(window, x, x * x)
        self._sigma_x_sq = (xx - self._mu_x * self._mu_x).clamp_min(0)
        self._flat = self._sigma_x_sq < _SIGMA_N_SQ
        information = torch.log2(1 + self._sigma_x_sq / _SIGMA_N_SQ)
        self._information = torch.where(self._flat, 1, information).flatten(1).sum(1)

    def ratio(self, y: Tensor) -> Tensor:
        """VIF (N,) of distorted luma (N, 1, H, W): information in it over that in the original.

        Model: y = g x + v, v of variance sigma_v^2. VIF = sum log2(1 + g^2 sigma_x^2 / (sigma_v^2 + sigma_n^2)) over
        sum log2(1 + sigma_x^2 / sigma_n^2).
        """
        mu_y, yy, xy = _blurred(self._window, y, y * y, self._x * y)
        sigma_y_sq = (yy - mu_y * mu_y).clamp_min(0)
        sigma_xy = xy - self._mu_x * mu_y
        g = sigma_xy.clamp_min(0) / (self._sigma_x_sq + _SMALL)
        sigma_v_sq = (sigma_y_sq - g * sigma_xy).clamp_min(_SMALL)
        kept = torch.log2(1 + g.clamp_max(1).square() * self._sigma_x_sq / (sigma_v_sq + _SIGMA_N_SQ))
        return torch.where(self._flat, 1 - sigma_y_sq * _FLAT, kept).flatten(1).sum(1) / self._information


def _pyramid(plane: Tensor) -> Iterator[tuple[Tensor, Taps]]:
    """Planes (N, 1, h, w) of the four scales, and their windows."""
    for scale, side in enumerate(_WINDOWS):
        window = gaussian(side / 5, side // 2)
        if scale:
            plane = mirrored(plane, window)[..., ::2, ::2]
        yield plane, window


def _blurred(window: Taps, *planes: Tensor) -> Sequence[Tensor]:
    return mirrored(torch.cat(planes, 1), window).chunk(len(planes), 1)


def _luma(batch: Tensor) -> Tensor:
    """Luma (N, 1, H, W) in levels around 0, which keeps variances more exact."""
    if batch.shape[1] == 3:
        red, green, blue = batch.unbind(1)
        batch = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]
    return 255 * batch - 128


def _batch(pixels: Pixels) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float64))[None] / 255
