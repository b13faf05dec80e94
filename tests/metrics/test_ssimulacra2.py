"""SSIMULACRA2: properties first, then equality with the package ``ssimulacra2``."""

import numpy as np
import pytest
import torch
from metrics import pairs
from metrics.degraded import jpeg, noisy

from kcompress.errors import InputError, UnsupportedError
from kcompress.metrics import ssimulacra2 as module
from kcompress.metrics.ssimulacra2 import Reference, prepare, ssimulacra2

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
TOLERANCE = 0.01
"""Points; the issue asks for 0.3, float32 against float64 needs 0.0002."""

ORIGINALS = pairs.originals()


@pytest.fixture(params=DEVICES)
def device(request) -> torch.device:
    return torch.device(request.param)


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    """(N, 3, H, W) uint8."""
    return torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())


@pytest.fixture
def batch(photo) -> tuple[torch.Tensor, torch.Tensor]:
    """Original and three distorted versions."""
    return tensor(photo), tensor(jpeg(photo, 30), noisy(photo, 6), photo)


def test_batched_equals_single(batch, device):
    original, distorted = (x.to(device) for x in batch)
    together = Reference(original).score(distorted)
    assert together.shape == (3,)
    assert together.dtype == torch.float64
    assert together[2] == 100
    for number in range(3):
        assert ssimulacra2(original, distorted[number : number + 1]) == together[number]
    pairwise = ssimulacra2(original.expand_as(distorted), distorted)
    assert torch.equal(pairwise, together)


def test_the_same_bits_with_any_number_of_threads_and_strips(photo, monkeypatch):
    distorted = jpeg(photo, 30)
    threads = torch.get_num_threads()
    try:
        scores = set()
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            scores |= {prepare(photo)(distorted) for _ in range(2)}
        assert len(scores) == 1
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(module, "_STRIP_PIXELS", 3000)
    assert prepare(photo)(distorted) == pytest.approx(scores.pop(), abs=1e-6)


def test_whole_numbers_equal_floats(batch):
    original, distorted = batch
    assert torch.allclose(
        ssimulacra2(original, distorted[:2]), ssimulacra2(original / 255, distorted[:2] / 255), rtol=0, atol=1e-3
    )


def test_what_lies_outside_is_clipped(batch):
    original = batch[0] / 255
    assert ssimulacra2(original, original + (original == 1) - (original == 0).float()) == 100


def test_gradient(batch, device):
    original, distorted = batch[0].to(device) / 255, (batch[1].to(device) / 255).requires_grad_()
    scores = Reference(original).score(distorted)
    scores.sum().backward()
    assert distorted.grad is not None
    assert torch.isfinite(distorted.grad).all()
    assert (distorted.grad[:2].abs().amax((1, 2, 3)) > 0).all()
    assert (distorted.grad[2] == 0).all()  # nothing to gain where the two are identical


def test_gradient_points_uphill(batch):
    original, distorted = batch[0] / 255, (batch[1][:1] / 255).requires_grad_()
    reference = Reference(original)
    before = reference.score(distorted)
    (gradient,) = torch.autograd.grad(before.sum(), distorted)
    after = reference.score(distorted.detach() + 0.002 * gradient / gradient.abs().max())
    assert after > before


def test_gradient_equals_finite_differences():
    generator = torch.Generator().manual_seed(2)
    original = torch.rand(1, 3, 20, 24, generator=generator) * 0.6 + 0.2
    distorted = (original + 0.05 * torch.randn(original.shape, generator=generator)).requires_grad_()
    reference = Reference(original)
    (gradient,) = torch.autograd.grad(reference.score(distorted).sum(), distorted)
    direction = torch.randn(original.shape, generator=generator)
    step = 1e-3
    with torch.no_grad():
        ahead, behind = (reference.score(distorted + sign * step * direction) for sign in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float((ahead - behind) / (2 * step)), rel=0.02)


@pytest.mark.parametrize("size", [(8, 8), (8, 41), (41, 8), (9, 15), (16, 16), (17, 255), (225, 224)])
def test_odd_sizes_equal_the_package(size):
    pytest.importorskip("ssimulacra2")
    original = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8) // 3 + 80
    distorted = noisy(original, 4)
    assert prepare(original)(original) == 100
    assert prepare(original)(distorted) == pytest.approx(pairs.package_score(original, distorted), abs=TOLERANCE)


def test_too_small_or_different():
    with pytest.raises(UnsupportedError, match="8 pixels"):
        Reference(torch.zeros(1, 3, 7, 100))
    with pytest.raises(InputError, match="one size"):
        ssimulacra2(torch.zeros(1, 3, 20, 20), torch.zeros(1, 3, 20, 21))


def test_the_stored_scores_are_many_and_span_the_range():
    scores = [float(row["score"]) for row in pairs.stored()]
    assert len(scores) >= 50
    assert min(scores) < 10
    assert max(scores) > 95
    assert all(any(low <= score < low + 10 for score in scores) for low in range(10, 90, 10))


@pytest.mark.parametrize("row", pairs.stored(), ids=lambda row: f"{row['original']}-{row['kind']}-{row['amount']}")
def test_equals_the_stored_score_of_the_package(row):
    original = ORIGINALS[row["original"]]
    distorted = pairs.distorted(original, row["kind"], float(row["amount"]))
    if pairs.digest(distorted) != row["sha256"]:
        pytest.skip("this Pillow or NumPy makes other pixels than those that were scored")
    assert prepare(original)(distorted) == pytest.approx(float(row["score"]), abs=TOLERANCE)


@pytest.mark.parametrize("quality", [10, 50, 95])
def test_equals_the_package_itself(photo, quality):
    pytest.importorskip("ssimulacra2")
    distorted = jpeg(photo, quality)
    assert prepare(photo)(distorted) == pytest.approx(pairs.package_score(photo, distorted), abs=TOLERANCE)
