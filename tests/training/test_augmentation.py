"""Augmentation of npp: sharpened pictures, and views of them."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.training.tasks.npp import augmentation
from kcompress.training.tasks.npp.augmentation import sharpened, view

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def pictures(lake: Image) -> Tensor:
    """Twelve, without whites and blacks, so that nothing is clipped."""
    cuts = [np.ascontiguousarray(lake.pixels[9 * k : 9 * k + 48, 60:108]) for k in range(12)]
    return 0.3 + 0.4 * tensor(cuts)


def seeded(pictures: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return sharpened(pictures)


def test_seeds_decide_and_files_could_hold_it(pictures: Tensor) -> None:
    one, same, other = seeded(pictures), seeded(pictures), seeded(pictures, 1)
    assert torch.equal(one, same) and not torch.equal(one, other) and not torch.equal(one, pictures)
    assert torch.allclose(one * 255, (one * 255).round(), atol=1e-4) and one.min() >= 0 and one.max() <= 1
    assert not torch.equal(*seeded(pictures[:1].repeat(2, 1, 1, 1))), "each by an amount of its own"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(seeded(pictures), one)


def test_detail_is_an_unsharp_mask_of_up_to_1_2(pictures: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "_CONTRAST", (1.0, 1.0))
    monkeypatch.setattr(augmentation, "_NOISE", 0.0)
    amounts = []
    for before, after in zip(pictures.numpy(), seeded(pictures).numpy(), strict=True):
        detail = np.stack([plane - cv2.blur(plane, (3, 3), borderType=cv2.BORDER_REPLICATE) for plane in before])
        amounts.append(((after - before) * detail).sum() / (detail**2).sum())
        assert np.abs(before + amounts[-1] * detail - after).max() < 1 / 255
    assert 0 <= min(amounts) < 0.3 and 0.9 < max(amounts) <= 1.21


def test_contrast_and_noise_are_bounded(pictures: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "_SHARPER", 0.0)
    flat = seeded(torch.full_like(pictures, 0.5)).std((1, 2, 3)) * 255
    assert 0 <= flat.min() < 1 and 2 < flat.max() < 3.2
    monkeypatch.setattr(augmentation, "_NOISE", 0.0)
    found = seeded(pictures)
    assert torch.allclose(found.mean((2, 3)), pictures.mean((2, 3)), atol=1 / 255)
    ratio = found.std((1, 2, 3)) / pictures.std((1, 2, 3))
    assert 0.89 < ratio.min() < 1 and 1.25 < ratio.max() < 1.41


def test_views_are_squares_of_at_least_four_fifths_or_all() -> None:
    torch.manual_seed(0)
    found = [view(100) for _ in range(400)]
    sizes = np.array([[part.stop - part.start for part in each] for each in found])
    corners = np.array([[part.start for part in each] for each in found])
    assert (sizes[:, 0] == sizes[:, 1]).all() and 80 <= sizes.min() < 83 and sizes.max() == 100
    assert (corners >= 0).all() and (corners + sizes <= 100).all() and corners.max() > 15
    assert (corners[:, 0] != corners[:, 1]).any() and 120 < (sizes[:, 0] == 100).sum() < 200
