"""Training of the Kuchen U-Net from the labels of a filter pool (Kuchen paper, sections 3.3, 4.2 and 4.3)."""

import math
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference.batches import tensor
from kcompress.inference.weights import Weights
from kcompress.networks import Preprocessor
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.kuchen import Kuchen
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, gflop
from kcompress.training.log import Entry
from kcompress.training.task import Split, Task, TrainingData
from kcompress.training.tasks.kuchen.labelled import Labels, Pair, stored_on_disk
from kcompress.training.tasks.kuchen.patches import Batch, PairPatches
from kcompress.training.tasks.kuchen.recipe import KuchenRecipe
from kcompress.training.validation import CodecValidator, size_at_equal, under_training


class KuchenLoss(nn.Module):
    """A batch -> mean squared error, a scalar."""

    def __init__(self, network: Kuchen) -> None:
        super().__init__()
        self.network = network
        self.register_load_state_dict_pre_hook(_of_before)  # type: ignore[no-untyped-call]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``."""
        return {"loss": F.mse_loss(apply(self.network, batch.originals).float(), batch.targets)}


def _of_before(module: nn.Module, state: dict[str, Any], *_: object) -> None:
    """Accept a state that holds the network without the loss around it, as it once was written."""
    for name in [name for name in state if not name.startswith("network.")]:
        state[f"network.{name}"] = state.pop(name)


def apply(network: nn.Module, image: Tensor) -> Tensor:
    """Run a network that wants multiples of 8 on any size: (N, 3, H, W) -> (N, 3, H, W)."""
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, -width % 8, 0, -height % 8), mode="replicate")
    result: Tensor = network(padded)[..., :height, :width]
    return result


@torch.no_grad()
def errors(network: nn.Module, pairs: Sequence[Pair]) -> tuple[float, float]:
    """Mean squared error over the pictures with the network, and without it."""
    device = next(network.parameters()).device
    with_network, without = 0.0, 0.0
    for pair in pairs:
        original, target = (tensor([pixels]).to(device) for pixels in (pair.original, pair.target))
        with_network += F.mse_loss(apply(network, original).clamp(0, 1), target).item()
        without += F.mse_loss(original, target).item()
    return with_network / len(pairs), without / len(pairs)


@dataclass(frozen=True, kw_only=True)
class KuchenData(TrainingData):
    """Patches of originals and labels; whole ones to validate with, and what compares a network with the codec."""

    patches: PairPatches
    held_out_pairs: Sequence[Pair]
    validator: CodecValidator


@dataclass(frozen=True)
class KuchenTask(Task[KuchenRecipe, KuchenData, Batch]):
    """Learns the labels of a data set, by mean squared error and Adam."""

    labels: Labels
    recipe: KuchenRecipe
    start: Weights | None = None
    network_type = Kuchen
    network_name = "kuchen"
    sizes = ("width",)
    clip = None
    channels_last = True

    @property
    def free_on_resume(self) -> Sequence[str]:
        # A cosine's rates depend on where it ends.
        return ("validate_every", "steps") if self.recipe.schedule == "constant" else ("validate_every",)

    def full_precision_from(self, device: torch.device) -> float:
        return 1.0 if device.type == "cuda" else 0.0

    def loss(self, network: Kuchen) -> KuchenLoss:
        return KuchenLoss(network)

    def split(self) -> Split:
        return Split(*self.labels.split(self.recipe.split), self.labels.sha256)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, KuchenData]:
        labels = self.labels
        yield from ()
        patches = PairPatches(stored_on_disk(labels.pairs(split.train), folder), self.recipe)
        held_out = list(labels.pairs(_spread(split.validation, self.recipe.validation_pictures)))
        originals = [pair.original for pair in held_out]
        validator = CodecValidator(labels.codec, labels.quality, (labels.metric, "ssimulacra2"), originals)
        return KuchenData(
            trained_on=len({row.sha256 for row in split.train}), held_out=len(held_out), metrics=validator.names,
            heading=validator.heading, patches=patches, held_out_pairs=held_out, validator=validator,
        )  # fmt: skip

    def batch(self, data: KuchenData, number: int) -> Batch:
        return data.patches.batch(number)

    def validate(self, module: KuchenLoss, data: KuchenData) -> Metrics:
        error, identity_error = errors(module.network, data.held_out_pairs)
        found = data.validator(preprocessor(module.network, self.recipe))
        return {"error": error, "identity_error": identity_error, **found}

    def objective(self, metrics: Metrics) -> float:
        found = metrics.get(size_at_equal(self.labels.metric))
        return math.inf if found is None else found

    def export(self, best: Entry, data: KuchenData) -> ExportSpec:
        labels, rows = self.labels, self.labels.rows
        return ExportSpec(
            summary=f"imitates the filters that win for {labels.codec} at quality {labels.quality}",
            card={
                "codec": labels.codec,
                "paper": "Zhang, Deng and Li, A Unified Image Preprocessing Framework For Image Compression, "
                "section 3.3",
            },
            recipe={"loss": "MSE", "optimiser": "Adam"},
            data=f"labels of {data.trained_on} pictures",
            details={
                "labels": {
                    "sha256": labels.sha256,
                    "quality": labels.quality,
                    "encoder": f"{rows[0].backend} {rows[0].version}",
                    "metric": labels.metric,
                    "rate_weight": labels.rate_weight,
                    "winners": dict(Counter(row.group for row in rows).most_common()),
                },
                "gflop_at_1920x1080": round(gflop(Kuchen(self.recipe.width), [torch.zeros(1, 3, 64, 64)]), 1),
            },
            metrics={
                "mse_to_label": {"network": best.error, "untouched": best.identity_error},
                "against_the_plain_codec": best.metrics,
            },
        )


def preprocessor(network: nn.Module, recipe: KuchenRecipe) -> Preprocessor:
    """Preprocessor of a network under training, which makes as much of its change as the weights will."""
    return under_training(network, TrainingDomain("kuchen", strength=recipe.strength))


def _spread(rows: Sequence[Any], pictures: int) -> list[Any]:
    """Rows of so many pictures at most, evenly spread."""
    names = list(dict.fromkeys(row.path for row in rows))
    chosen = {names[number * len(names) // min(pictures, len(names))] for number in range(min(pictures, len(names)))}
    return [row for row in rows if row.path in chosen]
