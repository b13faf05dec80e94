"""The objective of trainings through a codec: what decoded pictures are worth, and how it changes with pixels."""

from collections.abc import Mapping, Set
from typing import Protocol

import torch
from torch import Tensor

from kcompress.metrics.differentiable import SCORES, WAITING
from kcompress.search.repeated import Repeated


class Rated(Protocol):
    """Pictures (N, 3, H, W), and by score what a unit of it is worth and what the plain codec reaches, (N,)."""

    @property
    def images(self) -> Tensor: ...
    @property
    def slopes(self) -> Mapping[str, Tensor]: ...
    @property
    def plain(self) -> Mapping[str, Tensor]: ...


class Objective:
    """Change of cost by the scores' change against the plain codec, each at the price that the plain codec pays.

    It works in place on batches of one shape, so that on CUDA a step's kernels are started at once, as a graph: there
    are twenty thousand of them, and most are small. Scores that wait for the device stay outside.
    """

    def __init__(self, shares: Mapping[str, float]) -> None:
        """``shares`` are weights of ``SCORES``."""
        self._shares = dict(shares)
        self._works: dict[tuple[torch.Size, torch.device], _Work] = {}

    def __call__(self, batch: Rated, decoded: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cost (N,), and its derivatives by the decoded pictures (N, 3, H, W), until the next call."""
        place = (decoded.shape, decoded.device)
        if place not in self._works:
            self._works[place] = _Work(self._shares, decoded)
        return self._works[place](batch, decoded)


class _Work:
    """An objective on pictures of one shape and device."""

    def __init__(self, shares: Mapping[str, float], like: Tensor) -> None:
        self._shares = shares
        self._images, self._decoded, self._derivatives = (torch.zeros_like(like) for _ in range(3))
        self._cost = like.new_zeros(len(like))
        self._slopes, self._plain = (like.new_zeros(len(shares), len(like), dtype=torch.float64) for _ in range(2))
        self._repeated = Repeated(graph=like.is_cuda)

    def __call__(self, batch: Rated, decoded: Tensor) -> tuple[Tensor, Tensor]:
        self._images.copy_(batch.images)
        self._decoded.copy_(decoded)
        for number, name in enumerate(self._shares):
            self._slopes[number] = batch.slopes[name]
            self._plain[number] = batch.plain[name]
        with torch.enable_grad():
            self._repeated(self._work)
            self._add(WAITING)
        return self._cost, self._derivatives

    def _work(self) -> None:
        self._cost.zero_()
        self._derivatives.zero_()
        self._add(SCORES.keys() - WAITING)

    def _add(self, names: Set[str]) -> None:
        """Add what these scores cost, and its derivatives."""
        decoded = self._decoded.detach().requires_grad_()
        for number, (name, share) in enumerate(self._shares.items()):
            if name not in names:
                continue
            # Each score by itself, which holds one graph of derivatives at a time.
            score = SCORES[name](self._images)(decoded)
            worth = -share * self._slopes[number]
            self._cost.add_((worth * (score.detach() - self._plain[number])).float())
            (derivatives,) = torch.autograd.grad((worth * score).sum(), decoded)
            self._derivatives.add_(derivatives)
