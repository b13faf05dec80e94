"""Augmentation of npp: sharpened pictures, and views of them."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from training.test_npp import TINY, batch

from kcompress.errors import UsageError
from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.networks.npp import Npp
from kcompress.training.checkpoint import Checkpoint
from kcompress.training.tasks.npp import augmentation
from kcompress.training.tasks.npp.augmentation import sharpened, view
from kcompress.training.tasks.npp.loss import NppLoss

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


class Watching:
    """A task that notes what its model would see; the loss is a difference of pictures."""

    def __init__(self, size) -> None:
        self.model, self.seen = SimpleNamespace(size=size), []

    def pseudo_labels(self, pictures):
        return pictures

    def loss(self, pictures, targets):
        self.seen.append(pictures.detach())
        return (pictures - targets).square().flatten(1).mean(1)


def test_augmented_pictures_are_sharpened_and_seen_in_part(lake: Image) -> None:
    """What is sharpened is the picture: filtered ones are near to it, and models see the same part of both."""
    seen, network = batch(lake, classes=None), Npp(4)
    whole, part, plain = Watching(None), Watching((32, 32)), Watching((32, 32))
    same = lambda pictures, coarseness: (pictures, pictures.flatten(1).std(1))  # noqa: E731
    recipe = replace(TINY, values="proxy", augment=True)
    torch.manual_seed(0)
    costs = [NppLoss(network, [whole, part], same, recipe, 1)(seen) for _ in range(20)]
    torch.manual_seed(0)
    assert torch.equal(NppLoss(network, [whole, part], same, recipe, 1)(seen)["loss"], costs[0]["loss"])
    assert not torch.equal(costs[0]["loss"], costs[1]["loss"]), "the seed decides"
    assert all(float(cost["closeness"].sum() + cost["task"].abs().sum()) == 0 for cost in costs)
    assert {each.shape[-1] for each in whole.seen} == {32}, "models of any size may not take every size"
    sizes = [each.shape[-1] for each in part.seen]
    assert min(sizes) < 28 and max(sizes) == 32 and len(set(sizes)) > 3
    assert not any(torch.equal(each, seen.pictures) for each in whole.seen)
    NppLoss(network, [plain], same, replace(recipe, augment=False), 1)(seen)
    assert torch.equal(plain.seen[0], seen.pictures)


def test_trainings_from_before_augmentation_and_samples_go_on() -> None:
    fields = {name: value for name, value in asdict(TINY).items() if name not in ("augment", "sampled")}
    state = Checkpoint(3, fields, "digest", 1.0, 0.0, {}, {})
    state.check(TINY, "digest", ())
    for changed in ("augment", "sampled"):
        with pytest.raises(UsageError, match=f"{changed} was False before and is True now"):
            state.check(replace(TINY, **{changed: True}), "digest", ())
