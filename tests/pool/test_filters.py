"""Filters of a few lines: non-local means, detail, blur, shrink, bilateral, guided, chroma, sharpen."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pictures import psnr, smooth
from PIL import Image as Pil
from PIL import ImageFilter
from scipy.ndimage import gaussian_filter

from kcompress.codecs import CODECS
from kcompress.images import Image, Pixels
from kcompress.networks.shrink import MASKING, Shrink
from kcompress.pool import filter_named, group_named, strips
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


def test_bilateral_is_the_formula(photo: Pixels) -> None:
    """Weights by distance and by the summed differences of the channels, in a disc of 1.5 deviations."""
    padded = np.pad(photo.astype(float), [(3, 3), (3, 3), (0, 0)], mode="reflect")
    total, weights = np.zeros(photo.shape), np.zeros(photo.shape[:2])
    for y, x in np.ndindex(7, 7):
        if np.hypot(y - 3, x - 3) <= 3:
            moved = padded[y : y + 50, x : x + 77]
            alike = (np.abs(moved - photo).sum(axis=2) / (3 * 9)) ** 2
            weight = np.exp(-0.5 * (((y - 3) ** 2 + (x - 3) ** 2) / 2**2 + alike))
            total += weight[..., None] * moved
            weights += weight
    assert np.abs(filter_named("bilateral:s=2:h=9").apply(photo) - total / weights[..., None]).max() < 0.6


@pytest.mark.parametrize(("radius", "height"), [(1, 3), (3, 12)])
def test_guided_is_the_formula_window_by_window(photo: Pixels, radius: int, height: float) -> None:
    """He, Sun and Tang, equations 19 to 21, as they are written, without box filters and without the identity."""
    pixels = photo[:16, :19]
    side, eps = 2 * radius + 1, height**2 * np.eye(3)
    padded = np.pad(pixels.astype(float), [(radius, radius), (radius, radius), (0, 0)], mode="reflect")
    a, b = np.empty((16, 19, 3, 3)), np.empty((16, 19, 3))
    for y, x in np.ndindex(16, 19):
        window = padded[y : y + side, x : x + side].reshape(-1, 3)
        covariance = np.cov(window.T, bias=True)
        a[y, x] = np.linalg.solve(covariance + eps, covariance)
        b[y, x] = window.mean(axis=0) - window.mean(axis=0) @ a[y, x]
    expected = np.empty(pixels.shape)
    for y, x in np.ndindex(16, 19):
        rows = np.pad(np.arange(16), radius, mode="reflect")[y : y + side]
        columns = np.pad(np.arange(19), radius, mode="reflect")[x : x + side]
        place = np.ix_(rows, columns)
        expected[y, x] = pixels[y, x] @ a[place].mean(axis=(0, 1)) + b[place].mean(axis=(0, 1))
    result = filter_named(f"guided:s={radius}:h={height}").apply(pixels)
    assert np.abs(result - np.clip(expected, 0, 255)).max() < 0.51
    assert np.abs(result - pixels.astype(int)).max() >= height  # far from the input


def test_guided_and_bilateral_keep_edges_where_blur_does_not() -> None:
    step = np.full((20, 20, 3), 60, np.uint8)
    step[:, 10:] = 180
    noisy = np.clip(step + np.random.default_rng(0).normal(0, 4, step.shape), 0, 255).astype(np.uint8)
    for name in ("guided:s=2:h=8", "bilateral:s=2:h=8"):
        result = filter_named(name).apply(noisy)
        assert psnr(result, step) > psnr(noisy, step) + 3
        assert result[:, 10].mean() - result[:, 9].mean() > 115
        assert psnr(filter_named("blur:s=1").apply(noisy), step) < psnr(noisy, step)


def test_chroma_blurs_colour_and_keeps_luma(photo: Pixels) -> None:
    dull = (photo // 2 + 64).astype(np.uint8)  # nothing to clip
    result = filter_named("chroma:s=1.5").apply(dull)
    before, after = (cv2.cvtColor(each.astype(np.float32), cv2.COLOR_RGB2YCrCb) for each in (dull, result))
    assert np.abs(after[..., 0] - before[..., 0]).max() < 0.6  # rounding
    for plane in (1, 2):
        expected = cv2.GaussianBlur(before[..., plane], (0, 0), 1.5)
        assert np.abs(after[..., plane] - expected).max() < 1
    assert np.abs(after[..., 1] - before[..., 1]).max() > 3
    grey = np.repeat(photo[..., :1], 3, axis=2)
    assert np.array_equal(filter_named("chroma").apply(grey), grey)


def test_sharpen_adds_what_a_gaussian_takes_away(photo: Pixels) -> None:
    blurred = gaussian_filter(photo.astype(float), (1.2, 1.2, 0), mode="mirror")
    expected = np.clip(photo + 0.7 * (photo - blurred), 0, 255)
    assert np.abs(filter_named("sharpen:a=0.7:s=1.2").apply(photo) - expected).max() < 0.6


@pytest.mark.parametrize("names", [
    ("bilateral:h=2", "bilateral", "bilateral:h=20"), ("guided:h=2", "guided", "guided:h=20"),
    ("guided:s=1", "guided", "guided:s=6"), ("chroma:s=0.5", "chroma", "chroma:s=4"),
    ("sharpen:a=0.1", "sharpen", "sharpen:a=1"), ("sharpen:s=0.5", "sharpen", "sharpen:s=3"),
    ("bilateral:s=1", "bilateral", "bilateral:s=4"),
])  # fmt: skip
def test_a_larger_number_changes_more(photo: Pixels, names: tuple[str, ...]) -> None:
    changes = [psnr(filter_named(name).apply(photo), photo) for name in names]
    assert changes == sorted(set(changes), reverse=True)


@pytest.mark.parametrize("name", ["guided:s=3:h=20", "chroma:s=2.3", "sharpen:s=2.3:a=2", "sharpen:s=0.1"])
@pytest.mark.parametrize("rows", [1, 7, 49])
def test_strips_change_nothing(name: str, rows: int, photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filter_named(name).apply(photo)
    monkeypatch.setattr(strips, "_ROWS", rows)
    assert np.abs(filter_named(name).apply(photo) - whole.astype(int)).max() <= 1  # sums in another order


NEW = ["bilateral:s=10", "guided:s=50:h=100", "chroma:s=20", "sharpen:a=5:s=20"]


@pytest.mark.parametrize(
    "name", ["nlm", "nlm:h=0.1", "nlm:h=100", "detail", "blur:s=0.1", "blur:s=20", "shrink:t=100", *NEW]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 2), (7, 5), (33, 3)], ids=str)
def test_any_size(name: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = pixels.copy()
    result = filter_named(name).apply(pixels)
    assert result.shape == pixels.shape and result.dtype == np.uint8
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("name", ["nlm:h=20", "detail", "blur", "shrink:t=9", *NEW])
def test_pixels_that_are_a_view(name: str, photo: Pixels) -> None:
    chosen = filter_named(name)
    assert np.array_equal(chosen.apply(photo[:, ::-1]), chosen.apply(photo[:, ::-1].copy()))


@pytest.mark.parametrize("name", ["nlm:h=20", "detail", "blur", "shrink:t=9", "bilateral", "guided", "sharpen"])
def test_grey_stays_grey_and_alpha_passes(name: str, grey: Image) -> None:
    image = Image(grey.pixels, alpha=grey.pixels[:, :, 0], grey=True)
    result = group_named(name)(image, CODECS["jpeg"].setting())
    assert result.grey and result.alpha is image.alpha
    assert np.array_equal(result.pixels[:, :, 0], result.pixels[:, :, 2])
    assert not np.array_equal(result.pixels, image.pixels)
