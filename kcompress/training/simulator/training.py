"""From a folder of photographs to the weights of a codec simulator."""

from dataclasses import dataclass

from torch import Tensor, nn

from kcompress.inference.weights import Weights
from kcompress.proxies.simulator import NETWORK, Simulator
from kcompress.training.beginning import begin_with
from kcompress.training.simulator.accuracy import changes, decibels, logarithm
from kcompress.training.simulator.mimicry import ProxyTraining
from kcompress.training.simulator.pairs import Batch
from kcompress.training.simulator.recipe import SimulatorRecipe


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
class SimulatorTraining(ProxyTraining):
    """One training of a simulator.

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
        simulator = self.built()
        begin_with(simulator, self.start, self.arguments())
        return Errors(simulator, self.recipe.difference)

    def network(self, model: Errors) -> Simulator:
        return model.simulator

    def heading(self) -> str:
        return f"simulator of {self.recipe.codec}"

    def built(self) -> Simulator:
        return Simulator(self.recipe.width, self.recipe.depth)

    def arguments(self) -> dict[str, int]:
        return {"width": self.recipe.width, "depth": self.recipe.depth}

    def described(self) -> dict[str, str]:
        return {
            "summary": f"simulates {self.recipe.codec} for training: what its decoder shows, and bits per pixel",
            "network": NETWORK,
            "loss": "ln(MSE) of pixels, Charbonnier of ln(bpp)",
        }
