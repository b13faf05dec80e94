"""Targets: held where they can be, by the best quality, in few tries, and with what auto and refinement make."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session
from kcompress.errors import UnsupportedError
from kcompress.images import Image
from kcompress.metrics import METRICS
from kcompress.networks.shrink import Shrink
from kcompress.programs import CWEBP
from kcompress.search.plan import EncodePlan
from kcompress.search.target import BPP, SIZE, TRIES, Target, first, following, reach
from kcompress.search.targeted import check_size, encode_to_target
from kcompress.search.typical import TypicalCurve

pytestmark = pytest.mark.usefixtures("one_thread")


def qualities(codec):
    scale = CODECS[codec].quality
    step = 1 if scale.finest > scale.coarsest else -1
    return range(scale.coarsest, scale.finest + step, step)


def search(target, codec, curve, start=None, most=TRIES):
    """Search on a curve: value by place. The result is its place."""
    allowed, asked = qualities(codec), []

    def attempt(quality):
        asked.append(quality)
        return allowed.index(quality), float(curve[allowed.index(quality)])

    begin = first(target, codec, allowed, 1000, 1000) if start is None else start
    reached = reach(target, attempt, codec, allowed, begin, most)
    assert len(asked) == len(set(asked)) == reached.tries <= most
    assert reached.quality == allowed[reached.result]
    return reached


@settings(max_examples=150, deadline=None)
@given(
    codec=st.sampled_from(sorted(CODECS)), shift=st.floats(-15, 15), stretch=st.floats(0.7, 1.4), bend=st.floats(-4, 4),
    asked=st.floats(40, 90),
)  # fmt: skip
def test_a_score_is_held_by_nearly_the_coarsest_file_that_can(codec, shift, stretch, bend, asked):
    typical = TypicalCurve(codec, qualities(codec), of_rate=False).values
    curve = np.maximum.accumulate(50 + (typical - 50) * stretch + shift + bend * np.sin(typical / 15))
    target = Target("ssimulacra2", asked)
    reached = search(target, codec, curve)
    holding = [place for place, score in enumerate(curve) if score >= asked - 0.3]
    assert reached.holds == bool(holding)
    if holding:
        assert reached.measured >= asked - 0.3
        assert reached.measured <= asked + 0.3 or reached.result - holding[0] <= 1
    else:
        assert reached.measured == curve.max()


@settings(max_examples=150, deadline=None)
@given(
    codec=st.sampled_from(sorted(CODECS)), shift=st.floats(-1.5, 1.5), stretch=st.floats(0.7, 1.3),
    asked=st.integers(10_000, 700_000),
)  # fmt: skip
def test_a_size_is_never_exceeded_and_nearly_used_up(codec, shift, stretch, asked):
    typical = TypicalCurve(codec, qualities(codec), of_rate=True).values
    curve = np.rint(np.exp(typical * stretch + shift) * 1e6 / 8)
    reached = search(Target(SIZE, asked), codec, curve)
    holding = [place for place, size in enumerate(curve) if size <= asked]
    assert reached.holds == bool(holding)
    if holding:
        assert reached.measured <= asked
        assert reached.measured >= 0.98 * asked or holding[-1] - reached.result <= 1
    else:
        assert reached.result == 0


def test_where_lower_is_better():
    curve = np.geomspace(9, 0.3, 101)
    reached = search(Target("butteraugli", 1.0), "jpeg", curve)
    assert reached.holds and reached.measured == max(score for score in curve if score <= 1.0)


def test_noise_does_not_mislead():
    """A network at another quality may make a finer file smaller."""
    rng, typical = np.random.default_rng(3), TypicalCurve("webp", qualities("webp"), of_rate=False).values
    for asked in range(45, 86, 2):
        reached = search(Target("ssimulacra2", asked), "webp", typical + rng.normal(0, 0.4, typical.size))
        assert reached.holds and reached.measured < asked + 1.5


def test_what_lies_beyond_the_scale_takes_one_try():
    curve = np.linspace(0, 90, 101)
    assert search(Target("ssimulacra2", 99), "jpeg", curve).tries == 1
    assert search(Target(SIZE, 10), "jpeg", curve + 1000).tries == 1


def test_following_ends_between_neighbours():
    assert following({4: -1.0, 5: 1.0}, range(10), 1.0) is None
    assert following({4: -1.0, 6: 1.0}, range(10), 1.0) == 5
    assert following({9: -1.0}, range(10), 1.0) is None
    assert following({0: 1.0}, range(10), 1.0) is None
    assert following({5: -2.0}, range(10), 1.0) == 7
    assert following({5: -2.0}, range(10), None) > 5


def test_a_codec_without_a_curve_borrows_one_or_takes_a_line():
    assert (TypicalCurve("bpg", qualities("bpg"), of_rate=True).values == TypicalCurve(
        "hevc", qualities("hevc"), of_rate=True).values).all()  # fmt: skip
    for codec in CODECS:
        for of_rate in (False, True):
            assert (np.diff(TypicalCurve(codec, qualities(codec), of_rate=of_rate).values) > 0).all()


def plan(codec, *preprocessors, **options):
    codec = CODECS[codec]
    return EncodePlan(codec, codec.setting(), preprocessors or (None,), "pillow", **options)


def true_score(image, data):
    return METRICS["ssimulacra2"].score(image.pixels, decode(data).pixels)


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
@pytest.mark.parametrize("score", [45, 62])
def test_files_have_the_score(balloons, codec, score):
    image = Image(balloons.pixels[20:180, 60:252])
    found = encode_to_target(plan(codec), Target("ssimulacra2", score), image, 1)
    assert score - 0.3 <= found.reached == pytest.approx(true_score(image, found.encoded.data))
    coarser = Session.of(image, CODECS[codec], CODECS[codec].setting(found.encoded.setting.quality - 2), "pillow")[1]
    assert found.reached <= score + 0.3 or true_score(image, coarser.encode(image).data) < score - 0.3
    assert found.tries <= TRIES and not found.encoded.notes


def test_files_have_the_size_and_the_rate(balloons):
    image = Image(balloons.pixels[20:180, 60:252])
    by_size = encode_to_target(plan("jpeg"), Target(SIZE, 9000), image, 1)
    assert 8500 < len(by_size.encoded.data) == by_size.reached <= 9000
    rate = 8 * 9000 / (160 * 192)
    by_rate = encode_to_target(plan("jpeg"), Target(BPP, rate), image, 1)
    assert by_rate.encoded.data == by_size.encoded.data and by_rate.reached == by_rate.encoded.bpp <= rate


def test_auto_chooses_at_the_quality_that_has_the_target(balloons):
    image, target = Image(balloons.pixels[20:180, 60:252]), Target("ssimulacra2", 45)
    found = encode_to_target(plan("jpeg", Shrink(), auto=True), target, image, 1)
    assert found.selection is not None and {each.network for each in found.selection.candidates} == {"none", "shrink"}
    assert found.encoded.network == found.selection.candidates[0].network == "shrink"
    assert abs(found.reached - 45) <= 0.6


@pytest.mark.parametrize("target", [Target("ssimulacra2", 65), Target(SIZE, 5000)], ids=str)
def test_refinement_holds_the_target_too(balloons, target):
    image = Image(balloons.pixels[60:156, 100:196])
    plain = encode_to_target(plan("jpeg"), target, image, 1)
    refined = encode_to_target(plan("jpeg", refine=5), target, image, 1)
    assert refined.refinement is not None and refined.encoded.data != plain.encoded.data
    assert target.holds(refined.reached) and plain.tries < refined.tries <= plain.tries + 3
    if target.metric:
        assert len(refined.encoded.data) < len(plain.encoded.data)


def test_too_small_a_picture_is_encoded_as_ever(one_pixel):
    found = encode_to_target(plan("jpeg"), Target("ssimulacra2", 80), one_pixel, 1)
    assert found.reached is None and found.encoded.setting.quality == 75
    assert "too small for its target" in found.encoded.notes[-1]
    assert encode_to_target(plan("jpeg"), Target(SIZE, 5000), one_pixel, 1).reached <= 5000


def test_a_score_that_cannot_be_reached_is_noted(balloons):
    fine = encode_to_target(plan("jpeg"), Target("ssimulacra2", 99.9), Image(balloons.pixels[:64, :64]), 1)
    assert fine.encoded.setting.quality == 100 and "ssimulacra2=99.9 was not reached" in fine.encoded.notes[-1]


@pytest.mark.parametrize("target", [Target(SIZE, 20), Target(BPP, 0.02)], ids=str)
def test_a_size_that_cannot_be_reached_is_refused(balloons, target):
    large = encode_to_target(plan("jpeg"), target, Image(balloons.pixels[:64, :64]), 1)
    size = len(large.encoded.data)
    assert large.encoded.setting.quality == 0 and size > 100 and not large.encoded.notes
    with pytest.raises(UnsupportedError, match=rf"a.png takes at least {size} bytes \(0.* the target {target}"):
        check_size(large, "a.png")
    reached = encode_to_target(plan("jpeg"), Target(SIZE, size), Image(balloons.pixels[:64, :64]), 1)
    check_size(reached, "a.png")
    assert reached.encoded.data == large.encoded.data


def test_a_search_that_runs_out_of_tries_ends_where_the_target_is_held():
    curve = np.concatenate([np.linspace(20, 21, 100), [90]])
    assert search(Target("vif", 0.9), "jpeg", curve / 100, start=5).result == 100
    assert search(Target(SIZE, 400), "jpeg", np.concatenate([[300], np.linspace(1000, 1001, 100)])).result == 0


@pytest.mark.encoders
@pytest.mark.skipif(CWEBP.version() is None, reason="needs cwebp")
@pytest.mark.parametrize(("score", "kept"), [(85, "near-lossless"), (99.9, "lossless")])
def test_webp_holds_by_nearly_no_loss_what_it_cannot_with_losses(balloons, score, kept):
    image, target = Image(balloons.pixels[20:180, 60:252]), Target("ssimulacra2", score)
    found = encode_to_target(replace(plan("webp"), backend="auto"), target, image, 1)
    assert found.kept == kept and kept in found.encoded.notes[-1] and found.encoded.network == "none"
    assert score - 0.3 <= found.reached == pytest.approx(true_score(image, found.encoded.data))
    codec, effort = CODECS["webp"], CODECS["webp"].effort.default
    sizes = {level: codec.lossless.encode(image, effort, level) for level in codec.lossless.levels(image)}
    coarser = [data for data in sizes.values() if len(data) < len(found.encoded.data)]
    assert found.encoded.data in sizes.values()
    assert all(true_score(image, data) < score - 0.3 for data in coarser) and (coarser or kept == "lossless")


@pytest.mark.encoders
@pytest.mark.skipif(CWEBP.version() is None, reason="needs cwebp")
def test_webp_takes_sharp_chroma_where_plain_chroma_has_too_few_colours(balloons):
    image, target = Image(balloons.pixels[20:180, 60:252]), Target("ssimulacra2", 76)
    free = replace(plan("webp", finer_chroma=True), backend="auto")
    found = encode_to_target(free, target, image, 1)
    assert found.holds and found.encoded.setting.sharp_yuv and found.kept is None and "sharp" in found.encoded.notes[-1]
    fixed = encode_to_target(replace(free, finer_chroma=False), target, image, 1)
    assert fixed.holds and not fixed.encoded.setting.sharp_yuv and fixed.kept == "near-lossless"
    assert len(found.encoded.data) < len(fixed.encoded.data)


def test_colours_that_420_cannot_hold_get_444(balloons):
    image, target = Image(balloons.pixels[20:180, 60:252]), Target("ssimulacra2", 80)
    half = encode_to_target(plan("jpeg"), target, image, 1)
    assert not half.holds and half.encoded.setting.chroma == "420" and half.encoded.setting.quality == 100
    full = encode_to_target(plan("jpeg", finer_chroma=True), target, image, 1)
    assert full.holds and full.encoded.setting.chroma == "444" and "4:4:4" in full.encoded.notes[-1]
    easy = encode_to_target(plan("jpeg", finer_chroma=True), Target("ssimulacra2", 50), image, 1)
    assert easy.encoded.setting.chroma == "420"
