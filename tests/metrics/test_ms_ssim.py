"""MS-SSIM against the paper's formula, written once more in NumPy, and against pytorch-msssim."""

import numpy as np
import pytest
import torch
from metrics.degraded import jpeg, noisy
from numpy.lib.stride_tricks import sliding_window_view

from kcompress.errors import InputError, UnsupportedError
from kcompress.inference.batches import tensor
from kcompress.metrics.ms_ssim import Reference, prepare

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def _blurred(x: np.ndarray) -> np.ndarray:
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    return sliding_window_view(sliding_window_view(x, 11, 0) @ window, 11, 1) @ window


def _plane(a: np.ndarray, b: np.ndarray) -> float:
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    result = 1.0
    for number, weight in enumerate(WEIGHTS):
        mean_a, mean_b = _blurred(a), _blurred(b)
        var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
        both = _blurred(a * b) - mean_a * mean_b
        structure = (2 * both + c2) / (var_a + var_b + c2)
        luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
        result *= float(np.mean(structure * luminance if number == 4 else structure)) ** weight
        a, b = ((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4 for x in (a, b))
    return result


@pytest.mark.parametrize("make", [lambda x: jpeg(x, 20), lambda x: noisy(x, 15)], ids=["jpeg", "noise"])
def test_equals_the_formula(photo, make):
    distorted = make(photo)
    planes = [_plane(photo[:, :, c].astype(float), distorted[:, :, c].astype(float)) for c in range(3)]
    assert prepare(photo)(distorted) == pytest.approx(np.mean(planes), abs=1e-5)


def test_a_shift_of_brightness_costs_less_than_noise_of_its_size(photo):
    dark = np.minimum(photo, 235)
    assert prepare(dark)(dark + 20) > prepare(dark)(noisy(dark, 20))


@pytest.mark.parametrize(("height", "width"), [(161, 200), (173, 167)])
def test_equals_the_package(photo, height, width):
    ms_ssim = pytest.importorskip("pytorch_msssim").ms_ssim
    photo = np.resize(photo, (max(height, photo.shape[0]), *photo.shape[1:]))[:height, :width]
    original, others = tensor([photo, photo]), tensor([jpeg(photo, 30), noisy(photo, 9)])
    expected = ms_ssim(others, original, data_range=1, size_average=False)
    assert Reference(original).score(others).tolist() == pytest.approx(expected.tolist(), abs=1e-5)


def test_equal_and_unlike_pictures(photo):
    large = np.resize(photo, (176, *photo.shape[1:]))
    assert prepare(large)(large.copy()) == 1
    inverse = tensor([255 - large]).requires_grad_()
    score = Reference(tensor([large])).score(inverse)
    assert 0 <= score.item() < 0.3
    assert torch.autograd.grad(score.sum(), inverse)[0].isfinite().all()


def test_sizes():
    grey = torch.full((1, 3, 170, 170), 0.5)
    with pytest.raises(InputError, match="one size"):
        Reference(grey).score(grey[..., :165])
    with pytest.raises(UnsupportedError, match="needs 161 pixels"):
        Reference(grey[..., :160])
