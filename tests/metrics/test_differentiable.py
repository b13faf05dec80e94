"""Differentiable metrics: higher for better, finite for equal pictures, with gradients."""

import pytest
import torch
from metrics.degraded import jpeg

from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.metrics import METRICS
from kcompress.metrics.differentiable import SCORES

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", SCORES)
def test_better_pictures_score_higher_and_gradients_are_finite(name: str, photo: Pixels) -> None:
    original = tensor([photo, photo])
    distorted = tensor([jpeg(photo, 30), jpeg(photo, 80)]).requires_grad_()
    score = SCORES[name](original)
    scores = score(distorted)
    assert scores.shape == (2,) and scores[0] < scores[1] < score(original)[0] < float("inf")
    (gradient,) = torch.autograd.grad(scores.sum(), distorted)
    assert gradient.isfinite().all() and gradient.abs().amax((1, 2, 3)).gt(0).all()


@pytest.mark.parametrize("name", SCORES)
def test_an_original_serves_many_versions(name: str, photo: Pixels) -> None:
    original, versions = tensor([photo]), [tensor([jpeg(photo, quality)]) for quality in (30, 80)]
    score = SCORES[name](original)
    assert [score(each).item() for each in versions] == [SCORES[name](original)(each).item() for each in versions]


def test_every_objective_is_a_metric() -> None:
    assert set(SCORES) <= set(METRICS)
