"""IW-SSIM: against the scores of piq, and its limits."""

import numpy as np
import pytest
import torch
from metrics.pairs import distorted, originals

from kcompress.errors import InputError, UnsupportedError
from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.metrics.iw_ssim import iw_ssim, prepare

pytestmark = pytest.mark.usefixtures("one_thread")

# piq 0.8.0, information_weighted_ssim(distorted, original) in double precision.
PIQ = {
    ("lake", "jpeg", 15): 0.954605,
    ("lake", "jpeg", 60): 0.989718,
    ("lake", "jpeg", 92): 0.998773,
    ("lake", "webp", 40): 0.984964,
    ("lake", "blur", 0.8): 0.977717,
    ("lake", "noise", 8): 0.989854,
    ("balloons", "jpeg", 15): 0.961507,
    ("balloons", "jpeg", 60): 0.992118,
    ("balloons", "jpeg", 92): 0.998404,
    ("balloons", "webp", 40): 0.981067,
    ("balloons", "blur", 0.8): 0.993671,
    ("balloons", "noise", 8): 0.978849,
}


@pytest.mark.parametrize(("name", "kind", "amount"), PIQ)
def test_scores_are_piqs(name: str, kind: str, amount: float) -> None:
    original = originals()[name]
    assert prepare(original)(distorted(original, kind, amount)) == pytest.approx(PIQ[name, kind, amount], abs=1.5e-5)


def test_a_batch_is_its_pictures(photo: Pixels) -> None:
    others = [distorted(photo, "jpeg", 20), distorted(photo, "jpeg", 90)]
    found = iw_ssim(tensor([photo, photo]), tensor(others))
    assert found.tolist() == pytest.approx([prepare(photo)(other) for other in others], abs=1e-6)


def test_gradients_lead_to_the_original(photo: Pixels) -> None:
    image, other = tensor([photo]), tensor([distorted(photo, "jpeg", 40)]).requires_grad_()
    before = iw_ssim(image, other)[0]
    (gradient,) = torch.autograd.grad(before, other)
    assert gradient.isfinite().all()
    assert float(iw_ssim(image, other.detach() + 1e-3 * gradient / gradient.std())) > before.item()


def test_flat_pictures_hold_no_information() -> None:
    flat = torch.full((1, 3, 176, 176), 0.5)
    noise = 0.02 * torch.randn(1, 3, 176, 176, generator=torch.Generator().manual_seed(0))
    assert float(iw_ssim(flat, flat)) == pytest.approx(1, abs=1e-5)
    assert 0 < float(iw_ssim(flat, flat + noise)) < 0.999


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="one size"):
        iw_ssim(torch.zeros(1, 3, 176, 176), torch.zeros(1, 3, 176, 177))
    with pytest.raises(UnsupportedError, match="161 pixels a side"):
        iw_ssim(torch.zeros(1, 3, 160, 176), torch.zeros(1, 3, 160, 176))
    assert prepare(np.zeros((161, 161, 3), np.uint8))(np.full((161, 161, 3), 9, np.uint8)) < 1
