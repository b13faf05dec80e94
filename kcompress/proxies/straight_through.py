"""Straight-through estimators: values of the real codec, gradients of a proxy.

A proxy that gives the values too can be exploited: a gain with it may be a loss with the real encoder. With the
encoder's values and the proxy's gradients (Bengio, Leonard and Courville, arXiv 1308.3432) nothing can be exploited;
the proxy only has to point the right way.

It does if it knows where levels change, as `proxies.jpeg` does. A proxy of expectations, as `proxies.simulator`,
answers quantisation error as if the picture could make up for it: the result is noise. Measured on the pixels of four
patches at WebP 75, descending ln(rate) less the slope times SSIMULACRA2. After 5, 10 and 20 steps the real cost changed
by -11, -8 and -3 % with the simulator's own values, by +18, +24 and +21 % with the encoder's; for PSNR by +2 .. -1 %
and by +35 .. +72 %. So there: train by the simulator's values, in few steps, and choose by the encoder's. A network of
thresholds before WebP (4x4 block DCT, initialised as `networks.shrink`) unlearned its start either way: -3 % of size
and +1.9 % by SSIMULACRA2 with the encoder's values, where the start has -11 and -4. `proxies.sampled` mends that.
"""

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from kcompress.codecs import CODECS, Codec, decode
from kcompress.encoding import encode
from kcompress.images import Image, Pixels, bits_per_pixel
from kcompress.inference.batches import tensor
from kcompress.setting import Setting

ConditionT = TypeVar("ConditionT")


def encode_decode(pixels: Pixels, setting: Setting, backend: str = "auto") -> tuple[Pixels, float]:
    """Reconstruction (H, W, 3) of a picture by the real codec, and its bits per pixel.

    A flat grey picture's file of the same size is subtracted: headers and containers weigh much beside a patch, and
    nothing beside a photograph.

    Raises:
        ProgramError: no encoder is there, or it failed.
    """
    height, width = pixels.shape[:2]
    data = encode(Image(pixels), CODECS[setting.codec], setting, None, backend).data
    bits = bits_per_pixel(len(data) - container_bytes(setting, width, height, backend), width, height)
    return decode(data).pixels, max(0.0, bits)


@functools.lru_cache(maxsize=4096)
def container_bytes(setting: Setting, width: int, height: int, backend: str = "auto") -> int:
    """Size of a flat grey picture's file, bytes: headers and container."""
    flat = np.full((height, width, 3), 128, np.uint8)
    return len(encode(Image(flat), CODECS[setting.codec], setting, None, backend).data)


class Encoded:
    """The real codec, of batches: pictures (N, 3, H, W) and qualities -> reconstruction (N, 3, H, W), bits (N,).

    By default one encoder a core runs at once, at the codec's effort. With ``mosaic``, pictures of one quality are
    encoded as one, below each other: programs start once instead of N times, and all have the mean of their bits per
    pixel.
    """

    def __init__(
        self, codec: Codec, jobs: int | None = None, backend: str = "auto", effort: int | None = None,
        mosaic: bool = False,
    ) -> None:  # fmt: skip
        self._codec, self._jobs, self._backend = codec, jobs or os.cpu_count(), backend
        self._effort, self._mosaic = effort, mosaic

    def __call__(self, pictures: Tensor, qualities: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Reconstruction and bits per pixel by `encode_decode`, on the CPU.

        Pictures, 0..1, are rounded to 8 bits for the encoder; N qualities are on the codec's own scale.

        Raises:
            ProgramError: the encoder failed.
            UsageError: a quality that the codec does not have.
        """
        pixels = pictures.detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        settings = [self._codec.setting(quality, None, self._effort) for quality in qualities]
        whole = [np.ascontiguousarray(picture) for picture in pixels]
        if self._mosaic and len(set(qualities)) == 1:
            seen, bpp = encode_decode(np.concatenate(whole), settings[0], self._backend)
            return tensor(np.split(seen, len(whole))), torch.full((len(whole),), bpp)
        with ThreadPoolExecutor(self._jobs) as pool:
            found = pool.map(encode_decode, whole, settings, [self._backend] * len(settings))
            reconstructions, bits = zip(*found, strict=True)
        return tensor(reconstructions), torch.tensor(bits)


class StraightThroughCodec(Generic[ConditionT]):
    """The real codec, with the gradients of a proxy.

        pictures (N, 3, H, W) -> `Encoded` -> reconstruction (N, 3, H, W), bits per pixel (N,)   values
                              -> proxy     -> the same shapes                                    gradients

    The proxy takes pictures, 0..1, and a condition; for the other arguments see `Encoded`. Bits are values alone, which
    no gradient looks at.
    """

    def __init__(
        self, codec: Codec, proxy: Callable[[Tensor, ConditionT], tuple[Tensor, Tensor]],
        jobs: int | None = None, backend: str = "auto", effort: int | None = None, mosaic: bool = False,
    ) -> None:  # fmt: skip
        self._proxy, self._encoded = proxy, Encoded(codec, jobs, backend, effort, mosaic)

    def __call__(self, pictures: Tensor, qualities: Sequence[int], condition: ConditionT) -> tuple[Tensor, Tensor]:
        """Values of `Encoded`, on the device of the proxy's, with the proxy's gradients."""
        (decoded, rate), (seen, bits) = self._proxy(pictures, condition), self._encoded(pictures, qualities)
        return straight_through(seen, decoded), straight_through(bits, rate)


def straight_through(value: Tensor, path: Tensor) -> Tensor:
    """Straight-through estimator: the value, on the device and in the type of the path, with the path's gradient."""
    return value.detach().to(path) + (path - path.detach())
