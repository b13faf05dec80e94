"""From a folder of photographs to the weights of a codec simulator."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from kcompress.inference.weights import Weights
from kcompress.proxies.simulator import NETWORK, Simulator
from kcompress.training.tasks.proxies.accuracy import changes, decibels, logarithm
from kcompress.training.tasks.proxies.coded_patches import Batch
from kcompress.training.tasks.proxies.recipe import SimulatorRecipe
from kcompress.training.tasks.proxies.task import ProxyTask


class SimulatorLoss(nn.Module):
    """A batch -> error of the simulator on every patch, (M,).

    Sum of the squared error of the decoded picture in dB / 10, the error of ln(bpp), and that of its change between
    versions. By logarithms every quality counts alike.
    """

    def __init__(self, simulator: Simulator, difference: float) -> None:
        super().__init__()
        self.simulator = simulator
        self._difference = difference

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss``: ``distortion``, ``rate`` and ``difference`` added up."""
        decoded, bpp = self.simulator(batch.pictures, batch.coarseness)
        error = logarithm(bpp) - logarithm(batch.bpp)
        change = changes(error, batch.versions)
        of_change = nn.functional.pad(change, (1, 0)).flatten()
        parts = {
            "distortion": -decibels(decoded, batch.decoded) / 10,
            "rate": _charbonnier(error),
            "difference": self._difference * _charbonnier(of_change),
        }
        loss = parts["distortion"] + parts["rate"] + parts["difference"]
        return {"loss": loss, **{name: value.detach() for name, value in parts.items()}}


def _charbonnier(error: Tensor) -> Tensor:
    """|error|, round below 0.02."""
    return (error.square() + 0.02**2).sqrt() - 0.02


@dataclass(frozen=True)
class SimulatorTask(ProxyTask[SimulatorRecipe]):
    """Trains a simulator; it may start from one of another codec."""

    network_type = Simulator
    network_name = NETWORK
    sizes = ("width", "depth")
    heading = "simulator"
    summary = "simulates {} for training: what its decoder shows, and bits per pixel"
    loss_name = "ln(MSE) of pixels, Charbonnier of ln(bpp)"
    parts: ClassVar = ("distortion", "rate", "difference")
    start: Weights | None = None

    def loss(self, network: Simulator) -> SimulatorLoss:
        return SimulatorLoss(network, self.recipe.difference)

    def network(self, module: SimulatorLoss) -> Simulator:
        return module.simulator
