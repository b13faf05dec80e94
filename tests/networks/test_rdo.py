"""The network that decides on JPEG's levels, and what it is told."""

import inspect
from dataclasses import replace

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
import torch
from torch import nn

from kcompress.blockdct import thresholds
from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session, encode
from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.inference.engine import TorchEngine
from kcompress.networks.condition import INITIAL_THRESHOLD, LENGTH, TrainingDomain, condition
from kcompress.networks.jpeg_rate import bits_saved
from kcompress.networks.loading import load, wrapped
from kcompress.networks.mcu import Transform
from kcompress.networks.rdo import Rdo
from kcompress.proxies.jpeg import DifferentiableJpeg, standard_quantiser_steps
from kcompress.rate_distortion.cost import RateDistortionCost

pytestmark = pytest.mark.usefixtures("one_thread")
JPEG = CODECS["jpeg"]


@pytest.fixture
def network() -> Rdo:
    """It decides by its context, at random."""
    torch.manual_seed(0)
    module = Rdo(width=16, depth=2)
    for block in module.context.blocks:
        nn.init.normal_(block.narrow.weight, std=0.1)
    nn.init.normal_(module.context.leave.weight, std=0.2)
    return module.eval()


@pytest.fixture
def photo(lake: Image) -> Image:
    return Image(np.ascontiguousarray(lake.pixels[:160, :208]))


def told(quality: int) -> torch.Tensor:
    return torch.from_numpy(condition(JPEG.setting(quality)))


def test_the_condition_is_the_setting() -> None:
    setting = JPEG.setting(60)
    found = condition(setting)
    assert found.shape == (1, LENGTH) and found.dtype == np.float32
    assert setting.tables is not None
    assert tuple(found[0, :64]) == setting.tables[0] and tuple(found[0, 64:128]) == setting.tables[1]
    assert np.allclose(found[0, 128:192].reshape(8, 8), thresholds(INITIAL_THRESHOLD * 0.4))
    assert (found[0, 193:256] < found[0, 129:192]).all() and found[0, 256] == np.float32(0.4)
    assert (condition(replace(setting, chroma="444"))[0, 192:256] < -1e3).all()


def test_thresholds_are_higher_before_an_encoder_that_searches() -> None:
    setting = JPEG.setting(60)
    usual, searched = condition(setting)[0], condition(replace(setting, trellis=True))[0]
    assert np.allclose(searched[128:256], 1.35 * usual[128:256]) and searched[-1] == 1
    assert np.array_equal(searched[:128], usual[:128])


def test_beyond_what_was_trained_only_the_coarseness_is_held() -> None:
    for quality, told_of in ((10, 30), (60, 60), (97, 92)):
        found, as_it_is = condition(JPEG.setting(quality), (30, 92)), condition(JPEG.setting(quality))
        assert found[0, -2] == pytest.approx(1 - told_of / 100)
        assert np.array_equal(found[0, :-2], as_it_is[0, :-2])


def test_a_quality_beyond_is_noted_and_changes_little(photo: Image) -> None:
    network = load("rdo", device="cpu", codec="jpeg")
    assert network is not None
    assert network(photo, JPEG.setting(75)).notes == ()
    (note,) = network(photo, JPEG.setting(99)).notes
    assert note == "rdo-jpeg was trained for qualities 12..97; 99 is beyond them"
    encoded = encode(photo, JPEG, JPEG.setting(99), network, "pillow")
    assert note in encoded.notes
    assert 0.9 < len(encoded.data) / len(encode(photo, JPEG, JPEG.setting(99), None, "pillow").data) < 1.02
    assert len(network(photo, JPEG.setting(5)).notes) == 1
    assert np.array_equal(network(photo, JPEG.setting(100)).pixels, photo.pixels)  # steps of 1, as fine as the pixels


def test_only_jpeg_has_tables() -> None:
    with pytest.raises(UsageError, match="--codec jpeg, not webp"):
        condition(CODECS["webp"].setting())


def test_coefficients_are_those_of_the_encoder(photo: Image) -> None:
    image = tensor([photo.pixels])
    steps = standard_quantiser_steps([50])
    expected = DifferentiableJpeg(steps).coefficients(image)
    found = Transform().coefficients(image) / Rdo(16, 1).unpack_condition(told(50))[0]
    luma = nn.functional.pixel_shuffle(found[:, :256], 2).reshape(8, 8, 20, 26).permute(2, 3, 0, 1)
    assert (luma - expected.luma[0, 0]).abs().max() < 0.2
    chroma = found[:, 256:].reshape(2, 8, 8, 10, 13).permute(0, 3, 4, 1, 2)
    assert (chroma - expected.chroma[0]).abs().max() < 0.2


