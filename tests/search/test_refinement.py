"""Refinement as a whole: never worse by its own measure, better on a photograph, the same whatever the threads."""

import numpy as np
import pytest
from pictures import in_grey, smooth

from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session, encode
from kcompress.images import Image
from kcompress.networks.shrink import Shrink
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.search.refinement import WEIGHTS, Progress, refinable, refined, weights_for
from kcompress.search.selection import select
from kcompress.workers import drained

pytestmark = pytest.mark.usefixtures("one_thread")


class Noisy:
    """Makes files larger and pictures worse."""

    name, network, conditioned, strength = "noisy", "noisy", False, 1.0

    def __call__(self, image, setting):
        noise = np.random.default_rng(0).integers(-9, 10, image.pixels.shape)
        return image.with_pixels(np.clip(image.pixels + noise, 0, 255).astype(np.uint8))


class Darker:
    """Changes the picture itself, whatever the setting, and a little for the worse."""

    name, network, conditioned, strength = "darker", "darker", False, 1.0

    def __call__(self, image, setting):
        return image.with_pixels(np.maximum(image.pixels, 3) - np.uint8(3))


class UpsideDown:
    """Of no use at any strength."""

    name, network, conditioned, strength = "upside-down", "upside-down", False, 1.0

    def __call__(self, image, setting):
        return image.with_pixels(np.ascontiguousarray(image.pixels[::-1]))


def finish(image, codec, setting, preprocessor, *, steps, encoded=None, backend="pillow", **options):
    """The file, how it came about, and all that was told on the way."""
    encoded = encoded or encode(image, codec, setting, preprocessor, backend)
    told = []
    session = Session.of(image, codec, setting, backend)
    found = drained(refined(*session, preprocessor, encoded, steps=steps, **options), told.append)
    return *found, told


def cost(image, codec, setting, data):
    return RateDistortionCost(*Session.of(image, codec, setting, "pillow"), weights_for(image))(data).cost


def test_metrics_that_need_large_pictures_are_left_out_of_small_ones():
    large, small = (weights_for(Image(np.zeros((side, 200, 3), np.uint8))) for side in (161, 160))
    assert large == pytest.approx(WEIGHTS)
    assert set(WEIGHTS) - set(small) == {"ms-ssim", "iw-ssim"}
    assert sum(small.values()) == pytest.approx(1)
    assert small["ssimulacra2"] / small["psnr"] == pytest.approx(WEIGHTS["ssimulacra2"] / WEIGHTS["psnr"])


