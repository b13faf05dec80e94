"""Rate-distortion cost: its figures by hand, what is scored of large pictures, and pictures that are no plain sRGB."""

import math
from dataclasses import replace

import numpy as np
import pytest
from pictures import psnr, smooth

from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session, encode
from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.metrics import METRICS
from kcompress.rate_distortion import scoring
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.rate_distortion.scoring import crops
from kcompress.rate_distortion.slope import least_squares_slope, qualities

PSNR = {"psnr": 1.0}


def test_the_slope_is_that_of_a_line_through_the_points():
    scores, rates = [60.0, 71.0, 78.0], [1.0, 1.4, 2.0]
    assert least_squares_slope(scores, rates) == pytest.approx(np.polyfit(scores, rates, 1)[0])
    assert least_squares_slope([2.0, 1.0], [1.0, 3.0]) == 0  # nothing should be paid for a score that falls
    assert least_squares_slope([5.0, 5.0], [1.0, 2.0]) == 0
    assert least_squares_slope([5.0], [1.0]) == 0


@pytest.mark.parametrize(
    ("codec", "quality", "expected"),
    [("jpeg", 75, (65, 75, 85)), ("jpeg", 100, (90, 100)), ("webp", 3, (0, 3, 13)), ("hevc", 28, (33, 28, 23))],
)
def test_qualities_are_a_tenth_of_the_scale_away(codec, quality, expected):
    assert qualities(CODECS[codec].quality, quality, (-1, 0, 1)) == expected


def test_the_cost_by_hand(lake):
    image, codec = Image(lake.pixels[100:196, 200:328]), CODECS["jpeg"]
    judge = RateDistortionCost(*Session.of(image, codec, codec.setting(60), "pillow"), PSNR)
    files = {quality: encode(image, codec, codec.setting(quality), None, "pillow").data for quality in (50, 60, 66, 70)}
    scores = {quality: psnr(image.pixels, decode(data).pixels) for quality, data in files.items()}
    ladder = (50, 60, 70)
    paid = np.polyfit([scores[each] for each in ladder], [math.log(len(files[each])) for each in ladder], 1)[0]
    found = judge(files[66])
    assert judge.slopes["psnr"] == pytest.approx(paid)
    assert found.size == len(files[66])
    assert found.scores == pytest.approx({"psnr": scores[66]})
    expected = math.log(len(files[66]) / len(files[60])) - paid * (scores[66] - scores[60])
    assert found.cost == pytest.approx(expected)
    assert judge(files[60]).cost == 0
    assert judge.plain.data == files[60]
    assert judge.floor == pytest.approx({"psnr": scores[50]})


def test_weights_share_the_cost(lake):
    image, codec = Image(lake.pixels[:96, :96]), CODECS["jpeg"]
    data = encode(image, codec, codec.setting(50), None, "pillow").data
    costs = [
        RateDistortionCost(*Session.of(image, codec, codec.setting(60), "pillow"), weights)(data).cost
        for weights in (PSNR, {"ssimulacra2": 1.0}, {"psnr": 0.25, "ssimulacra2": 0.75})
    ]
    assert costs[2] == pytest.approx(0.25 * costs[0] + 0.75 * costs[1])


def test_of_a_metric_that_falls_less_is_better(monkeypatch, lake):
    image, codec = Image(lake.pixels[:96, :96]), CODECS["jpeg"]
    data = encode(image, codec, codec.setting(50), None, "pillow").data
    higher = RateDistortionCost(*Session.of(image, codec, codec.setting(60), "pillow"), PSNR)(data).cost
    metric = METRICS["psnr"]
    negative = replace(metric, direction="lower", prepare=lambda original: lambda seen: -metric.prepare(original)(seen))
    monkeypatch.setitem(METRICS, "psnr", negative)
    assert RateDistortionCost(*Session.of(image, codec, codec.setting(60), "pillow"), PSNR)(data).cost == pytest.approx(
        higher
    )


