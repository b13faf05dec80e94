"""Training of the Kuchen U-Net from the labels of a filter pool (Kuchen paper, sections 3.3, 4.2 and 4.3)."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from kcompress.inference.engine import TorchEngine
from kcompress.inference.weights import Weights
from kcompress.networks import Preprocessor
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.loading import wrapped
from kcompress.training.beginning import begin_with
from kcompress.training.data import Pair
from kcompress.training.labelled import Labels, kept_on_disk
from kcompress.training.log import Entry, Log, load_best
from kcompress.training.loop import Step, Validation, train
from kcompress.training.publishing import described, publish
from kcompress.training.recipe import Recipe
from kcompress.training.state import begin, seconds_spent, steps_done
from kcompress.training.validation import Judge

GFLOP = 39.8
"""Of width 8 for 1920x1080; it grows with the square of the width."""


@dataclass
class Training:
    """One training and what it has found so far.

    Attributes:
        labels: to learn.
        recipe: how.
        folder: for checkpoints, state and log.
        accelerator: device and processes.
        start: weights to start from; the recipe names them.
        entries: of the log.
        decides: the figure by which the best checkpoint is kept.
        held_out: number of pictures that are validated with.
    """

    labels: Labels
    recipe: Recipe
    folder: Path
    accelerator: Accelerator
    start: Weights | None = None
    entries: list[Entry] = field(default_factory=list)
    decides: str = ""
    held_out: int = 0

    def run(self, *, resume: bool = False) -> Iterator[Step | Validation]:
        """Train; what is yielded is for people to see.

        Raises:
            FloatingPointError: the loss is no longer finite.
            InputError: pictures or labels that do not fit.
            OutputError: the folder holds another training already.
        """
        begin(self.folder, resume=resume)
        kept, held_out = self.labels.split(self.recipe.split)
        pairs = kept_on_disk(self.labels.pairs(kept), self.folder)
        judged = list(self.labels.pairs(_spread(held_out, self.recipe.validation_pictures)))
        self.held_out = len(judged)
        judge = self._judge(judged)
        self.decides = judge.decides
        model = self._fresh()
        log = Log(self.folder, judge.names, steps_done(self.folder)) if self.accelerator.is_main_process else None
        try:
            for event in train(
                self.accelerator, model, self.recipe, pairs, judged, self.folder,
                lambda module: judge(preprocessor(module)), judge.decides, self.labels.sha256, resume=resume,
            ):  # fmt: skip
                if isinstance(event, Validation) and log is not None:
                    log.append(event)
                    log.keep(event, judge.heading)
                yield event
        finally:
            if log is not None:
                self.entries = log.entries
                log.close()

    def export(self, output: Path, about: str) -> dict[str, Any]:
        """Write weights, graph and card of the best checkpoint; returns the card.

        Args:
            output: stem of the files.
            about: what the pictures are, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        recipe, labels = self.recipe, self.labels
        module = Kuchen(recipe.width)
        load_best(module, self.folder, self.entries)
        rows = labels.rows
        kept, _ = labels.split(recipe.split)
        best = min(self.entries, key=lambda entry: entry.scores.get(self.decides, math.inf))
        card = {
            "summary": f"imitates the filters that win for {labels.codec} at quality {labels.quality}",
            "network": "kuchen",
            "codec": labels.codec,
            "paper": "Zhang, Deng and Li, A Unified Image Preprocessing Framework For Image Compression, section 3.3",
            "recipe": {**asdict(recipe), "loss": "MSE", "optimiser": "Adam"},
            "data": described(f"labels of {len({row.sha256 for row in kept})} pictures", about),
            "labels": {
                "sha256": labels.sha256,
                "quality": labels.quality,
                "encoder": f"{rows[0].backend} {rows[0].version}",
                "metric": labels.metric,
                "rate_weight": labels.rate_weight,
                "winners": dict(Counter(row.group for row in rows).most_common()),
            },
            "gflop_at_1920x1080": round(GFLOP * (recipe.width / 8) ** 2, 1),
            "training_minutes": round(seconds_spent(self.folder) / 60),
            "held_out_pictures": self.held_out,
            "best_step": best.step,
            "mse_to_label": {"network": best.error, "untouched": best.identity_error},
            "against_the_plain_codec": best.scores,
        }
        return publish(output, module, {"width": recipe.width}, card)

    def _fresh(self) -> Kuchen:
        """The network before the first step.

        Raises:
            UsageError: the weights to start from have another width.
        """
        torch.manual_seed(self.recipe.seed)
        model = Kuchen(self.recipe.width)
        begin_with(model, self.start, {"width": self.recipe.width})
        return model

    def _judge(self, judged: Sequence[Pair]) -> Judge:
        metrics = (self.labels.metric, "ssimulacra2")
        return Judge(self.labels.codec, self.labels.quality, metrics, [pair.original for pair in judged])


def preprocessor(module: nn.Module) -> Preprocessor:
    """A network under training as what encodes take; it runs where it is."""
    place = next(module.parameters()).device
    return wrapped("kuchen", TorchEngine(module, str(place)), TrainingDomain("kuchen"))


def _spread(rows: Sequence[Any], pictures: int) -> list[Any]:
    """Rows of so many pictures at most, evenly spread."""
    names = list(dict.fromkeys(row.path for row in rows))
    chosen = {names[number * len(names) // min(pictures, len(names))] for number in range(min(pictures, len(names)))}
    return [row for row in rows if row.path in chosen]
