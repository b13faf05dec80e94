"""Non-local means, detail, blur, shrink: filters of a few lines."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pictures import psnr, smooth
from PIL import Image as Pil
from PIL import ImageFilter

from kcompress.codecs import CODECS
from kcompress.images import Image, Pixels
from kcompress.networks.shrink import MASKING, Shrink
from kcompress.pool import filter_named
from kcompress.pool.detail import detail
from kcompress.pool.nonlocal_means import nonlocal_means


@pytest.fixture(scope="module")
def photo(lake: Image) -> Pixels:
    """(50, 77, 3)."""
    return lake.pixels[150:200, 200:277]


def test_nlm_is_opencvs_with_its_usual_windows(photo: Pixels) -> None:
    for strength in (3, 12.5):
        bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
        expected = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 7, 21)
        assert np.array_equal(nonlocal_means(photo, strength), cv2.cvtColor(expected, cv2.COLOR_BGR2RGB))


def test_nlm_takes_noise_away() -> None:
    clean = smooth(77, 50)
    noisy = np.clip(clean + np.random.default_rng(0).normal(0, 8, clean.shape), 0, 255).astype(np.uint8)
    assert psnr(nonlocal_means(noisy, 10), clean) > psnr(noisy, clean) + 2


def test_more_strength_changes_more(photo: Pixels) -> None:
    changes = [psnr(filter_named(name).apply(photo), photo) for name in ("nlm:h=1", "nlm", "nlm:h=10", "nlm:h=30")]
    assert changes == sorted(set(changes), reverse=True)
    assert np.array_equal(filter_named("nlm").apply(photo), filter_named("nlm:h=3").apply(photo))


def test_detail_is_pillows(photo: Pixels) -> None:
    expected = np.asarray(Pil.fromarray(photo).filter(ImageFilter.DETAIL))
    assert np.array_equal(detail(photo), expected)
    assert np.array_equal(filter_named("detail").apply(photo), expected)


def test_detail_sharpens_and_leaves_flat_areas(photo: Pixels) -> None:
    assert np.abs(np.diff(detail(photo).astype(int), axis=1)).mean() > np.abs(np.diff(photo.astype(int), axis=1)).mean()
    flat = np.full((9, 9, 3), 77, np.uint8)
    assert np.array_equal(detail(flat), flat)


def test_blur_is_a_gaussian(photo: Pixels) -> None:
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 0.7) ** 2)
    weights /= weights.sum()
    padded = np.pad(photo.astype(float), [(5, 5), (5, 5), (0, 0)], mode="reflect")
    for axis in (0, 1):
        padded = np.apply_along_axis(np.convolve, axis, padded, weights, "valid")
    assert np.abs(filter_named("blur:s=0.7").apply(photo) - padded).max() < 1.5  # OpenCV's has fewer taps


def test_blur_and_shrink_take_more_with_a_larger_number(photo: Pixels) -> None:
    for names in (("blur:s=0.4", "blur", "blur:s=0.8"), ("shrink:t=1", "shrink", "shrink:t=5")):
        rough = [np.abs(np.diff(filter_named(name).apply(photo).astype(int), axis=1)).mean() for name in names]
        assert rough == sorted(set(rough), reverse=True)
    assert np.array_equal(filter_named("blur").apply(photo), filter_named("blur:s=0.5").apply(photo))
    assert np.array_equal(filter_named("shrink").apply(photo), filter_named("shrink:t=2").apply(photo))


def test_shrink_is_the_threshold_of_the_network_shrink_where_nothing_masks(
    photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Threshold 2 is that of JPEG at coarseness 2 / 9.
    setting = replace(CODECS["jpeg"].setting(), coarseness=2 / 9)
    masked = Shrink()(Image(photo), setting).pixels
    assert not np.array_equal(filter_named("shrink").apply(photo), masked)
    monkeypatch.setitem(MASKING, "jpeg", 0.0)
    assert np.array_equal(filter_named("shrink").apply(photo), Shrink()(Image(photo), setting).pixels)


def test_ar_twice_is_ar_and_ar_again(photo: Pixels) -> None:
    once = filter_named("ar").apply(photo)
    assert np.array_equal(filter_named("ar:n=2").apply(photo), filter_named("ar").apply(once))


@pytest.mark.parametrize("name", ["nlm", "nlm:h=0.1", "nlm:h=100", "detail", "blur:s=0.1", "blur:s=20", "shrink:t=100"])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 2), (7, 5), (33, 3)], ids=str)
def test_any_size(name: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = pixels.copy()
    result = filter_named(name).apply(pixels)
    assert result.shape == pixels.shape and result.dtype == np.uint8
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("name", ["nlm:h=20", "detail", "blur", "shrink:t=9"])
def test_pixels_that_are_a_view(name: str, photo: Pixels) -> None:
    chosen = filter_named(name)
    assert np.array_equal(chosen.apply(photo[:, ::-1]), chosen.apply(photo[:, ::-1].copy()))


@pytest.mark.parametrize("name", ["nlm:h=20", "detail", "blur", "shrink:t=9"])
def test_grey_stays_grey_and_alpha_passes(name: str, grey: Image) -> None:
    image = Image(grey.pixels, alpha=grey.pixels[:, :, 0], grey=True)
    result = filter_named(name)(image, CODECS["jpeg"].setting())
    assert result.grey and result.alpha is image.alpha
    assert np.array_equal(result.pixels[:, :, 0], result.pixels[:, :, 2])
    assert not np.array_equal(result.pixels, image.pixels)