def test_equal_pictures_have_a_finite_score():
    image, codec = Image(np.full((32, 32, 3), 128, np.uint8)), CODECS["jpeg"]
    judge = RateDistortionCost(*Session.of(image, codec, codec.setting(60), "pillow"), PSNR)
    assert judge.scores == {"psnr": scoring.LARGEST}
    assert judge(judge.plain.data).cost == 0


def test_at_the_coarse_end_there_is_no_floor():
    codec = CODECS["jpeg"]
    assert RateDistortionCost(*Session.of(Image(smooth(32, 32)), codec, codec.setting(0), "pillow"), PSNR).floor is None


@pytest.mark.parametrize("size", [(64, 100), (2048, 2048)])
def test_a_picture_is_scored_whole(size):
    assert crops(*size) == [(slice(0, size[0]), slice(0, size[1]))]


@pytest.mark.parametrize("size", [(2049, 2049), (6000, 8333), (100, 65500), (60000, 90), (3000, 1500)])
def test_of_large_pictures_crops_spread_evenly(size):
    found = crops(*size)
    assert 4 <= len(found) <= scoring.CROPS
    assert len({(rows.start, columns.start) for rows, columns in found}) == len(found)
    for axis, length in enumerate(size):
        starts = sorted({crop[axis].start for crop in found})
        ends = sorted({crop[axis].stop for crop in found})
        assert starts[0] >= 0 and ends[-1] <= length
        assert all(crop[axis].stop - crop[axis].start <= scoring.CROP_SIDE for crop in found)
        if len(starts) > 1:  # as much is left out on one side as on the other, give or take two pieces
            assert abs(starts[0] - (length - ends[-1])) <= 2 * scoring.CROP_SIDE


def test_crops_are_what_counts(monkeypatch, lake):
    monkeypatch.setattr(scoring, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(scoring, "CROP_SIDE", 64)
    image, codec = Image(lake.pixels[:256, :256]), CODECS["jpeg"]
    judge = RateDistortionCost(*Session.of(image, codec, codec.setting(60), "pillow"), PSNR)
    decoded = decode(judge.plain.data).pixels
    scores = [psnr(image.pixels[crop], decoded[crop]) for crop in crops(256, 256)]
    assert len(scores) == 16
    assert judge.scores["psnr"] == pytest.approx(np.mean(scores))


def test_a_bare_stream_of_odd_sides(balloons):
    codec = CODECS["hevc"]
    image = Image(balloons.pixels[:63, :65])
    judge = RateDistortionCost(*Session.of(image, codec, codec.setting(28, raw=True)), PSNR)
    assert judge.scores["psnr"] > 25


def test_transparency_lies_over_white(alpha):
    codec = CODECS["webp"]
    judge = RateDistortionCost(*Session.of(alpha, codec, codec.setting(75), "pillow"), PSNR)
    shown = alpha.flattened((255, 255, 255)).pixels
    decoded = decode(judge.plain.data).flattened((255, 255, 255)).pixels
    assert judge.scores["psnr"] == pytest.approx(psnr(shown, decoded))


def test_a_broken_profile_spoils_nothing():
    codec = CODECS["jpeg"]
    image = Image(smooth(64, 48), icc=b"no profile" * 20)
    plain = RateDistortionCost(*Session.of(replace(image, icc=None), codec, codec.setting(75), "pillow"), PSNR)
    assert RateDistortionCost(*Session.of(image, codec, codec.setting(75), "pillow"), PSNR).scores == plain.scores


def test_what_is_too_small_is_refused(one_pixel):
    codec = CODECS["jpeg"]
    with pytest.raises(UnsupportedError, match="ssimulacra2 needs 8 pixels a side"):
        RateDistortionCost(*Session.of(one_pixel, codec, codec.setting(75), "pillow"), {"ssimulacra2": 1.0})
