"""Machines as judges of a bench: scores of decoded pictures by downstream models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kcompress.images import Pixels
from kcompress.machine.models import open_model
from kcompress.machine.tasks import Task, task

POOLED = "detection"
"""Task whose score is none of a single picture: detections of all pictures are ranked together."""


@dataclass(frozen=True)
class Machine:
    """A model that looks at decoded pictures.

    Attributes:
        task: of `machine.tasks.TASKS`.
        spec: text for `machine.models.open_model`.
        name: for the report.
        labels: the truth of each picture, of the task's own kind; empty where the model's own answers are the truth.
        classes: numbers of the labels' classes; empty where labels have none.
        truth: what the labels are, for a run that is resumed.
    """

    task: str
    spec: str
    name: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[int, ...] = ()
    truth: str = "own answers"

    @property
    def columns(self) -> tuple[str, str]:
        """Its two scores: how right it is, 0..1, and the loss of the task."""
        return self.name, f"{self.name} loss"

    @property
    def texts(self) -> tuple[str, ...]:
        """Column of a picture's share in the score of all pictures."""
        return (f"{self.name} matches",) if self.task == POOLED else ()

    def ready(self) -> Task:
        """The task by the loaded model.

        Raises:
            KcompressError: the model cannot be loaded, or does not fit task or labels.
        """
        return _ready(self.task, self.spec, self.classes or None)

    def about(self) -> str:
        """All that its scores depend on beside the pictures; raises what `ready` raises."""
        return f"{self.ready().model.digest} {self.spec} {self.task} {self.truth}"

    def scorer(self, original: Pixels, picture: str) -> Callable[[Pixels], tuple[dict[str, float], dict[str, str]]]:
        """Decoded pixels of one picture -> scores and texts by column; no score where its truth is empty."""
        import torch

        from kcompress.inference.tiling import batch

        asked, label = self.ready(), self.labels.get(picture)
        with torch.no_grad():
            if isinstance(label, int):
                target = asked.class_targets([label])
            elif label is None or asked.trainable:
                target = asked.pseudo_labels(torch.from_numpy(batch(original)))
            else:  # the label is the whole truth
                target = torch.empty(0)

        @torch.no_grad()
        def scores(decoded: Pixels) -> tuple[dict[str, float], dict[str, str]]:
            pixels = torch.from_numpy(batch(decoded))
            (outcome,), losses = asked.judged(pixels, target, None if label is None else [label])
            score = asked.score([outcome])
            if score is None and not self.texts:
                return {}, {}
            right, loss = self.columns
            found = {} if score is None else {right: score}
            if losses is not None:
                found[loss] = float(losses)
            return found, {column: outcome.text() for column in self.texts}

        return scores


model = lru_cache(maxsize=8)(open_model)
"""A model, opened once in each process."""


@lru_cache(maxsize=8)
def _ready(name: str, spec: str, classes: tuple[int, ...] | None) -> Task:
    return task(name, model(spec), classes)
