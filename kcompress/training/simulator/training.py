"""From a folder of photographs to the weights of a codec simulator."""

from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.errors import UsageError
from kcompress.inference.weights import Weights
from kcompress.training.log import load_best
from kcompress.training.loop import Prepared
from kcompress.training.photographs import Lessons, PhotoTraining
from kcompress.training.proxies.learned import NETWORK, Simulator
from kcompress.training.publishing import described, publish
from kcompress.training.simulator.accuracy import FIGURES, accuracy, changes, decibels, logarithm
from kcompress.training.simulator.pairs import PLACE, Batch, Pairs, batches, encoded
from kcompress.training.simulator.recipe import SimulatorRecipe
from kcompress.training.state import seconds_spent

OF_A_JUDGED_PICTURE = 4
"""Patches."""


class Errors(nn.Module):
    """A batch -> what the simulator gets wrong of it: a cost for every patch, (M,).

    The squared error of the decoded picture in dB / 10, so that every quality counts alike, the error of ln(bpp), and
    that of its change between versions.
    """

    def __init__(self, simulator: Simulator, difference: float) -> None:
        super().__init__()
        self.simulator = simulator
        self._difference = difference

    def forward(self, batch: Batch) -> Tensor:
        decoded, bpp = self.simulator(batch.pictures, batch.coarseness)
        error = logarithm(bpp) - logarithm(batch.bpp)
        change = changes(error, batch.versions)
        of_change = nn.functional.pad(change, (1, 0)).flatten()
        return -decibels(decoded, batch.decoded) / 10 + _charbonnier(error) + self._difference * _charbonnier(of_change)


def _charbonnier(error: Tensor) -> Tensor:
    """|error|, round below 0.02."""
    return (error.square() + 0.02**2).sqrt() - 0.02


@dataclass
class SimulatorTraining(PhotoTraining):
    """Patches that are encoded once are kept beside the checkpoints.

    Attributes:
        start: weights to begin with, of this codec or another.
    """

    recipe: SimulatorRecipe
    start: Weights | None = None

    def fresh(self) -> Errors:
        """The networks before the first step.

        Raises:
            UsageError: the weights to begin with are of other sizes.
        """
        simulator = Simulator(self.recipe.width, self.recipe.depth)
        if self.start is not None:
            if self.start.arguments != {"width": self.recipe.width, "depth": self.recipe.depth}:
                raise UsageError(
                    f"--start: {self.start.path} has width {self.start.arguments['width']}, not {self.recipe.width}. "
                    "Give others, or another --width."
                )
            simulator.load_state_dict(self.start.tensors())
        return Errors(simulator, self.recipe.difference)

    def network(self, model: Errors) -> Simulator:
        return model.simulator

    def lessons(self, kept: list[str], judged: list[str]) -> Generator[Prepared, None, Lessons]:
        pairs = yield from self._pairs(kept, -(-self.recipe.patches // len(kept)))
        unseen = yield from self._pairs(judged, OF_A_JUDGED_PICTURE)
        return Lessons(
            lambda first: batches(pairs, self.recipe, first),
            lambda simulator: accuracy(simulator, unseen, self.recipe.codec),
            list(FIGURES), f"simulator of {self.recipe.codec}", ("psnr_gain_db", "bpp_error_percent"),
            "of the simulation",
        )  # fmt: skip

    def worth(self, figures: Mapping[str, float]) -> float:
        """In nepers, as the loss counts."""
        pixels = -figures["psnr_to_the_decoder_db"] / 10
        return pixels + figures["bpp_error_percent"] / 100 + 2 * figures["ln_bpp_difference_error"]

    def export(self, output: Path, about: str) -> dict[str, Any]:
        """Write weights and card of the best checkpoint; returns the card.

        Args:
            output: stem of the files.
            about: what the pictures are, for the card.

        Raises:
            InputError: there is no checkpoint.
        """
        recipe = self.recipe
        module = Simulator(recipe.width, recipe.depth)
        load_best(module, self.folder, self.entries)
        best = min(self.entries, key=lambda entry: self.worth(entry.scores))
        backend = CODECS[recipe.codec].backend("auto")
        card = {
            "summary": f"simulates {recipe.codec} for training: what its decoder shows, and bits per pixel",
            "network": NETWORK,
            "codec": recipe.codec,
            "encoder": f"{backend.name} {backend.version()}",
            "recipe": {**asdict(recipe), "loss": "ln(MSE) of pixels, Charbonnier of ln(bpp)", "optimiser": "AdamW"},
            "data": described(f"{self.trained_on} photographs", about),
            "training_minutes": round(seconds_spent(self.folder) / 60),
            "held_out_pictures": self.held_out,
            "best_step": best.step,
            "on_held_out_patches": {name: round(value, 4) for name, value in best.scores.items()},
        }
        return publish(output, module, {"width": recipe.width, "depth": recipe.depth}, card, graph=False)

    def _pairs(self, names: list[str], each: int) -> Generator[Prepared, None, Pairs]:
        return encoded(self.photos, names, each, self.recipe, self.folder / PLACE, self.jobs)
