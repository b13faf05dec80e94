"""From a folder of photographs to the weights of the artefacts network."""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import ClassVar

import torch

from kcompress.codecs import CODECS
from kcompress.inference.weights import Weights
from kcompress.networks.artefacts import Artefacts
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.mcu import SIDE
from kcompress.networks.preprocessor import Preprocessor
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, encoder, gflop
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, picture
from kcompress.training.rated_patches import Batch, PatchDataset, of_pictures
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.artefacts.loss import ArtefactsLoss, Proxy
from kcompress.training.tasks.artefacts.patches import coded
from kcompress.training.tasks.artefacts.recipe import ArtefactsRecipe
from kcompress.training.validation import CodecValidator, of_objective, under_training, weighted_size

NETWORK = "artefacts"

_DECIDES = (
    "codec", "lowest", "highest", "patches", "together", "side", "objective", "effort", "split", "seed",
)  # fmt: skip
"""Fields that decide the patches."""


@dataclass(frozen=True, kw_only=True)
class ArtefactsData(TrainingData):
    """Coded patches, and what compares a network with the plain codec."""

    patches: PatchDataset
    validator: CodecValidator


@dataclass(frozen=True)
class ArtefactsTask(PhotoTask[ArtefactsRecipe, ArtefactsData, Batch]):
    """Learns from clean photographs; patches, encoded once, are kept beside the checkpoints."""

    network_type = Artefacts
    network_name = NETWORK
    sizes = ("width", "depth", "height", "power")
    parts: ClassVar = ("rate", "distortion")
    start: Weights | None = None
    proxy: Proxy | None = field(kw_only=True)

    def loss(self, network: Artefacts) -> ArtefactsLoss:
        return ArtefactsLoss(network, self.proxy, self.recipe, self.jobs)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, ArtefactsData]:
        recipe, codec = self.recipe, self.recipe.codec
        pictures = [picture(self.photos, name) for name in split.validation]
        validator = of_objective(codec, CODECS[codec].quality.default, recipe.objective, pictures, jobs=self.jobs)
        path = folder / "patches.safetensors"
        fields = asdict(recipe)
        decides = {"pictures": split.digest, "encoder": encoder(codec), **{name: fields[name] for name in _DECIDES}}
        source = json.dumps(decides, sort_keys=True)
        patches = PatchDataset.load(path, source)
        if patches is None:
            patches = yield from of_pictures(coded, self.photos, split.train, recipe, self.jobs)
            patches.save(path, source)
        return ArtefactsData(
            trained_on=len(split.train), held_out=len(split.validation), metrics=validator.names,
            heading=validator.heading, patches=patches, validator=validator,
        )  # fmt: skip

    def batch(self, data: ArtefactsData, number: int) -> Batch:
        return data.patches.batch(self.recipe, number)

    def validate(self, module: ArtefactsLoss, data: ArtefactsData) -> Metrics:
        return data.validator(preprocessor(module.network, self.recipe))

    def objective(self, metrics: Metrics) -> float:
        return weighted_size(metrics, self.recipe.objective)

    def export(self, best: Entry, data: ArtefactsData) -> ExportSpec:
        codec = self.recipe.codec
        operations = gflop(Artefacts(**self.arguments), [torch.zeros(1, 3, 64, 64), torch.zeros(1, 1)])
        return ExportSpec(
            summary=f"changes pictures so that what {codec}'s decoder shows has the least distortion for its bits",
            card={"codec": codec, "encoder": encoder(codec), "gflop_at_1920x1080": round(operations, 1)},
            recipe={**trained(self.recipe).to_recipe(), "loss": "ln(rate) - slope * score", "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            metrics={"against_the_plain_codec": best.metrics},
            multiple=SIDE,
            inputs=(torch.zeros(1, 1),),
        )


def trained(recipe: ArtefactsRecipe) -> TrainingDomain:
    """Training domain of a network of this recipe."""
    return TrainingDomain.between(NETWORK, recipe.codec, (recipe.lowest, recipe.highest), depth=recipe.depth)


def preprocessor(network: Artefacts, recipe: ArtefactsRecipe) -> Preprocessor:
    """Preprocessor of a network under training."""
    return under_training(network, trained(recipe))