def test_there_and_back() -> None:
    module = Transform()
    grey = torch.rand(1, 1, 32, 48).expand(1, 3, -1, -1)
    assert (module.pixels(module.coefficients(grey)) - (grey - 128 / 255)).abs().max() < 1e-5


def test_it_starts_as_the_rule(photo: Image) -> None:
    decisions = Rdo(16, 1).decide(tensor([photo.pixels]), told(50))
    size = decisions.coefficients.abs()
    steps, rule = Rdo(16, 1).unpack_condition(told(50))
    allowed = (size >= 0.5) & (torch.arange(384).reshape(1, 384, 1, 1) >= 4)  # the DC of luma comes first, four times
    allowed[:, [256, 320]] = False
    assert torch.equal(decisions.allowed, allowed)
    falls, height = (decisions.decrement_scores > 0) & allowed, size - (size.round() - 0.5)
    assert 0.02 < float(falls.sum() / allowed.sum()) < 0.5
    assert not ((decisions.increment_scores > 0) & allowed).any()
    # The rule's thresholds, more where a fall saves more bits: at most 15 of them.
    assert not (falls & (height > 2.1 * rule / steps)).any()
    bits = bits_saved(decisions.levels)
    assert torch.equal(falls, allowed & (height < rule / steps * (bits.clamp(min=0) / 3.5).sqrt()))
    assert torch.equal(decisions.new_levels, decisions.levels - decisions.levels.sign() * falls)


def test_only_what_lies_high_in_its_cell_may_rise(network: Rdo, photo: Image) -> None:
    with torch.no_grad():
        network.context.leave.bias[384:768] += 100.0
        decisions = network.decide(tensor([photo.pixels]), told(60))
    height = decisions.coefficients.abs() - decisions.levels.abs() + 0.5
    assert torch.equal((decisions.increment_scores > 0) & decisions.allowed, (height > 0.7) & decisions.allowed)


def test_text_is_not_harmed_much() -> None:
    """Small coloured strokes are unlike all that it has been trained on."""
    page = PIL.Image.new("RGB", (384, 256), "white")
    draw = PIL.ImageDraw.Draw(page)
    colours = ["#c80000", "#0000c8", "#008200", "#000000", "#78008c"]
    for number in range(20):
        draw.text((6, 12 * number + 4), "quick brown foxes jump over 0123456789", colours[number % 5])
    image = Image(np.asarray(page).copy())
    for quality in (75, 90):
        setting = JPEG.setting(quality)
        judge = RateDistortionCost(*Session.of(image, JPEG, setting, "pillow"), {"ssimulacra2": 1.0})
        encoded = encode(image, JPEG, setting, load("rdo", device="cpu", codec="jpeg"), "pillow")
        assert judge(encoded.data).cost < 0.06


@pytest.mark.parametrize("quality", [35, 60, 85])
def test_the_encoder_makes_the_levels_decided_on(network: Rdo, photo: Image, quality: int) -> None:
    image = tensor([photo.pixels])
    with torch.no_grad():
        decisions = network.decide(image, told(quality))
        changed = network(image, told(quality))
    pixels = (changed[0].permute(1, 2, 0) * 255).round().clamp(0, 255).byte().numpy()
    steps = standard_quantiser_steps([quality])
    seen = DifferentiableJpeg(steps).coefficients(tensor([pixels]))
    luma = torch.nn.functional.pixel_unshuffle(seen.luma[0, 0].permute(2, 3, 0, 1).reshape(1, 64, 20, 26), 2)
    packed = torch.cat([luma, seen.chroma[0].permute(0, 3, 4, 1, 2).reshape(1, 128, 10, 13)], dim=1)
    as_wanted = packed.round() == decisions.new_levels
    change = (decisions.new_levels - decisions.levels) * decisions.levels.sign()
    for kind, least in ((-1, 0.97), (0, 0.985), (1, 0.9)):
        assert (change == kind).sum() > 15
        assert as_wanted[change == kind].float().mean() > least


