"""From a folder of photographs to the weights of the RDO network."""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from kcompress.codecs import CODECS
from kcompress.images import read_canonical
from kcompress.inference.engine import TorchEngine
from kcompress.inference.weights import Weights
from kcompress.metrics import METRICS
from kcompress.networks.condition import TrainingDomain, condition
from kcompress.networks.loading import wrapped
from kcompress.networks.mcu import SIDE
from kcompress.networks.preprocessor import Preprocessor
from kcompress.networks.rdo import Rdo
from kcompress.training.checkpoint import warm_start
from kcompress.training.events import Metrics, Prepared
from kcompress.training.export import ExportSpec, gflop
from kcompress.training.log import Entry
from kcompress.training.task import PhotoTask, Split, TrainingData
from kcompress.training.tasks.rdo.loss import RdoLoss
from kcompress.training.tasks.rdo.patches import Batch, PatchDataset, measured
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.training.validation import CodecValidator, weighted_size

QUALITY = 70
"""At which sizes are compared; the BD-rates span 40 to 82."""

_BESIDE = ("butteraugli", "psnr")
"""Metrics that are measured beside those of the objective."""


@dataclass(frozen=True, kw_only=True)
class RdoData(TrainingData):
    """Measured patches, and what compares a network with the plain codec."""

    patches: PatchDataset
    validator: CodecValidator


@dataclass(frozen=True)
class RdoTask(PhotoTask[RdoRecipe, RdoData, Batch]):
    """Learns from clean photographs; patches that are measured once are kept beside the checkpoints.

    Attributes:
        start: weights to start from.
    """

    parts: ClassVar = ("rate", "distortion")
    start: Weights | None = None

    def build(self) -> RdoLoss:
        network = Rdo(**self._sizes())
        warm_start(network, self.start, self._sizes())
        return RdoLoss(network, self.recipe.objective)

    def network(self, module: RdoLoss) -> Rdo:
        return module.network

    def prepare(self, split: Split, folder: Path) -> Generator[Prepared, None, RdoData]:
        pictures = [read_canonical(self.photos.read(name), name).pixels for name in split.validation]
        known = [name for name in (*self.recipe.objective, *_BESIDE) if METRICS[name].available()]
        validator = CodecValidator("jpeg", QUALITY, known, pictures)
        path, source = folder / "patches.safetensors", self._source(split)
        patches = PatchDataset.load(path, source)
        if patches is None:
            patches = yield from measured(self.photos, split.train, self.recipe, self.jobs)
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
        module, told = Rdo(**self._sizes()), torch.from_numpy(condition(CODECS["jpeg"].setting(QUALITY)))
        return ExportSpec(
            module=module,
            arguments=self._sizes(),
            card={
                "summary": "decides which of JPEG's quantised coefficients are worth their bits",
                "network": "rdo",
                "codec": "jpeg",
                "gflop_at_1920x1080": round(gflop(module, [torch.zeros(1, 3, 256, 256), told]), 1),
            },
            recipe={"loss": "ln(rate) - slope * score", "optimiser": "AdamW"},
            data=f"{data.trained_on} photographs",
            metrics={"against_the_plain_codec": best.metrics},
            multiple=SIDE,
            inputs=(told,),
        )

    def _sizes(self) -> dict[str, int]:
        """Constructor arguments of the network."""
        return {"width": self.recipe.width, "depth": self.recipe.depth}

    def _source(self, split: Split) -> str:
        """Describe what the patches follow from."""
        recipe: dict[str, Any] = asdict(self.recipe)
        names = ("patches", "side", "lowest", "highest", "mozjpeg", "objective", "split", "seed")
        return json.dumps({"pictures": split.digest, **{name: recipe[name] for name in names}}, sort_keys=True)


def preprocessor(network: Rdo) -> Preprocessor:
    """A network under training as what encodes take; it runs where it is."""
    engine = TorchEngine(network, str(next(network.parameters()).device))
    return wrapped("rdo", engine, TrainingDomain("rdo", "jpeg", depth=len(network.context.blocks)))
