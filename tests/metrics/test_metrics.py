"""What holds for every metric of the table, and the scorer of several."""

import math
import subprocess
import sys

import numpy as np
import pytest
from metrics.degraded import jpeg, noisy

from kcompress.errors import InputError, UnsupportedError, UsageError
from kcompress.metrics import METRICS, Scorer, vmaf

EACH = [
    pytest.param(
        metric,
        id=metric.name,
        marks=pytest.mark.skipif(not metric.available(), reason=f"{metric.name} is not installed"),
    )
    for metric in METRICS.values()
]
each = pytest.mark.parametrize("metric", EACH)
# A metric without reference does not know what perfect is.
comparing = pytest.mark.parametrize("metric", [chosen for chosen in EACH if chosen.values[0].reference])
# The perfect score; VMAF's is a range.
PERFECT = {
    "psnr": math.inf,
    "psnr-hvs-m": math.inf,
    "ms-ssim": 1,
    "iw-ssim": 1,
    "vif": pytest.approx(1, abs=1e-6),
    "ssimulacra2": 100,
    "butteraugli": 0,
    "cvvdp": 10,
}


def test_the_table():
    assert list(METRICS) == [
        "ssimulacra2", "psnr", "psnr-hvs-m", "ms-ssim", "iw-ssim", "vif", "vmaf", "vmaf-neg", "butteraugli", "cvvdp",
        "vqscore",
    ]  # fmt: skip
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.range[0] < metric.range[1]
        assert (metric.direction == "lower") == (name == "butteraugli")
        assert metric.reference == (name != "vqscore")


@pytest.mark.parametrize("name", ["vmaf", "vmaf-neg"])
def test_what_comes_with_the_package_is_there(name):
    assert METRICS[name].available()


@comparing
def test_identical_pictures_are_perfect(metric, photo):
    score = metric.score(photo, photo.copy())
    if metric.name in PERFECT:
        assert score == PERFECT[metric.name]
    else:
        assert vmaf.MAXIMUM <= score < vmaf.MAXIMUM + 0.1


@comparing
def test_identical_pictures_are_perfect_at_the_smallest_size(metric):
    side = metric.smallest_side
    pixels = np.random.default_rng(1).integers(0, 256, (side, side + 1, 3), dtype=np.uint8)
    assert metric.score(pixels, pixels.copy()) == PERFECT.get(metric.name, pytest.approx(97.43, abs=0.01))
    same, inverted = metric.score(pixels, pixels.copy()), metric.score(pixels, 255 - pixels)
    assert same > inverted if metric.direction == "higher" else same < inverted


@each
def test_more_noise_is_worse_and_stays_in_range(metric, photo):
    # Without reference, noise of 12 and of 40 levels is both at the bottom of the scale, in no certain order.
    strengths = (1, 4, 12, 40) if metric.reference else (1, 4, 12)
    scores = [metric.score(photo, noisy(photo, sigma)) for sigma in strengths]
    assert scores == sorted(set(scores), reverse=metric.direction == "higher")
    assert all(metric.range[0] <= score <= metric.range[1] for score in scores)


@each
def test_a_lower_quality_is_worse(metric, photo):
    scores = [metric.score(photo, jpeg(photo, quality)) for quality in (95, 75, 50, 25, 8)]
    assert scores == sorted(set(scores), reverse=metric.direction == "higher")


@each
def test_the_same_bits_twice(metric, photo):
    distorted = jpeg(photo, 40)
    assert metric.score(photo, distorted) == metric.score(photo, distorted)


@pytest.mark.parametrize("name", ["psnr", "psnr-hvs-m", "ms-ssim"])
def test_those_that_are_symmetric(name, photo):
    distorted = noisy(photo, 9)
    assert METRICS[name].score(photo, distorted) == pytest.approx(METRICS[name].score(distorted, photo), abs=1e-6)


@each
def test_below_the_smallest_side(metric):
    if metric.smallest_side == 1:
        pytest.skip("takes any picture")
    pixels = np.zeros((200, metric.smallest_side - 1, 3), np.uint8)
    with pytest.raises(UnsupportedError, match=f"{metric.smallest_side} pixels a side.*{metric.smallest_side - 1}x200"):
        metric.score(pixels, pixels)


@each
def test_different_sizes(metric, photo):
    with pytest.raises(InputError, match=r"319x256.*320x256"):
        metric.score(photo, photo[:, 1:])


@each
def test_pixels_that_are_a_view(metric, photo):
    mirrored = photo[:, ::-1]
    distorted = noisy(photo, 9)[:, ::-1]
    assert metric.score(mirrored, distorted) == metric.score(mirrored.copy(), distorted.copy())


def test_several_at_once_equal_each_alone(photo):
    names = [name for name, metric in METRICS.items() if metric.available()][::-1]
    scorer = Scorer(photo, names)
    for distorted in (jpeg(photo, 30), noisy(photo, 5)):
        scores = scorer(distorted)
        assert list(scores) == names
        assert scores == {name: METRICS[name].score(photo, distorted) for name in names}


def test_the_original_is_prepared_once(photo, monkeypatch):
    from kcompress.metrics import ssimulacra2

    made = []
    real = ssimulacra2.Reference
    monkeypatch.setattr(ssimulacra2, "Reference", lambda original: made.append(1) or real(original))
    scorer = Scorer(photo, ["ssimulacra2"])
    scorer(photo)
    scorer(jpeg(photo, 50))
    assert made == [1]


def test_an_unknown_metric(photo):
    with pytest.raises(UsageError, match=r"no metric ssim.*ssimulacra2, psnr"):
        Scorer(photo, ["psnr", "ssim"])


def test_the_table_does_not_import_torch():
    code = "import sys, kcompress.metrics; print([name for name in ('torch', 'imageio_ffmpeg') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
