"""The learned simulators: what they are before any training, and what the shipped ones know."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from kcompress.codecs import CODECS
from kcompress.errors import UsageError, WeightsError
from kcompress.images import Image
from kcompress.inference import weights as weight_files
from kcompress.inference.batches import tensor
from kcompress.networks.shrink import Shrink
from kcompress.proxies.choice import load_proxy
from kcompress.proxies.simulator import DistortionNetwork, RateNetwork, Simulator
from kcompress.proxies.straight_through import encode_decode
from kcompress.training.tasks.proxies.accuracy import decibels

pytestmark = pytest.mark.usefixtures("one_thread")
SHIPPED = sorted(path.stem.removeprefix("simulator-") for path in weight_files.folder().glob("simulator-*.safetensors"))


@pytest.fixture
def simulator() -> Simulator:
    torch.manual_seed(0)
    return Simulator(16, 2)


def alive(simulator: Simulator) -> Simulator:
    """With contexts that say something, as after a training."""
    for network in (simulator.distortion, simulator.rate):
        torch.nn.init.normal_(network.context.leave.weight, std=0.05)
    return simulator


@pytest.mark.parametrize("size", [(64, 96), (61, 97), (8, 8), (1, 1), (5, 70)])
def test_any_size(simulator: Simulator, size: tuple[int, int]) -> None:
    decoded, bpp = alive(simulator)(torch.rand(2, 3, *size), torch.tensor([0.2, 0.7]))
    assert decoded.shape == (2, 3, *size) and bpp.shape == (2,)
    assert decoded.isfinite().all() and (bpp > 0).all()


@pytest.mark.parametrize("picture", [torch.zeros(1, 3, 40, 40), torch.ones(1, 3, 40, 40), torch.rand(1, 3, 40, 40)])
@pytest.mark.parametrize("coarseness", [0.0, 0.5, 1.0])
def test_gradients_are_finite(simulator: Simulator, picture: torch.Tensor, coarseness: float) -> None:
    seen = picture.clone().requires_grad_()
    decoded, bpp = alive(simulator)(seen, torch.tensor([coarseness]))
    (decoded.square().sum() + bpp.log().sum()).backward()
    assert seen.grad is not None and seen.grad.isfinite().all()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in simulator.parameters())


def test_contexts_that_are_still_give_no_gradient(simulator: Simulator) -> None:
    """Values stay; what is decoded of a block, and its bits, then depend on the block itself alone."""
    alive(simulator)
    picture, coarseness = torch.rand(1, 3, 40, 40, requires_grad=True), torch.tensor([0.5])
    elsewhere = torch.ones(40, 40, dtype=torch.bool)
    elsewhere[16:24, 16:24] = False
    for still in (False, True):
        decoded, bpp = simulator(picture, coarseness, still=still)
        expected = simulator(picture, coarseness)
        assert torch.equal(decoded, expected[0]) and torch.equal(bpp, expected[1])
        (by_picture,) = torch.autograd.grad(decoded[..., 16:24, 16:24].sum(), picture)
        assert bool(by_picture[..., elsewhere].any()) is not still and by_picture[..., ~elsewhere].any()
        bits = simulator.rate.map(picture, coarseness, still=still)
        (by_picture,) = torch.autograd.grad(bits[0, 2, 2], picture)
        assert bool(by_picture[..., 24:].any()) is not still  # DC is predicted from above and the left


def test_it_starts_as_a_codec(simulator: Simulator, lake: Image) -> None:
    """Coarser settings lose more and cost less; fine ones lose next to nothing."""
    picture = tensor([np.ascontiguousarray(lake.pixels[100:196, 100:196])] * 4)
    decoded, bpp = simulator(picture, torch.tensor([0.0, 0.3, 0.6, 0.9]))
    quality = decibels(decoded, picture)
    assert quality[0] > 44 and (quality[:-1] > quality[1:]).all()
    assert (bpp[:-1] > bpp[1:]).all() and 0.05 < bpp[2] < 2 < bpp[0]


def test_what_is_flat_stays_flat(simulator: Simulator) -> None:
    flat = torch.full((1, 3, 32, 32), 0.4)
    decoded, bpp = simulator(flat, torch.tensor([0.5]))
    assert (decoded - flat).abs().max() < 0.01
    assert bpp < simulator(torch.rand(1, 3, 32, 32), torch.tensor([0.5]))[1] / 10


def test_the_bits_of_a_picture_are_those_of_its_blocks(lake: Image) -> None:
    torch.manual_seed(0)
    rate = RateNetwork(16, 1)
    torch.nn.init.normal_(rate.context.leave.weight, std=0.05)
    picture = tensor([np.ascontiguousarray(lake.pixels[:64, :80])])
    coarseness = torch.tensor([0.4])
    bits = rate.map(picture, coarseness)
    assert bits.shape == (1, 8, 10) and (bits > 0).all()
    assert rate(picture, coarseness).item() == pytest.approx(bits.sum().item() / (64 * 80), rel=1e-5)
    changed = picture.clone()
    changed[:, :, :8, :8] = 0
    differs = (rate.map(changed, coarseness) != bits)[0]
    assert differs[:2, :2].any() and not differs[4:].any() and not differs[:, 4:].any()


def test_a_distortion_is_local(lake: Image) -> None:
    torch.manual_seed(0)
    distortion = DistortionNetwork(16, 1)
    torch.nn.init.normal_(distortion.context.leave.weight, std=0.05)
    picture = tensor([np.ascontiguousarray(lake.pixels[:64, :64])])
    changed = picture.clone()
    changed[:, :, :8, :8] = 0
    one, other = (distortion(each, torch.tensor([0.4])) for each in (picture, changed))
    assert torch.allclose(one[:, :, 16:, 16:], other[:, :, 16:, 16:], atol=1e-5)


def test_weights_for_something_else(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    metadata = {"format": weight_files.FORMAT, "network": "kuchen", "arguments": json.dumps({"width": 2})}
    save_file({"x": torch.zeros(1)}, path, metadata)
    with pytest.raises(UsageError, match=r"are kuchen weights. Give those of minnen or simulator"):
        load_proxy(str(path), "jpeg")
    with pytest.raises(WeightsError, match=r"simulator-gif\.safetensors do not exist"):
        load_proxy("simulator-gif.safetensors", "jpeg")


@pytest.mark.parametrize("name", SHIPPED)
def test_those_that_ship_know_their_codec(name: str, lake: Image, balloons: Image) -> None:
    """On pictures they never saw: closer to the decoder than the picture is, and aware of what preprocessing saves."""
    simulator, codec = load_proxy("simulator", name), CODECS[name]
    assert not any(parameter.requires_grad for parameter in simulator.module.parameters())
    scale = codec.quality
    setting = codec.setting(round(scale.finest + 0.5 * (scale.coarsest - scale.finest)))
    for image in (lake, balloons):
        patch = np.ascontiguousarray(image.pixels[10:202, 50:242])
        shrunk = Shrink(1)(Image(patch), setting).pixels
        real = [encode_decode(pixels, setting) for pixels in (patch, shrunk)]
        decoded, bpp = simulator(tensor([patch, shrunk]), torch.tensor([setting.coarseness] * 2))
        shown = tensor([pixels for pixels, _ in real])
        assert (decibels(decoded, shown) > decibels(tensor([patch, shrunk]), shown) + 0.5).all()
        truth = np.log([bits for _, bits in real])
        found = bpp.log().numpy()
        assert found == pytest.approx(truth, abs=0.35)
        assert found[1] - found[0] == pytest.approx(truth[1] - truth[0], abs=0.1)
        finer, coarser = (simulator(tensor([patch]), torch.tensor([value]))[1] for value in (0.3, 0.7))
        assert finer > 1.5 * coarser
