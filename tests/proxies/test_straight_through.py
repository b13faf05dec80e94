"""Values of the real encoder, gradients of a proxy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kcompress.codecs import CODECS, decode
from kcompress.encoding import encode
from kcompress.errors import UsageError
from kcompress.images import Image, bits_per_pixel
from kcompress.inference.batches import tensor
from kcompress.proxies.straight_through import StraightThroughCodec, container_bytes, encode_decode

pytestmark = pytest.mark.usefixtures("one_thread")
BACKENDS = {"jpeg": "pillow", "webp": "pillow", "hevc": "ffmpeg"}


def proxy(pictures: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
    """Nothing like a codec, to tell its gradients from any other's."""
    return strength * pictures.square(), strength * pictures.pow(3).flatten(1).sum(1)


@pytest.mark.parametrize("name", BACKENDS)
def test_values_are_the_encoders_and_gradients_the_proxys(name: str, lake: Image, balloons: Image) -> None:
    codec, qualities = CODECS[name], [45, 30]
    patches = [np.ascontiguousarray(image.pixels[40:109, 60:147]) for image in (lake, balloons)]
    strength = torch.tensor(0.7)
    pictures = tensor(patches) + 0.3 / 255  # not whole grey levels: the encoder rounds
    pictures.requires_grad_()
    decoded, bpp = StraightThroughCodec(codec, proxy, 2, BACKENDS[name])(pictures, qualities, strength)
    for number, (patch, quality) in enumerate(zip(patches, qualities, strict=True)):
        setting = codec.setting(quality)
        data, empty = (
            encode(Image(pixels), codec, setting, None, BACKENDS[name]).data
            for pixels in (patch, np.full_like(patch, 128))
        )
        assert torch.equal(decoded[number].detach(), tensor([decode(data).pixels])[0])
        assert bpp[number].item() == pytest.approx(bits_per_pixel(len(data) - len(empty), 87, 69), rel=1e-6)
    (found,) = torch.autograd.grad(decoded.sin().sum() + bpp.square().sum(), pictures)
    by_hand, rate = proxy(pictures, strength)
    expected = torch.autograd.grad(
        (decoded.detach().cos() * by_hand).sum() + (2 * bpp.detach() * rate).sum(), pictures
    )[0]  # fmt: skip
    assert torch.allclose(found, expected, rtol=1e-5)


def test_pictures_of_one_quality_may_be_encoded_as_one(lake: Image, balloons: Image) -> None:
    """Below each other: values are those of the whole, gradients as without; of several qualities nothing changes."""
    codec, strength = CODECS["hevc"], torch.tensor(0.7)
    patches = [np.ascontiguousarray(image.pixels[40:104, 60:124]) for image in (lake, balloons)]
    pictures = tensor(patches).requires_grad_()
    alone, together = (StraightThroughCodec(codec, proxy, 1, "ffmpeg", mosaic=mosaic) for mosaic in (False, True))
    for one, other in zip(alone(pictures, [30, 40], strength), together(pictures, [30, 40], strength), strict=True):
        assert torch.equal(one, other)
    decoded, bpp = together(pictures, [40, 40], strength)
    seen, bits = encode_decode(np.concatenate(patches), codec.setting(40), "ffmpeg")
    assert torch.equal(decoded.detach(), tensor([seen[:64], seen[64:]])) and bpp.tolist() == pytest.approx([bits] * 2)
    usual, mean = alone(pictures, [40, 40], strength)
    assert (decoded - usual).abs().mean() < 0.02 and bits == pytest.approx(float(mean.detach().mean()), rel=0.1)
    found, expected = (
        torch.autograd.grad(pair[0].sum() + pair[1].sum(), pictures)[0] for pair in ((decoded, bpp), (usual, mean))
    )
    assert torch.equal(found, expected)


def test_headers_do_not_count(lake: Image) -> None:
    setting = CODECS["hevc"].setting(40)
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert encode_decode(flat, setting, "ffmpeg")[1] == 0
    assert container_bytes(setting, 64, 64, "ffmpeg") > 300  # the boxes of the file
    assert encode_decode(np.ascontiguousarray(lake.pixels[:64, :64]), setting, "ffmpeg")[1] > 0


def test_a_quality_that_the_codec_does_not_have() -> None:
    with pytest.raises(UsageError, match="--quality 60 is not on the scale of hevc"):
        StraightThroughCodec(CODECS["hevc"], proxy, 1)(torch.rand(1, 3, 16, 16), [60], torch.tensor(1.0))
