"""Mean squared error of the Kuchen U-Net against labels (Kuchen paper, equation 8)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.inference.batches import tensor
from kcompress.networks.kuchen import Kuchen
from kcompress.training.tasks.kuchen.labelled import Pair
from kcompress.training.tasks.kuchen.patches import Batch


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
