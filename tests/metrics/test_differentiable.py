"""Differentiable metrics: higher for better, finite for equal pictures, with gradients."""

from typing import Any

import pytest
import torch
from metrics.degraded import jpeg
from torch.utils._python_dispatch import TorchDispatchMode

from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.metrics import METRICS
from kcompress.metrics.differentiable import SCORES, WAITING
from kcompress.metrics.vqscore import vqscore

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


def test_vqscore_is_that_of_whole_windows(photo: Pixels) -> None:
    shown = jpeg(photo, 40)[:192, :192]
    assert SCORES["vqscore"](tensor([shown]))(tensor([shown])).item() == pytest.approx(vqscore(shown), abs=0.01)


def test_every_objective_is_a_metric() -> None:
    assert set(SCORES) <= set(METRICS)


class _Waits(TorchDispatchMode):
    """Operations on the pictures' device that wait for it: those that bring numbers back, and decompositions."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name()
        waits = any(part in name for part in ("local_scalar", "nonzero", "masked_select", "linalg_eig", "linalg_inv"))
        if waits and any(isinstance(each, torch.Tensor) and each.is_meta for each in args):
            self.names.add(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", SCORES)
def test_which_scores_wait_for_a_gpu(name: str) -> None:
    original, distorted = (torch.zeros(2, 3, 176, 192, device="meta") for _ in range(2))
    distorted.requires_grad_()
    with _Waits() as preparing:
        score = SCORES[name](original)
    with _Waits() as scoring:
        torch.autograd.grad(score(distorted).sum(), distorted)
    assert not scoring.names and bool(preparing.names) == (name in WAITING)
