"""Samples of a simulated codec: errors as a codec's, and derivatives that follow coefficients, not surroundings."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.proxies.choice import FrozenProxy, load_proxy
from kcompress.proxies.minnen import Minnen
from kcompress.proxies.sampled import Sample, displaced, sample
from kcompress.proxies.simulator import Simulator
from kcompress.proxies.straight_through import encode_decode

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def proxy() -> FrozenProxy:
    return load_proxy("simulator", "jpeg")


@pytest.fixture(scope="module")
def picture(lake: Image) -> Tensor:
    return tensor([np.ascontiguousarray(lake.pixels[100:196, 100:196])])


def drawn(proxy: FrozenProxy, picture: Tensor, quality: int = 60) -> Sample:
    torch.manual_seed(0)
    found = proxy.sample(picture, torch.tensor([CODECS["jpeg"].quality.coarseness(quality)]))
    assert found is not None
    return found


@pytest.mark.parametrize("quality", [30, 45, 60])
def test_a_sample_errs_about_as_much_as_the_codec(
    proxy: FrozenProxy, lake: Image, picture: Tensor, quality: int
) -> None:
    """Expectations err less, and that is what a training would make use of."""
    shown, _ = encode_decode(np.ascontiguousarray(lake.pixels[100:196, 100:196]), CODECS["jpeg"].setting(quality))
    real = (tensor([shown]) - picture).square().mean().item()
    ours = (drawn(proxy, picture, quality).decoded - picture).square().mean().item()
    assert ours == pytest.approx(real, rel=0.4)


def test_samples_differ_and_follow_the_seed(proxy: FrozenProxy, picture: Tensor) -> None:
    one, same = drawn(proxy, picture), drawn(proxy, picture)
    other = proxy.sample(picture, torch.tensor([0.4]))
    assert other is not None
    assert torch.equal(one.decoded, same.decoded) and not torch.equal(one.decoded, other.decoded)
    assert torch.equal(one.bits, proxy(picture, torch.tensor([CODECS["jpeg"].quality.coarseness(60)]))[1])


def test_bits_fall_with_every_coefficient(proxy: FrozenProxy, picture: Tensor) -> None:
    """Nothing but smaller coefficients lowers them; through the contexts other changes would."""
    seen = picture.clone().requires_grad_()
    simulator = proxy.module
    assert isinstance(simulator, Simulator)
    for still in (True, False):
        (slopes,) = torch.autograd.grad(simulator.rate(seen, torch.tensor([0.4]), still=still).sum(), seen)
        blocks = simulator.rate.blocks
        # Derivatives by coefficients: the transpose of synthesis.
        nothing = torch.zeros_like(blocks.analyse(picture)).requires_grad_()
        (by,) = torch.autograd.grad(blocks.synthesise(nothing, *picture.shape[-2:]), nothing, slopes)
        ac = torch.arange(192) % 64 != 0
        along = (by * blocks.analyse(picture).sign())[:, ac]
        assert bool((along > -1e-7).all()) is still


def test_the_path_is_the_expected_cost_of_squared_errors(proxy: FrozenProxy, picture: Tensor) -> None:
    """Its derivative by the scale of small coefficients is that of the mean over samples."""
    coarseness = torch.tensor([CODECS["jpeg"].quality.coarseness(50)])
    scale = torch.tensor(1.0, requires_grad=True)
    simulator = proxy.module
    assert isinstance(simulator, Simulator)
    blocks, coefficients = simulator.rate.blocks, simulator.rate.blocks.analyse(picture)
    high = (torch.arange(64) // 8 + torch.arange(64) % 8 > 3).repeat(3)[:, None, None] * coefficients

    def made(scale: Tensor) -> Tensor:
        return picture + blocks.synthesise((scale - 1) * high, *picture.shape[-2:])

    def cost(decoded: Tensor) -> Tensor:
        return (255 * (decoded - picture)).square().flatten(1).sum(1)

    torch.manual_seed(0)
    found = []
    for _ in range(8):
        one = sample(simulator, made(scale), coarseness)
        seen = one.decoded.detach().requires_grad_()
        (by_pixels,) = torch.autograd.grad(cost(seen).sum(), seen)
        (slope,) = torch.autograd.grad(one.path(picture, one.decoded, by_pixels).sum(), scale)
        found.append(slope.item())
    ends = []
    for end in (0.9, 1.1):
        with torch.no_grad():
            ends.append(
                np.mean(
                    [cost(sample(simulator, made(torch.tensor(end)), coarseness).decoded).item() for _ in range(60)]
                )
            )
    assert np.mean(found) == pytest.approx((ends[1] - ends[0]) / 0.2, rel=0.3)


def test_other_proxies_have_no_samples(picture: Tensor) -> None:
    assert FrozenProxy(Minnen(8, 8), "minnen for tests").sample(picture, torch.tensor([0.4])) is None


def test_what_is_drawn_has_the_derivatives_of_the_expectation(proxy: FrozenProxy, picture: Tensor) -> None:
    coarseness = torch.tensor([CODECS["jpeg"].quality.coarseness(40)])
    weights = torch.rand(picture.shape, generator=torch.Generator().manual_seed(1))
    slopes = []
    for decoded in (lambda seen: drawn(proxy, seen, 40).decoded, lambda seen: proxy(seen, coarseness)[0]):
        seen = picture.clone().requires_grad_()
        slopes.append(torch.autograd.grad((weights * decoded(seen)).sum(), seen)[0])
    assert torch.allclose(*slopes, atol=1e-5) and slopes[0].abs().max() > 0.1


def test_a_displaced_sample_lies_anywhere_on_the_grid(picture: Tensor) -> None:
    """A codec that changes nothing gives the picture back, and as many bits as the larger one costs."""
    seen: list[tuple[Tensor, Tensor]] = []

    def lossless(padded: Tensor, coarseness: Tensor) -> Sample:
        seen.append((padded, coarseness))
        return Sample(torch.full((2,), 3.0), padded, padded, padded, lambda x: x, lambda x: x)

    cut = picture[..., :40].repeat(2, 1, 1, 1)
    found = []
    for seed in (*range(60), 0):
        torch.manual_seed(seed)
        found.append(displaced(lossless, cut, torch.tensor([0.5, 0.7])))
    assert all(torch.equal(decoded, cut) for decoded, _ in found)
    assert all(bits.tolist() == pytest.approx([3 * 104 * 48 / (96 * 40)] * 2) for _, bits in found)
    assert {tuple(padded.shape) for padded, _ in seen} == {(2, 3, 104, 48)}
    places = {
        (y, x) for padded, _ in seen for y in range(9) for x in range(9)
        if torch.equal(padded[..., y : y + 96, x : x + 40], cut)
    }  # fmt: skip
    assert len(places) > 30 and {y for y, _ in places} == {x for _, x in places} == set(range(8))
    off = torch.stack([coarseness - torch.tensor([0.5, 0.7]) for _, coarseness in seen])
    assert -1 / 51 <= off.min() < -0.017 and 0.017 < off.max() <= 1 / 51
    assert (off[:, 0] != off[:, 1]).all() and torch.equal(off[0], off[-1]), "the seed decides"
