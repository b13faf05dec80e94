"""What measures best is kept, and nothing is worse than the plain codec by that measure."""

import cv2
import numpy as np
import pytest
from pictures import smooth

from kcompress.codecs import CODECS
from kcompress.encoding import Session, encode, round_trip
from kcompress.images import Image
from kcompress.networks.loading import load
from kcompress.networks.shrink import Shrink
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.search.selection import METRIC, select


class Blur:
    """Loses everywhere."""

    name, network, conditioned, strength = "blur", "blur", False, 1.0

    def __call__(self, image, setting):
        return image.with_pixels(np.asarray(cv2.GaussianBlur(image.pixels, (0, 0), 2.5), np.uint8))


class Nothing:
    """Changes nothing."""

    name, network, conditioned, strength = "nothing", "nothing", False, 1.0

    def __call__(self, image, setting):
        return image


def ten(lake, balloons):
    """Small crops of all kinds."""
    rng = np.random.default_rng(0)
    cut = [
        picture.pixels[y : y + 64, x : x + 80]
        for picture in (lake, balloons)
        for y, x in ((0, 0), (90, 150), (130, 60))
    ]
    noise = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
    flat = np.full((40, 40, 3), 200, np.uint8)
    return [Image(pixels) for pixels in (*cut, smooth(96, 33), noise, flat, smooth(9, 70))]


@pytest.mark.parametrize("name", ["jpeg", "webp"])
def test_never_worse_than_none_by_its_own_measure(lake, balloons, name):
    codec = CODECS[name]
    setting = codec.setting(70)
    won = set()
    for image in ten(lake, balloons):
        chosen = select(*Session.of(image, codec, setting, "pillow"), [None, Blur(), Shrink()])
        cost = RateDistortionCost(*Session.of(image, codec, setting, "pillow"), {METRIC: 1.0})(chosen.encoded.data).cost
        assert cost <= 0
        assert cost == chosen.candidates[0].cost == min(each.cost for each in chosen.candidates if each.eligible)
        assert chosen.candidates[0].size == len(chosen.encoded.data)
        assert {each.network for each in chosen.candidates} == {"none", "blur", "shrink"}
        won.add(chosen.encoded.network)
    assert won >= {"none", "shrink"}, "the pictures must differ"


def test_where_every_network_loses_there_is_none(lake):
    codec = CODECS["jpeg"]
    chosen = select(*Session.of(Image(lake.pixels[:96, :96]), codec, codec.setting(75), "pillow"), [Blur()])
    plain = encode(Image(lake.pixels[:96, :96]), codec, codec.setting(75), None, "pillow")
    assert chosen.preprocessor is None
    assert (chosen.encoded.network, chosen.encoded.data) == ("none", plain.data)
    assert [each.network for each in chosen.candidates] == ["none", "blur"]


def test_what_is_much_worse_does_not_win_by_being_small(lake):
    """By the slope alone the blur would: its file of 1 kB is mostly headers."""
    codec = CODECS["jpeg"]
    chosen = select(*Session.of(Image(lake.pixels[:96, :96]), codec, codec.setting(75), "pillow"), [Blur()])
    blur = chosen.candidates[-1]
    assert (blur.network, blur.eligible) == ("blur", False)
    assert blur.cost < 0
    assert blur.score < chosen.candidates[0].score - 10


def test_of_equals_nothing_is_done(lake):
    codec = CODECS["jpeg"]
    chosen = select(*Session.of(Image(lake.pixels[:64, :64]), codec, codec.setting(75), "pillow"), [Nothing(), None])
    assert chosen.encoded.network == "none"


def test_the_winner_is_what_its_preprocessor_alone_would_give(lake):
    codec, image = CODECS["jpeg"], Image(lake.pixels[90:186, 150:278])
    chosen = select(*Session.of(image, codec, codec.setting(75), "pillow"), [Blur(), Shrink()])
    assert chosen.encoded.network == "shrink"
    assert chosen.encoded.data == encode(image, codec, codec.setting(75), Shrink(), "pillow").data


def test_too_small_to_be_judged(one_pixel):
    for name, shipped in (("webp", "feedback-webp"), ("bpg", "feedback-hevc")):
        codec = CODECS[name]
        feedback = load("feedback", device="cpu", codec=name, round_trip=round_trip(codec))
        chosen = select(*Session.of(one_pixel, codec, codec.setting(codec.quality.default)), [None, Shrink(), feedback])
        assert (chosen.encoded.network, chosen.candidates) == (shipped, ())
        assert "too small" in chosen.encoded.notes[-1] and f"{shipped} was taken" in chosen.encoded.notes[-1]
    codec = CODECS["avif"]
    chosen = select(*Session.of(one_pixel, codec, codec.setting()), [Shrink(), None])
    assert (chosen.encoded.network, chosen.candidates) == ("none", ())
    codec = CODECS["jpeg"]
    rdo = load("rdo", device="cpu", codec="jpeg")
    assert (
        select(*Session.of(one_pixel, codec, codec.setting(75), "pillow"), [Shrink(), rdo]).encoded.network
        == "rdo-jpeg"
    )
    assert select(*Session.of(one_pixel, codec, codec.setting(75), "pillow"), [None]).encoded.network == "none"
