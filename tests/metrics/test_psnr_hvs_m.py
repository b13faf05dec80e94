"""PSNR-HVS-M: against its definition, written once more in NumPy, and against the package ``psnr-hvsm``."""

import math

import numpy as np
import pytest
import torch
from metrics import pairs
from metrics.degraded import jpeg, noisy

from kcompress.errors import InputError, UnsupportedError
from kcompress.metrics import psnr_hvs_m as module
from kcompress.metrics.psnr_hvs_m import Reference, prepare, psnr_hvs_m

pytestmark = pytest.mark.usefixtures("one_thread")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
TOLERANCE = 2e-4
"""Decibels; float32 against float64 needs 1e-4."""

ORIGINALS = pairs.originals()

# The tables as published with the paper.
CSF = np.array([
    [1.608443, 2.339554, 2.573509, 1.608443, 1.072295, 0.643377, 0.504610, 0.421887],
    [2.144591, 2.144591, 1.838221, 1.354478, 0.989811, 0.443708, 0.428918, 0.467911],
    [1.838221, 1.979622, 1.608443, 1.072295, 0.643377, 0.451493, 0.372972, 0.459555],
    [1.838221, 1.513829, 1.169777, 0.887417, 0.504610, 0.295806, 0.321689, 0.415082],
    [1.429727, 1.169777, 0.695543, 0.459555, 0.378457, 0.236102, 0.249855, 0.334222],
    [1.072295, 0.735288, 0.467911, 0.402111, 0.317717, 0.247453, 0.227744, 0.279729],
    [0.525206, 0.402111, 0.329937, 0.295806, 0.249855, 0.212687, 0.214459, 0.254803],
    [0.357432, 0.279729, 0.270896, 0.262603, 0.229778, 0.257351, 0.249855, 0.259950],
])  # fmt: skip
MASK = np.array([
    [0.390625, 0.826446, 1.000000, 0.390625, 0.173611, 0.062500, 0.038447, 0.026874],
    [0.694444, 0.694444, 0.510204, 0.277008, 0.147929, 0.029727, 0.027778, 0.033058],
    [0.510204, 0.591716, 0.390625, 0.173611, 0.062500, 0.030779, 0.021004, 0.031888],
    [0.510204, 0.346021, 0.206612, 0.118906, 0.038447, 0.013212, 0.015625, 0.026015],
    [0.308642, 0.206612, 0.073046, 0.031888, 0.021626, 0.008417, 0.009426, 0.016866],
    [0.173611, 0.081633, 0.033058, 0.024414, 0.015242, 0.009246, 0.007831, 0.011815],
    [0.041649, 0.024414, 0.016437, 0.013212, 0.009426, 0.006830, 0.006944, 0.009803],
    [0.019290, 0.011815, 0.011080, 0.010412, 0.007972, 0.010000, 0.009426, 0.010203],
])  # fmt: skip

# Of the package psnr-hvsm 0.3.0 (PyPI), C++ backend, for unrounded luma over 255; pixels by Pillow 13.0.0.
# Originals are cut to multiples of 8.
PACKAGE = [
    ("lake", "jpeg", 10, "c1130f220feaf6ca", 27.112729),
    ("lake", "jpeg", 50, "5b1300db80c98bc2", 44.231364),
    ("lake", "jpeg", 95, "84cfda6dd28a92ad", 62.984097),
    ("lake", "noise", 3, "33db725682f53f9b", 50.888755),
    ("lake", "noise", 8, "9619eceb86588a6b", 39.472247),
    ("balloons", "jpeg", 10, "f4b11c12ba6452ec", 29.074175),
    ("balloons", "jpeg", 50, "7269c44232e4b835", 41.703215),
    ("balloons", "jpeg", 95, "425a3fb6ea910ce1", 57.447757),
    ("balloons", "noise", 3, "8575dc9b77810fbd", 47.470049),
    ("balloons", "blur", 0.5, "b8d51af6a076b8a3", 53.482699),
]


def _dct(block: np.ndarray) -> np.ndarray:
    found = np.zeros((8, 8))
    for u in range(8):
        for v in range(8):
            waves = np.outer(*(np.cos((2 * np.arange(8) + 1) * k * np.pi / 16) for k in (u, v)))
            found[u, v] = (block * waves).sum() / 4 * math.sqrt(0.5) ** ((u == 0) + (v == 0))
    return found


def _mask(block: np.ndarray) -> float:
    weighted = _dct(block) ** 2 * MASK
    weighted[0, 0] = 0
    whole = 64 * block.var(ddof=1)
    if whole < 1e-9:
        return 0.0
    quarters = sum(16 * block[y : y + 4, x : x + 4].var(ddof=1) for y in (0, 4) for x in (0, 4))
    return math.sqrt(weighted.sum() * quarters / whole) / 32