def crops(lake, balloons):
    yield from (Image(lake.pixels[y : y + 48, x : x + 64]) for y, x in ((0, 0), (100, 200), (300, 500)))
    yield Image(balloons.pixels[60:111, 50:121])
    yield Image(smooth(64, 48))
    yield Image(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    yield Image(np.full((48, 50, 3), 200, np.uint8))
    yield in_grey(Image(lake.pixels[200:248, 100:164]))
    yield Image(smooth(49, 70))
    yield Image(lake.pixels[150:198, 0:48])


@pytest.mark.parametrize(("name", "steps"), [("jpeg", 4), ("webp", 3)])
def test_never_worse_by_its_own_measure(lake, balloons, name, steps):
    codec = CODECS[name]
    setting = codec.setting(70)
    for image in crops(lake, balloons):
        before = encode(image, codec, setting, Shrink(), "pillow")
        after, how, _ = finish(image, codec, setting, Shrink(), steps=steps)
        gained = cost(image, codec, setting, after.data) - cost(image, codec, setting, before.data)
        assert gained <= 0
        assert how.cost == pytest.approx(gained, abs=1e-9)
        assert (how.kept == 0) == (how.cost == 0) or how.strength == 0
        assert decode(after.data).pixels.shape == image.pixels.shape


def test_a_photograph_gains(lake):
    codec, image = CODECS["jpeg"], Image(lake.pixels[100:196, 200:328])
    after, how, told = finish(image, codec, codec.setting(75), Shrink(), steps=12)
    assert how.of == "levels" and how.steps == 12 and how.kept >= 5 and how.strength is None
    assert how.cost < -0.04
    assert after.network == "shrink" and set(how.scores) == set(weights_for(image))
    assert told == [Progress(done, 6) for done in range(1, 7)]


def test_more_steps_gain_more(lake):
    codec, image = CODECS["jpeg"], Image(lake.pixels[:96, :128])
    few, many = (finish(image, codec, codec.setting(75), None, steps=steps)[1].cost for steps in (1, 20))
    assert many < few - 0.02


def test_threads_change_nothing(monkeypatch, lake):
    from kcompress.search import levels

    monkeypatch.setattr(levels, "TILE_SIDE", 32)
    codec, image = CODECS["jpeg"], Image(lake.pixels[100:164, 200:264])
    files = {finish(image, codec, codec.setting(75), None, steps=5, threads=threads)[0].data for threads in (1, 3)}
    assert len(files) == 1


def test_what_another_preprocessor_made_is_what_is_decided_on(lake):
    codec, image = CODECS["jpeg"], Image(lake.pixels[100:148, 200:264])
    setting = codec.setting(75)
    dark = encode(image, codec, setting, Darker(), "pillow")
    after, how, _ = finish(image, codec, setting, Darker(), steps=4)
    assert how.cost < 0 and after.network == "darker"
    shift = [float(decode(each.data).pixels.mean()) - float(image.pixels.mean()) for each in (dark, after)]
    assert shift[1] == pytest.approx(shift[0], abs=0.7)


@pytest.mark.parametrize(
    ("name", "options"),
    [("webp", {}), ("jpeg", {"chroma": "444"})],
)
def test_elsewhere_the_strength_is_searched(lake, name, options):
    codec, image = CODECS[name], Image(lake.pixels[100:164, 200:296])
    _, how, told = finish(image, codec, codec.setting(60, **options), Shrink(), steps=3)
    assert how.of == "strength" and how.steps == 3
    assert told == [Progress(done, 3) for done in (1, 2, 3)]


def test_the_strength_that_is_told_is_of_the_whole_change(lake):
    codec, image = CODECS["webp"], Image(lake.pixels[100:164, 200:296])
    found = []
    for strength in (1.0, 0.5):
        preprocessor = Darker()
        preprocessor.strength = strength  # of a change that is twice as large
        before = encode(image, codec, codec.setting(60), UpsideDown(), "pillow")
        after, how, _ = finish(image, codec, codec.setting(60), preprocessor, steps=1, encoded=before)
        found.append((after.data, how.strength))
    assert found[0][0] == found[1][0] and found[1][1] == found[0][1] / 2


def test_before_mozjpeg_levels_take_the_place_of_its_search(lake):
    pytest.importorskip("pyvips")
    codec, image = CODECS["jpeg"], Image(np.ascontiguousarray(lake.pixels[100:196, 200:328]))
    setting = codec.setting(60)
    after, how, _ = finish(image, codec, setting, None, steps=20, backend="mozjpeg")
    assert how.of == "levels" and how.kept > 0 and how.cost < -0.03
    assert after.backend == "mozjpeg"
    judge = RateDistortionCost(*Session.of(image, codec, setting, "mozjpeg"), weights_for(image))
    assert judge(after.data).cost == pytest.approx(how.cost)


def test_a_bad_preprocessor_is_left_out(lake):
    codec, image = CODECS["webp"], Image(lake.pixels[100:164, 200:264])
    after, how, _ = finish(image, codec, codec.setting(60), UpsideDown(), steps=12)
    plain = encode(image, codec, codec.setting(60), None, "pillow")
    assert (after.network, after.data, how.strength) == ("none", plain.data, 0)
    assert how.steps < 12, "it stops where nothing is left to find"


def test_after_a_selection_less_of_a_loser_may_gain():
    image, webp, jpeg = Image(smooth(96, 64)), CODECS["webp"], CODECS["jpeg"]
    noisy = Noisy()
    chosen = select(*Session.of(image, webp, webp.setting(60), "pillow"), [noisy])
    assert chosen.preprocessor is None
    assert refinable(chosen, webp.setting(60)) is noisy
    assert refinable(chosen, jpeg.setting(60)) is None
    after, _, _ = finish(image, webp, webp.setting(60), noisy, steps=2, encoded=chosen.encoded)
    assert cost(image, webp, webp.setting(60), after.data) <= 0


@pytest.mark.parametrize(("name", "preprocessor"), [("jpeg", Shrink()), ("webp", Shrink()), ("webp", None)])
def test_what_cannot_be_refined_stays_with_a_note(one_pixel, lake, name, preprocessor):
    codec = CODECS[name]
    image = one_pixel if preprocessor else Image(lake.pixels[:48, :48])
    before = encode(image, codec, codec.setting(75), preprocessor, "pillow")
    after, how, told = finish(image, codec, codec.setting(75), preprocessor, steps=5)
    assert (after.data, how.of, how.steps, how.cost, told) == (before.data, None, 0, 0, [])
    assert ("too small" if preprocessor else "nothing to refine") in after.notes[-1]
