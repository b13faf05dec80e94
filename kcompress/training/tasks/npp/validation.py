"""Validation with the real codec: bits at equal loss and at equal accuracy of the task."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kcompress.codecs import CODECS
from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.machine.tasks import Task
from kcompress.proxies.straight_through import encode_decode
from kcompress.rate_distortion.bd_rate import pareto_front
from kcompress.setting import Setting
from kcompress.training.events import Metrics
from kcompress.training.tasks.npp.loss import targets
from kcompress.training.validation import bd_rate_or_none

NAMES = (
    "size_change_percent", "loss_change", "score_change", "size_at_equal_loss_percent", "bd_rate_loss_percent",
    "bd_rate_score_percent",
)  # fmt: skip

Filter = Callable[[Sequence[Pixels], Setting], list[Pixels]]
"""Filters pictures for a setting."""

_AT_ONCE = 16

_LEAST = 1e-3
"""Bits per pixel: empty pictures cost none, which has no logarithm."""


@dataclass(frozen=True)
class _Point:
    """Means over the pictures."""

    bpp: float
    loss: float
    score: float


class TaskValidator:
    """Compares a network with the plain codec, by mean loss and score of tasks on pictures (side, side, 3).

    ``classes`` are those of the pictures, where there are labels; ``jobs`` encoders run at once.
    """

    def __init__(
        self, codec: str, qualities: Sequence[int], tasks: Sequence[Task], pictures: Sequence[Pixels],
        classes: Sequence[int] | None, jobs: int,
    ) -> None:  # fmt: skip
        self._settings = [CODECS[codec].setting(quality) for quality in qualities]
        self._pictures, self._jobs = pictures, jobs
        self._parts = [slice(first, first + _AT_ONCE) for first in range(0, len(pictures), _AT_ONCE)]
        self._truth = [(task, [self._targets(task, part, classes) for part in self._parts]) for task in tasks]
        self._plain = [self._point(pictures, setting) for setting in self._settings]

    def __call__(self, network: Filter) -> Metrics:
        """Validation metrics ``NAMES``; what is not defined is None.

        Changes are means over the qualities. ``size_at_equal_loss_percent`` adds to the change of ln(bits) what
        the plain codec would pay for the change of the loss by its own slope; it needs two qualities or more.
        """
        found = [self._point(network(self._pictures, setting), setting) for setting in self._settings]
        pairs = list(zip(self._plain, found, strict=True))
        ratio = [float(np.log(ours.bpp / plain.bpp)) for plain, ours in pairs]
        worse = [ours.loss - plain.loss for plain, ours in pairs]
        metrics: dict[str, float | None] = {
            "size_change_percent": 100 * float(np.expm1(np.mean(ratio))),
            "loss_change": float(np.mean(worse)),
            "score_change": float(np.mean([ours.score - plain.score for plain, ours in pairs])),
            "size_at_equal_loss_percent": self._at_equal_loss(ratio, worse),
            "bd_rate_loss_percent": _bd_rate(pairs, lambda point: -point.loss),
            "bd_rate_score_percent": _bd_rate(pairs, lambda point: point.score),
        }  # fmt: skip
        return {name: None if value is None else round(value, 4) for name, value in metrics.items()}

    def _at_equal_loss(self, ratio: Sequence[float], worse: Sequence[float]) -> float | None:
        if len(self._plain) < 2:
            return None
        # A loss falls about exponentially with ln(bits), so each quality has a slope of its own.
        slopes = -np.gradient([np.log(point.bpp) for point in self._plain], [point.loss for point in self._plain])
        return 100 * float(np.expm1(np.mean(ratio + np.clip(slopes, 0, None) * worse)))

    @torch.no_grad()
    def _point(self, pictures: Sequence[Pixels], setting: Setting) -> _Point:
        with ThreadPoolExecutor(self._jobs) as pool:
            shown, bits = zip(*pool.map(lambda pixels: encode_decode(pixels, setting), pictures), strict=True)
        losses: list[float] = []
        scores: list[float] = []
        for task, truths in self._truth:
            outcomes: list[Any] = []
            for part, truth in zip(self._parts, truths, strict=True):
                decoded = tensor(shown[part]).to(task.model.device)
                found, paid = task.judged(decoded, truth)
                assert paid is not None  # tasks without a loss train nothing
                outcomes += found
                losses += paid.tolist()
            score = task.score(outcomes)
            scores.append(float("nan") if score is None else score)
        return _Point(max(float(np.mean(bits)), _LEAST), float(np.mean(losses)), float(np.mean(scores)))

    @torch.no_grad()
    def _targets(self, task: Task, part: slice, classes: Sequence[int] | None) -> Tensor:
        """Targets of some of the pictures."""
        pictures = tensor(self._pictures[part]).to(task.model.device)
        return targets(task, pictures, None if classes is None else classes[part])


def _bd_rate(pairs: Sequence[tuple[_Point, _Point]], score: Callable[[_Point], float]) -> float | None:
    plain, ours = (pareto_front([(point.bpp, score(point)) for point in curve]) for curve in zip(*pairs, strict=True))
    return bd_rate_or_none(plain, ours)