def _starts(side: int) -> list[int]:
    return [*range(0, side - 7, 8), *([side - 8] if side % 8 else [])]


def by_definition(original: np.ndarray, distorted: np.ndarray) -> float:
    """Block by block, coefficient by coefficient."""
    planes = [pixels.astype(float) @ [0.299, 0.587, 0.114] for pixels in (original, distorted)]
    squares = []
    for top in _starts(original.shape[0]):
        for left in _starts(original.shape[1]):
            one, other = (plane[top : top + 8, left : left + 8] for plane in planes)
            mask = max(_mask(one), _mask(other))
            difference = np.abs(_dct(one) - _dct(other))
            for u in range(8):
                for v in range(8):
                    hidden = mask / MASK[u, v] if u or v else 0
                    squares.append((max(difference[u, v] - hidden, 0) * CSF[u, v]) ** 2)
    error = float(np.mean(squares))
    return 10 * math.log10(255**2 / error) if error else math.inf


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    """(N, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())


def test_the_tables_are_the_published_ones():
    steps = module._STEPS.reshape(8, 8).numpy()
    assert (np.round(module._SENSITIVITY / steps, 6) == CSF).all()
    assert (np.round((module._MASKING / steps) ** 2, 6) == MASK).all()


@pytest.mark.parametrize("size", [(8, 8), (8, 41), (41, 8), (9, 15), (24, 32), (17, 63)])
def test_equals_the_definition(photo, size):
    original = photo[100:, 150:][: size[0], : size[1]]
    for distorted in (jpeg(original, 10), jpeg(original, 60), noisy(original, 3), noisy(original, 30)):
        assert prepare(original)(distorted) == pytest.approx(by_definition(original, distorted), abs=TOLERANCE)


@pytest.mark.parametrize(("name", "kind", "amount", "digest", "score"), PACKAGE)
def test_equals_the_stored_score_of_the_package(name, kind, amount, digest, score):
    whole = ORIGINALS[name]
    original = whole[: whole.shape[0] // 8 * 8, : whole.shape[1] // 8 * 8]
    distorted = pairs.distorted(original, kind, amount)
    if pairs.digest(distorted) != digest:
        pytest.skip("this Pillow or NumPy makes other pixels than those that were scored")
    assert prepare(original)(distorted) == pytest.approx(score, abs=TOLERANCE)


def test_black_against_white():
    # The mean alone differs: by 255 * 8 of an orthonormal transform, times 1.608443, over 64 coefficients.
    black = np.zeros((16, 24, 3), np.uint8)
    assert prepare(black)(255 - black) == pytest.approx(-20 * math.log10(1.608443), abs=1e-5)


@pytest.mark.parametrize("name", ["lake", "balloons"])
def test_falls_with_the_quality_of_a_jpeg(name):
    score = prepare(ORIGINALS[name])
    scores = [score(jpeg(ORIGINALS[name], quality)) for quality in (95, 90, 80, 70, 60, 50, 40, 30, 20, 10)]
    assert scores == sorted(set(scores), reverse=True)


def test_texture_hides_noise():
    random = np.random.default_rng(4)
    noise = random.integers(-4, 5, (64, 64, 1))
    flat = np.full((64, 64, 3), 128)
    texture = flat + random.integers(-40, 41, (64, 64, 1))
    on_flat, in_texture = (
        prepare(ground.astype(np.uint8))((ground + noise).astype(np.uint8)) for ground in (flat, texture)
    )
    assert in_texture > on_flat + 3


def test_an_edge_hides_less_than_texture_of_its_energy():
    noise = np.random.default_rng(5).integers(-4, 5, (64, 64, 1))
    edges = np.full((64, 64, 3), 100)
    edges[:, 4::8] = edges[:, 5::8] = edges[:, 6::8] = edges[:, 7::8] = 160  # in the middle of each block
    texture = np.full((64, 64, 3), 100) + 60 * (np.indices((64, 64)).sum(0) % 2)[..., None]
    at_edges, in_texture = (
        prepare(ground.astype(np.uint8))((ground + noise).astype(np.uint8)) for ground in (edges, texture)
    )
    assert in_texture > at_edges + 1


def test_what_is_hidden_does_not_count():
    texture = np.random.default_rng(6).integers(80, 176, (8, 8, 1)).repeat(3, axis=2).astype(np.uint8)
    distorted = texture.copy()
    distorted[2, 2] += 1
    distorted[5, 5] -= 1  # the mean stays
    assert prepare(texture)(distorted) == math.inf


def test_every_pixel_counts(balloons):
    original = balloons.pixels
    distorted = original.copy()
    distorted[-1, -1] ^= 64
    assert prepare(original)(distorted) < math.inf


def test_the_same_bits_with_any_number_of_threads_and_strips(photo, monkeypatch):
    distorted = jpeg(photo, 30)
    scores = set()
    for number in (1, 2, 3):  # the fixture one_thread sets it back
        torch.set_num_threads(number)
        scores |= {prepare(photo)(distorted) for _ in range(2)}
    assert len(scores) == 1
    odd, worse = photo[:253, :317], distorted[:253, :317]  # the last strip has fewer rows than a block
    expected = prepare(odd)(worse)
    for pixels in (1, 8000, 79000):
        monkeypatch.setattr(module, "_STRIP_PIXELS", pixels)
        assert prepare(odd)(worse) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_equals_its_pictures(photo, device):
    versions = [jpeg(photo, 30), noisy(photo, 6), photo]
    original, distorted = tensor(photo).to(device), tensor(*versions).to(device)
    scores = psnr_hvs_m(original, distorted)
    assert scores.shape == (3,) and scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx([prepare(photo)(version) for version in versions], abs=TOLERANCE)
    assert torch.equal(psnr_hvs_m(original.expand_as(distorted), distorted), scores)
    assert torch.allclose(psnr_hvs_m(original / 255, distorted / 255), scores, rtol=0, atol=TOLERANCE)
    errors = Reference(original).masked_error(distorted)
    assert errors[2] == 0
    assert torch.allclose(10 * torch.log10(255**2 / errors[:2]), scores[:2])


def test_luma_alone():
    grey = np.random.default_rng(7).integers(0, 256, (32, 40, 1), dtype=np.uint8).repeat(3, axis=2)
    original, distorted = tensor(grey), tensor(noisy(grey, 9).mean(2, keepdims=True).astype(np.uint8).repeat(3, 2))
    expected = psnr_hvs_m(original, distorted)
    assert torch.allclose(psnr_hvs_m(original[:, :1], distorted[:, :1]), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (2, 1, 11, 9)])
def test_gradients_equal_finite_differences(shape):
    generator = torch.Generator().manual_seed(2)
    original = torch.rand(shape, generator=generator, dtype=torch.float64)
    distorted = original + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)
    for function in (lambda one, other: Reference(one).masked_error(other), psnr_hvs_m):
        assert torch.autograd.gradcheck(function, (original, distorted.requires_grad_()))


GROUNDS = {
    "flat": torch.full((1, 3, 16, 19), 0.3),
    "black": torch.zeros(1, 3, 16, 19),
    "flat quarters": torch.linspace(0, 1, 5).repeat_interleave(4)[None, None, None, :19].expand(1, 3, 16, 19),
    "noise": torch.rand(1, 3, 16, 19, generator=torch.Generator().manual_seed(3)),
}


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("change", [0, 1e-6, 1e-3, 0.1])
@pytest.mark.parametrize("of", ["all", "one pixel"])
def test_gradients_are_finite(ground, change, of):
    original = GROUNDS[ground]
    distorted = original.clone()
    distorted[(...,) if of == "all" else (0, 0, 3, 4)] += change
    distorted.requires_grad_()
    for function in (lambda one, other: Reference(one).masked_error(other), psnr_hvs_m):
        (gradient,) = torch.autograd.grad(function(original, distorted).sum(), distorted)
        assert torch.isfinite(gradient).all()
        assert change or (gradient == 0).all()
        assert change < 0.1 or (gradient != 0).any()


def test_a_photograph_against_itself_and_downhill(photo):
    original = tensor(photo) / 255
    same = original.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Reference(original).masked_error(same).sum(), same)
    assert (gradient == 0).all()
    distorted = (tensor(jpeg(photo, 20)) / 255).requires_grad_()
    before = Reference(original).masked_error(distorted)
    (gradient,) = torch.autograd.grad(before.sum(), distorted)
    assert torch.isfinite(gradient).all()
    assert Reference(original).masked_error(distorted.detach() - 0.002 * gradient / gradient.abs().max()) < before


def test_too_small_or_different():
    with pytest.raises(UnsupportedError, match="8 pixels"):
        psnr_hvs_m(torch.zeros(1, 3, 7, 100), torch.zeros(1, 3, 7, 100))
    with pytest.raises(InputError, match="one size"):
        Reference(torch.zeros(1, 3, 20, 20)).masked_error(torch.zeros(1, 3, 20, 21))
