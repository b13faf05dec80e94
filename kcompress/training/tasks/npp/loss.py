"""Equation 1 of the NPP paper as a module: bits, the task's loss on what is decoded, and closeness to the picture."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.machine.tasks import Task
from kcompress.networks.npp import Npp
from kcompress.proxies.choice import FrozenProxy
from kcompress.proxies.sampled import displaced
from kcompress.proxies.straight_through import StraightThroughCodec
from kcompress.training.tasks.npp.augmentation import sharpened, view
from kcompress.training.tasks.npp.recipe import NppRecipe

Proxy = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Pictures (N, 3, H, W) and coarsenesses (N,) -> decoded pictures and bits per pixel (N,), differentiable."""


class Batch(NamedTuple):
    """Pictures (N, 3, side, side) 0..1 of a step, their classes where there are labels, and qualities to encode at.

    ``adaptive`` says whether the network is told the qualities; ``judges`` are the numbers of the models that judge.
    """

    pictures: Tensor
    classes: list[int] | None
    qualities: list[int]
    adaptive: bool
    judges: frozenset[int] | None = None


class NppLoss(nn.Module):
    """A batch -> the cost of each picture in bits per pixel, (N,): R_t + lambda * D_m + beta * D_pre.

    Decoded picture and bits are the real codec's, their gradients the proxy's (section 3.3). Or all are the proxy's
    (section 4.3, NPP+Proxy), where a simulator draws samples. D_m is the mean loss of the tasks, or of those that a
    batch names; each has a frozen model of its own.
    """

    def __init__(self, network: Npp, tasks: Sequence[Task], proxy: Proxy, recipe: NppRecipe, jobs: int) -> None:
        super().__init__()
        self.network = network
        # In a tuple, frozen models are no part of this module: they are neither trained, averaged nor written down.
        self._frozen = (tuple(tasks), proxy)
        self._recipe = recipe
        self._codec = StraightThroughCodec(
            CODECS[recipe.codec], proxy, jobs, effort=recipe.effort, mosaic=recipe.mosaic
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss`` and its three terms."""
        tasks, scale = self._frozen[0], CODECS[self._recipe.codec].quality
        place = batch.pictures.device
        coarseness = torch.tensor([scale.coarseness(quality) for quality in batch.qualities], device=place)
        pictures = sharpened(batch.pictures) if self._recipe.augment else batch.pictures
        filtered = self.network(pictures, coarseness[:, None] if batch.adaptive else None).float()
        with torch.autocast(place.type, enabled=False):
            decoded, rate = self._coded(filtered, batch.qualities, coarseness)
            drawn = [task for number, task in enumerate(tasks) if batch.judges is None or number in batch.judges]
            losses = [self._judged(task, pictures, decoded, batch.classes) for task in drawn]
            trade = torch.tensor([self._recipe.trade(quality) for quality in batch.qualities], device=place)
            changed = (filtered - pictures).square().flatten(1).mean(1)
            of_task, of_change = trade * torch.stack(losses).mean(0), self._recipe.closeness * changed
        parts = {"rate": rate, "task": of_task, "closeness": of_change}
        return {"loss": rate + of_task + of_change, **{name: value.detach() for name, value in parts.items()}}

    def _coded(self, filtered: Tensor, qualities: Sequence[int], coarseness: Tensor) -> tuple[Tensor, Tensor]:
        """Decoded pictures (N, 3, H, W) and bits per pixel (N,)."""
        if self._recipe.values != "proxy":
            return self._codec(filtered, qualities, coarseness)
        proxy, seen = self._frozen[1], filtered.clamp(0, 1)  # as an encoder would see it
        if not self._recipe.sampled:
            return proxy(seen, coarseness)
        assert isinstance(proxy, FrozenProxy)  # of simulators
        return displaced(proxy.sample, seen, coarseness)

    def _judged(self, task: Task, pictures: Tensor, decoded: Tensor, classes: Sequence[int] | None) -> Tensor:
        """Loss (N,) of a task, whose model may see a part of the pictures."""
        if self._recipe.augment and task.model.size is not None:  # others may not take every size
            rows, columns = view(pictures.shape[-1])
            pictures, decoded = pictures[..., rows, columns], decoded[..., rows, columns]
        return task.loss(decoded, targets(task, pictures, classes))


def targets(task: Task, pictures: Tensor, classes: Sequence[int] | None) -> Tensor:
    """Targets of a task: the classes of the pictures, or without any the model's own answers."""
    if classes is None:
        return task.pseudo_labels(pictures)
    return task.class_targets(classes).to(pictures.device)
