"""From a folder of photographs to the weights of the RDO network."""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from kcompress.codecs import CODECS
from kcompress.codecs.quantisation import learned
from kcompress.inference.weights import Weights
from kcompress.networks.condition import TrainingDomain, condition
from kcompress.networks.mcu import SIDE
from kcompress.networks.preprocessor import Preprocessor
from kcompress.networks.rdo import Rdo
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, gflop
from kcompress.training.log import Entry
from kcompress.training.photos import PhotoTask, picture
from kcompress.training.rated_patches import Batch, PatchDataset
from kcompress.training.task import Split, TrainingData
from kcompress.training.tasks.rdo.loss import RdoLoss
from kcompress.training.tasks.rdo.patches import measured
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.training.validation import CodecValidator, of_objective, under_training, weighted_size

QUALITY = 70
"""Quality at which sizes are compared; the BD-rates span 40 to 82."""


@dataclass(frozen=True, kw_only=True)
class RdoData(TrainingData):
    """Measured patches, and what compares a network with the plain codec."""

    patches: PatchDataset
    validator: CodecValidator


@dataclass(frozen=True)
class RdoTask(PhotoTask[RdoRecipe, RdoData, Batch]):
    """Learns from clean photographs; patches, measured once on ``device``, are kept beside the checkpoints."""

    network_type = Rdo
    network_name = "rdo"
    sizes = ("width", "depth")
    parts: ClassVar = ("rate", "distortion")
    start: Weights | None = None
    device: str = "cpu"

    def loss(self, network: Rdo) -> RdoLoss:
        return RdoLoss(network, self.recipe.objective)

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, RdoData]:
        pictures = [picture(self.photos, name) for name in split.validation]
        tables = None if self.recipe.tables == "standard" else learned()
        validator = of_objective("jpeg", QUALITY, self.recipe.objective, pictures, tables, self.jobs)
        path, source = folder / "patches.safetensors", self._source(split)
        patches = PatchDataset.load(path, source)
        if patches is None:
            patches = yield from measured(self.photos, split.train, self.recipe, self.jobs, self.device)
            patches.save(path, source)
        return RdoData(
            trained_on=len(split.train), held_out=len(split.validation), metrics=validator.names,
            heading=validator.heading, patches=patches, validator=validator,
        )  # fmt: skip

    def batch(self, data: RdoData, number: int) -> Batch:
        return data.patches.batch(self.recipe, number)

    def validate(self, module: RdoLoss, data: RdoData) -> Metrics:
        return data.validator(preprocessor(module.network))

    def objective(self, metrics: Metrics) -> float:
        return weighted_size(metrics, self.recipe.objective)

    def export(self, best: Entry, data: RdoData) -> ExportSpec:
        example = torch.from_numpy(condition(CODECS["jpeg"].setting(QUALITY)))
        operations = gflop(Rdo(**self.arguments), [torch.zeros(1, 3, 256, 256), example])
        return ExportSpec(
            summary="decides which of JPEG's quantised coefficients are worth their bits",
            card={"codec": "jpeg", "gflop_at_1920x1080": round(operations, 1)},
            recipe={"loss": "ln(rate) - slope * score", "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            metrics={"against_the_plain_codec": best.metrics},
            multiple=SIDE,
            inputs=(example,),
        )

    def _source(self, split: Split) -> str:
        """Description of all that decides the patches."""
        recipe: dict[str, Any] = asdict(self.recipe)
        names = (
            "patches", "together", "side", "lowest", "highest", "tables", "mozjpeg", "objective", "split", "seed",
        )  # fmt: skip
        return json.dumps({"pictures": split.digest, **{name: recipe[name] for name in names}}, sort_keys=True)


def preprocessor(network: Rdo) -> Preprocessor:
    """Preprocessor of a network under training."""
    return under_training(network, TrainingDomain("rdo", "jpeg", depth=len(network.context.blocks)))
