"""Refined levels: what the encoder makes of them, tiles, and that nothing depends on threads."""

import numpy as np
import pytest
import torch

from kcompress.codecs import CODECS
from kcompress.images import Image
from kcompress.inference.models import torch_module
from kcompress.inference.weights import open_weights
from kcompress.networks.condition import TrainingDomain, condition
from kcompress.networks.loading import shipped_weights
from kcompress.networks.rdo import Rdo
from kcompress.proxies.jpeg import DifferentiableJpeg, standard_quantiser_steps
from kcompress.search import levels
from kcompress.search.levels import Levels
from kcompress.search.refinement import weights_for

JPEG = CODECS["jpeg"]
SETTING = JPEG.setting(70)
PLANES = ("luma", "chroma")
WEIGHTS = weights_for(Image(np.zeros((48, 48, 3), np.uint8)))
"""Of the metrics that serve small tiles."""

pytestmark = pytest.mark.usefixtures("one_thread")


def refined(pixels, steps=(4, 8), threads=1):
    settings = [JPEG.setting(quality) for quality in (62, 70, 76)]
    found = Levels(pixels, pixels, settings, Rdo(), (0, 100), WEIGHTS)
    assert list(found.descend(steps, threads)) == list(range(1, len(found) + 1))
    return found


def blocks(pixels, quantised=True):
    """Levels that the encoder makes of pixels, or coefficients in steps; luma's and chroma's."""
    codec = DifferentiableJpeg(standard_quantiser_steps([SETTING.quality]))
    coefficients = codec.coefficients(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255)
    return codec.quantise(coefficients) if quantised else coefficients


def coded(pixels):
    found = blocks(pixels)
    return torch.cat([found.luma.flatten(), found.chroma.flatten()])


def test_levels_fall_or_rise_by_one_and_hardly_any_other_changes(lake):
    pixels = lake.pixels[100:164, 200:280]
    before, after = coded(pixels), coded(refined(pixels).pixels(8))
    change = (after.abs() - before.abs()) * (before != 0)
    assert 0.1 < float((change == -1).sum() / (before != 0).sum()) < 0.9
    assert (change == 1).sum() > 1
    assert float((after != before).float().mean()) > 0.02
    assert float(((before == 0) & (after != 0)).float().mean()) < 0.002
    assert float((change.abs() > 1).float().mean()) < 0.001


def test_dc_moves_to_the_other_level_beside_its_coefficient(lake):
    pixels = lake.pixels[100:164, 200:280]
    before, after = blocks(pixels, quantised=False), blocks(refined(pixels).pixels(8))
    errors = torch.cat([(getattr(after, each) - getattr(before, each))[..., 0, 0].flatten() for each in PLANES]).abs()
    assert 0.01 < float((errors > 0.55).float().mean()) < 0.5
    assert float(errors.max()) < 1.1


def test_no_dc_changes_where_8_bits_are_too_coarse_or_chroma_is_whole():
    network = Rdo()
    fine, whole, usual = (
        network.allowed(torch.from_numpy(condition(setting, (0, 100))), dc=True)
        for setting in (JPEG.setting(100), JPEG.setting(70, "444"), SETTING)
    )
    assert not fine.any() and not whole[:, 256:].any()
    assert usual.all()


def test_later_steps_decide_otherwise(lake):
    found = refined(lake.pixels[100:148, 200:248])
    assert (found.pixels(4) != found.pixels(8)).any()


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(levels, "TILE_SIDE", 64)


def test_threads_change_nothing(small_tiles, lake):
    pixels = lake.pixels[100:177, 200:331]
    one, several = (refined(pixels, (3, 5), threads).pixels(5) for threads in (1, 3))
    np.testing.assert_array_equal(one, several)


def test_no_seams(small_tiles, lake):
    """Beside the edges of tiles, pixels change as much as beside those of any other MCU."""
    pixels = lake.pixels[100:196, 200:456]
    found = refined(pixels)
    assert len(found) == 8
    change = np.abs(found.pixels(8).astype(float) - pixels).mean((0, 2))
    beside = np.array([(change[edge - 1] + change[edge]) / 2 for edge in range(16, 256, 16)])
    at_tiles = np.arange(16, 256, 16) % 64 == 0
    assert beside[at_tiles].mean() < 1.25 * beside[~at_tiles].mean()


def test_sides_that_are_no_multiple_of_an_mcu(balloons):
    pixels = balloons.pixels[:53, :67]
    result = refined(pixels, (2,)).pixels(2)
    assert result.shape == pixels.shape
    assert (result != pixels).any()


def test_a_flat_picture_stays(lake):
    flat = np.full((48, 48, 3), 90, np.uint8)
    np.testing.assert_array_equal(refined(flat, (2,)).pixels(2), flat)


def test_the_network_is_told_no_more_than_it_was_trained_for(lake, monkeypatch):
    weights, settings = open_weights(shipped_weights("rdo", "jpeg"), "rdo"), [JPEG.setting(each) for each in (4, 8, 12)]
    pixels, network, told = lake.pixels[:48, :48], torch_module(weights, Rdo), []
    decide = Rdo.decide
    monkeypatch.setattr(Rdo, "decide", lambda self, *inputs: told.append(inputs[1]) or decide(self, *inputs))
    for trained in (TrainingDomain.from_weights(weights).qualities, (0, 100)):
        list(Levels(pixels, pixels, settings, network, trained, WEIGHTS).descend((1,)))
    assert [float(condition[0, -2]) for condition in told] == pytest.approx([0.88, 0.92])