def test_before_an_encoder_that_searches_coefficients_lie_on_their_levels(network: Rdo, photo: Image) -> None:
    image, setting = tensor([photo.pixels]), replace(JPEG.setting(60), trellis=True)
    searched = torch.from_numpy(condition(setting))
    rounded = searched.clone()
    rounded[0, -1] = 0
    with torch.no_grad():
        decisions = network.decide(image, searched)
        assert torch.equal(decisions.new_levels, network.decide(image, rounded).new_levels)
        off = []
        for condition_ in (searched, rounded):
            changed = image + network.pixel_change(decisions.coefficients, decisions.new_levels, condition_)
            steps, _ = network.unpack_condition(condition_)
            found = network.transform.coefficients(changed) / steps
            off.append((found - decisions.new_levels)[decisions.allowed].abs().mean())
            assert torch.allclose(found[:, :4], decisions.coefficients[:, :4], atol=1e-3)  # DC
    assert off[0] < 0.02 < 0.1 < off[1]


def test_files_become_smaller_and_the_quality_matters(network: Rdo, photo: Image) -> None:
    untrained = wrapped("rdo", TorchEngine(Rdo(16, 1).eval(), "cpu"), TrainingDomain("rdo", "jpeg", depth=1))
    assert untrained.conditioned
    for quality in (40, 80):
        setting = JPEG.setting(quality)
        plain, prepared = (encode(photo, JPEG, setting, each, "pillow") for each in (None, untrained))
        assert 0.75 < len(prepared.data) / len(plain.data) < 0.97
    low, high = (untrained(photo, JPEG.setting(quality)).pixels for quality in (40, 80))
    assert not np.array_equal(low, high)


def test_full_resolution_chroma_is_left_alone(network: Rdo, photo: Image) -> None:
    setting = JPEG.setting(50, "444")
    with torch.no_grad():
        image = tensor([photo.pixels])
        change = network(image, torch.from_numpy(condition(setting))) - image
    assert change.abs().max() > 0.01
    assert (change - change.mean(dim=1, keepdim=True)).abs().max() < 1e-3  # luma alone


def test_grey_stays_grey(network: Rdo, photo: Image) -> None:
    grey = Image(np.repeat(photo.pixels[:, :, 1:2], 3, axis=2), grey=True)
    chosen = wrapped("rdo", TorchEngine(network, "cpu"), TrainingDomain("rdo", "jpeg", depth=2))
    result = chosen(grey, JPEG.setting(50))
    assert np.array_equal(result.pixels[:, :, 0], result.pixels[:, :, 2])
    assert decode(encode(grey, JPEG, JPEG.setting(50), chosen, "pillow").data).pixels.shape == photo.pixels.shape


def test_a_block_reaches_one_mcu_further(network: Rdo) -> None:
    image = torch.rand(1, 3, 16 * 9, 16 * 9)
    other = image.clone()
    other[:, :, 64:80, 64:80] = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        scores = [network.decide(each, told(50)).decrement_scores for each in (image, other)]
    touched = (scores[0] != scores[1]).any(dim=1)[0].nonzero()
    assert touched.min() >= 4 - 2 and touched.max() <= 4 + 2 and len(touched) > 9


@pytest.mark.parametrize("depth", [2, 6])
def test_tiles_are_invisible_whatever_the_depth(depth: int, lake: Image) -> None:
    torch.manual_seed(depth)
    module = Rdo(16, depth).eval()
    with torch.no_grad():
        for each in module.context.parameters():  # every block passes on what its neighbours know
            each.add_(0.1 * torch.randn_like(each))
    engine, domain = TorchEngine(module, "cpu"), TrainingDomain("rdo", "jpeg", depth=depth)
    picture = Image(np.ascontiguousarray(lake.pixels[:256]))
    whole, cut = (wrapped("rdo", engine, domain, threads=threads)(picture, JPEG.setting(50)) for threads in (None, 4))
    assert (whole.pixels == cut.pixels).mean() > 0.9999  # sums in another order
    narrow = wrapped("rdo", engine, replace(domain, depth=1), threads=4)(picture, JPEG.setting(50))
    assert (whole.pixels == narrow.pixels).mean() < (whole.pixels == cut.pixels).mean()


def test_the_depth_that_is_not_told_is_that_of_the_module() -> None:
    assert inspect.signature(Rdo).parameters["depth"].default == TrainingDomain("rdo").depth
