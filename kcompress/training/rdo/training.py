"""From a folder of photographs to the weights of the RDO network."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass

import torch

from kcompress.codecs import CODECS
from kcompress.images import read_canonical
from kcompress.inference.engine import TorchEngine
from kcompress.inference.weights import Weights
from kcompress.metrics import METRICS
from kcompress.networks.condition import TrainingDomain, condition
from kcompress.networks.energies import BANDS, TERMS
from kcompress.networks.loading import wrapped
from kcompress.networks.mcu import SIDE
from kcompress.networks.preprocessor import Preprocessor
from kcompress.networks.rdo import Rdo
from kcompress.training import validation
from kcompress.training.beginning import begin_with
from kcompress.training.loop import Prepared
from kcompress.training.photographs import Lessons, PhotoTraining, Shipping
from kcompress.training.rdo.bank import Bank, batches, measured
from kcompress.training.rdo.recipe import RdoRecipe
from kcompress.training.rdo.simulation import Simulation
from kcompress.training.state import steps_done

QUALITY = 70
"""At which sizes are compared; the BD-rates span 40 to 82."""


@dataclass
class RdoTraining(PhotoTraining):
    """Of clean photographs; patches that are measured once are kept beside the checkpoints.

    Attributes:
        start: weights to begin with.
    """

    recipe: RdoRecipe
    start: Weights | None = None

    def fresh(self) -> Simulation:
        """The network and its codec before the first step.

        Raises:
            UsageError: the weights to begin with are of other sizes.
        """
        network = Rdo(**self.arguments())
        begin_with(network, self.start, self.arguments())
        return Simulation(network, self.recipe.objective)

    def arguments(self) -> dict[str, int]:
        """That the network is built with."""
        return {"width": self.recipe.width, "depth": self.recipe.depth}

    def network(self, model: Simulation) -> Rdo:
        return model.network

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        judge = self._judge(judged)
        bank = yield from self._bank(kept)
        return Lessons(
            lambda first: batches(bank, self.recipe, first), lambda network: judge(preprocessor(network)),
            judge.names, judge.heading,
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float | None]) -> float:
        return validation.worth(figures, self.recipe.objective)

    def shipping(self, figures: Mapping[str, float]) -> Shipping:
        recipe = self.recipe
        return Shipping(
            Rdo(**self.arguments()),
            self.arguments(),
            {
                "summary": "decides which of JPEG's quantised coefficients are worth their bits",
                "network": "rdo",
                "codec": "jpeg",
                "gflop_at_1920x1080": round(_gflop(recipe), 1),
            },
            {"loss": "ln(rate) - slope * score"},
            {"against_the_plain_codec": figures},
            multiple=SIDE,
            more=(torch.from_numpy(condition(CODECS["jpeg"].setting(QUALITY))),),
        )

    def _bank(self, names: list[str]) -> Generator[Prepared, None, Bank]:
        """Measured patches, kept beside the checkpoints for a training that goes on."""
        path = self.folder / "patches.safetensors"
        if steps_done(self.folder) and path.is_file():
            return Bank.load(path)
        bank = yield from measured(self.photos, names, self.recipe, self.jobs)
        bank.save(path)
        return bank

    def _judge(self, names: list[str]) -> validation.Judge:
        pictures = [read_canonical(self.photos.read(name), name).pixels for name in names]
        metrics = (*self.recipe.objective, "butteraugli", "psnr")
        known = [name for name in metrics if METRICS[name].available()]
        return validation.Judge("jpeg", QUALITY, known, pictures)


def preprocessor(network: Rdo) -> Preprocessor:
    """A network under training as what encodes take."""
    domain = TrainingDomain("rdo", "jpeg", depth=len(network.context.blocks))
    return wrapped("rdo", TorchEngine(network, "cpu"), domain)


def _gflop(recipe: RdoRecipe) -> float:
    """Of one 1920x1080 picture: the products with matrices, the convolutions, and the DCT there and back."""
    width, depth = recipe.width, recipe.depth
    in_blocks = 6 * 64 * (2 * BANDS + TERMS)
    of_context = (4 * 384 + 12 * BANDS) * width + depth * (9 * width + 4 * width**2) + (3 * 384 + 6 * TERMS) * width
    of_mcu = 2 * (of_context + in_blocks)
    of_pixel = of_mcu / SIDE**2 + 2 * 1.5 * 128
    return of_pixel * 1920 * 1080 / 1e9
