"""The real encoder in a training: its values, with the gradients of a simulation.

A simulation that gives the values too can be exploited: what looks like a gain there may be a loss with the real
encoder. Values of the encoder and gradients of the simulation (a straight-through estimator: Bengio, Leonard and
Courville, arXiv 1308.3432) leave nothing to exploit, and ask of a simulation only that it points the right way.

It does so if it knows where levels change, as ``proxies.jpeg`` does. One that tells what to *expect*, as
``proxies.learned`` does, answers a quantiser's error as if the picture could make up for it, and noise is what comes
of that. Descending the pixels of four patches at WebP 75 for ln(rate) less the slope times SSIMULACRA2 changed the real
cost by -11, -8 and -3 % after 5, 10 and 20 steps with the simulator's own values, and by +18, +24 and +21 % under the
encoder's; for PSNR by +2 .. -1 % and +35 .. +72 %. So there: train by the simulator's values, in few steps, and choose
by the encoder's. A network of thresholds before WebP (4x4 block DCT, started at the rule of ``networks.shrink``)
unlearned the rule either way: -3 % of size and +1.9 % by SSIMULACRA2 under the encoder's values, where the rule
stands at -11 and -4.
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


def coded(pixels: Pixels, setting: Setting, backend: str = "auto") -> tuple[Pixels, float]:
    """A picture (H, W, 3) through the real encoder and back: what is shown, and bits per pixel.

    The bits are those that the picture costs: the file's less those of a flat grey picture's file of the same size.
    Headers and containers, which weigh much beside a patch and nothing beside a photograph, do not count.

    Raises:
        ProgramError: no encoder is there, or it failed.
    """
    height, width = pixels.shape[:2]
    data = encode(Image(pixels), CODECS[setting.codec], setting, None, backend).data
    bits = bits_per_pixel(len(data) - overhead(setting, width, height, backend), width, height)
    return decode(data).pixels, max(0.0, bits)


@functools.lru_cache(maxsize=4096)
def overhead(setting: Setting, width: int, height: int, backend: str = "auto") -> int:
    """Bytes of the file of a flat grey picture."""
    flat = np.full((height, width, 3), 128, np.uint8)
    return len(encode(Image(flat), CODECS[setting.codec], setting, None, backend).data)


class RealCodec(Generic[ConditionT]):
    """Pictures through the real encoder, differentiable by a proxy.

    Args:
        codec: the codec.
        proxy: pictures (N, 3, H, W), 0..1, and a condition -> decoded pictures, likewise, and bits per pixel (N,), with
            gradients; of its values nothing remains.
        jobs: encoders that run at once. [default: as many as there are cores]
        backend: of the codec.
        effort: of the encoder, on the codec's own scale. [default: the codec's]
    """

    def __init__(
        self, codec: Codec, proxy: Callable[[Tensor, ConditionT], tuple[Tensor, Tensor]],
        jobs: int | None = None, backend: str = "auto", effort: int | None = None,
    ) -> None:  # fmt: skip
        self._codec, self._proxy, self._jobs, self._backend = codec, proxy, jobs or os.cpu_count(), backend
        self._effort = effort

    def __call__(self, pictures: Tensor, qualities: Sequence[int], condition: ConditionT) -> tuple[Tensor, Tensor]:
        """Decoded pictures and bits per pixel: of the encoder, see `coded`; their gradients: of the proxy.

        Args:
            pictures: (N, 3, H, W), 0..1; rounded to 8 bits for the encoder.
            qualities: on the codec's own scale, N of them.
            condition: for the proxy.

        Raises:
            ProgramError: the encoder failed.
            UsageError: a quality that the codec does not have.
        """
        pixels = pictures.detach().clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        settings = [self._codec.setting(quality, None, self._effort) for quality in qualities]
        whole = [np.ascontiguousarray(picture) for picture in pixels]
        with ThreadPoolExecutor(self._jobs) as pool:
            found = pool.map(coded, whole, settings, [self._backend] * len(settings))
            shown, bits = zip(*found, strict=True)
        decoded, rate = self._proxy(pictures, condition)
        return _through(tensor(shown), decoded), _through(torch.tensor(bits), rate)


def _through(value: Tensor, path: Tensor) -> Tensor:
    """The value, with the gradient of the path."""
    return value.to(path) + (path - path.detach())
