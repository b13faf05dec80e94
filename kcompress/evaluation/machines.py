"""Machines as judges of a bench: rate-accuracy curves, and BD-rates at equal accuracy (NPP paper, tables 1 and 2)."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.evaluation.points import Point
from kcompress.images import Pixels
from kcompress.machine.models import open_model
from kcompress.machine.tasks import Task, task
from kcompress.networks import NONE
from kcompress.rate_distortion.bd_rate import NoBdRate, bd_rate, pareto_front
from kcompress.rate_distortion.bootstrap import percentiles, resamples

_RESAMPLES = 500
"""Each of them is a BD-rate by itself."""

_ENOUGH = 0.8
"""Share of the resamples that must allow a BD-rate for an interval to be told."""


@dataclass(frozen=True)
class Machine:
    """A model that looks at decoded pictures: task of `machine.tasks.TASKS`, text for `machine.models.open_model`.

    ``classes`` is the number of the class by picture; empty where the model's own answers are the truth.
    """

    task: str
    spec: str
    name: str
    classes: Mapping[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, str]:
        """Its two scores: how right it is, 0..1, and the loss of the task."""
        return self.name, f"{self.name} loss"

    def ready(self) -> Task:
        """The task by the loaded model.

        Raises:
            KcompressError: the model cannot be loaded, or does not fit task or labels.
        """
        return _ready(self.task, self.spec, len(set(self.classes.values())) if self.classes else None)

    def about(self) -> str:
        """All that its scores depend on beside the pictures; raises what `ready` raises."""
        truth = f"{len(set(self.classes.values()))} labels" if self.classes else "own answers"
        return f"{self.ready().model.digest} {self.spec} {self.task} {truth}"

    def scorer(self, original: Pixels, picture: str) -> Callable[[Pixels], dict[str, float]]:
        """Decoded pixels of one picture -> scores by column; none where nothing can be said of this picture."""
        import torch

        from kcompress.inference.tiling import batch

        asked = self.ready()
        with torch.no_grad():
            if self.classes:
                target = asked.class_targets([self.classes[picture]])
            else:
                target = asked.pseudo_labels(torch.from_numpy(batch(original)))

        @torch.no_grad()
        def scores(decoded: Pixels) -> dict[str, float]:
            pixels = torch.from_numpy(batch(decoded))
            (score,) = asked.scores(pixels, target)
            if score is None:
                return {}
            return dict(zip(self.columns, (score, float(asked.loss(pixels, target))), strict=True))

        return scores


model = lru_cache(maxsize=8)(open_model)
"""A model, opened once in each process."""


@lru_cache(maxsize=8)
def _ready(name: str, spec: str, classes: int | None) -> Task:
    return task(name, model(spec), classes)


def summarise(points: Sequence[Point], machines: Sequence[Machine]) -> list[dict[str, Any]]:
    """One entry a codec, preprocessor and machine, as plain data for summary.json.

    Curves are those of the whole set: at each quality the mean bits per pixel and the mean score of all pictures that
    could be scored everywhere. ``bd_rate_percent``, of the points on the `pareto_front`, has ``score`` and ``loss``, at
    equal score and at equal loss, each with its 95 % percentile bootstrap interval over pictures, or the reason why
    there is none.
    """
    groups: dict[tuple[str, str], list[Point]] = defaultdict(list)
    for point in points:
        groups[point.codec, point.preprocessor].append(point)
    entries = []
    for (codec, preprocessor), own in groups.items():
        plain = groups.get((codec, NONE))
        if preprocessor == NONE or plain is None:
            continue
        for machine in machines:
            entries.append({
                "codec": codec, "preprocessor": preprocessor, "machine": machine.name, "task": machine.task,
                "labelled": bool(machine.classes), **_compared(plain, own, machine),
            })  # fmt: skip
    return entries


def _compared(plain: Sequence[Point], own: Sequence[Point], machine: Machine) -> dict[str, Any]:
    qualities = list(dict.fromkeys(point.quality for point in plain))
    tables = [_table(points, qualities, machine) for points in (plain, own)]
    pictures = sorted(set(tables[0]) & set(tables[1]))
    if not pictures:
        none = {"mean": None, "reason": "no picture could be scored at every quality"}
        return {"pictures": 0, "curves": [], "bd_rate_percent": {"score": none, "loss": none}}
    before, after = (np.array([table[name] for name in pictures]) for table in tables)
    curves = [
        {"quality": quality, "bpp": [b[0], a[0]], "score": [b[1], a[1]], "loss": [b[2], a[2]]}
        for quality, b, a in zip(qualities, before.mean(0).tolist(), after.mean(0).tolist(), strict=True)
    ]
    rates = {"score": _bd(before, after, 1, higher=True), "loss": _bd(before, after, 2, higher=False)}
    return {"pictures": len(pictures), "curves": curves, "bd_rate_percent": rates}


def _table(
    points: Sequence[Point], qualities: Sequence[int], machine: Machine
) -> dict[str, list[tuple[float, float, float]]]:
    """Picture -> (bits per pixel, score, loss) at each quality; those that lack one are left out."""
    score, loss = machine.columns
    found: dict[str, dict[int, tuple[float, float, float]]] = defaultdict(dict)
    for point in points:
        if score in point.scores:
            found[point.picture][point.quality] = (point.bpp, point.scores[score], point.scores[loss])
    return {name: [each[q] for q in qualities] for name, each in found.items() if len(each) == len(qualities)}


def _bd(before: NDArray[np.float64], after: NDArray[np.float64], column: int, *, higher: bool) -> dict[str, Any]:
    """BD-rate of a column with its bootstrap interval, from (pictures, qualities, 3) each."""

    def rate(chosen: NDArray[np.int64]) -> float:
        plain, prepared = (
            pareto_front([(row[0], row[column]) for row in table[chosen].mean(0).tolist()], higher=higher)
            for table in (before, after)
        )
        return bd_rate(plain, prepared, higher=higher)

    count = len(before)
    try:
        mean = rate(np.arange(count))
    except NoBdRate as reason:
        return {"mean": None, "reason": str(reason)}
    drawn = []
    for chosen in resamples(count, _RESAMPLES):
        try:
            drawn.append(rate(chosen))
        except NoBdRate:
            continue
    share = len(drawn) / _RESAMPLES
    low, high = percentiles(drawn) if share >= _ENOUGH else (None, None)
    return {"mean": mean, "low": low, "high": high, "resamples": share}
