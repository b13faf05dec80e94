"""Error of restored patches, in dB."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from kcompress.pool.artifacts_network import ArtifactRemoval
from kcompress.training.tasks.artifacts.recipe import ArtifactRecipe


class Batch(NamedTuple):
    """Patches of a step; those of one codec and quality follow each other.

    Attributes:
        compressed: (N, 3, side, side), RGB 0..1.
        clean: of the same shape.
    """

    compressed: Tensor
    clean: Tensor


class ArtifactLoss(nn.Module):
    """A batch -> `error` of the restored patches, and of the compressed ones as ``untouched``.

    Args:
        network: in training.
        recipe: of the training.
    """

    def __init__(self, network: ArtifactRemoval, recipe: ArtifactRecipe) -> None:
        super().__init__()
        self.network = network
        self._recipe = recipe

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        restored = self.network(batch.compressed).float()
        return {
            "loss": error(restored, batch.clean, self._recipe),
            "untouched": error(batch.compressed, batch.clean, self._recipe),
        }


def error(restored: Tensor, clean: Tensor, recipe: ArtifactRecipe) -> Tensor:
    """Mean error in dB: every quality counts alike, and within one the patches with much to restore count most.

    The mean squared error is taken over all patches that are alike, as PSNR takes it over a picture.
    """
    with torch.autocast(restored.device.type, enabled=False):
        squared = (restored - clean).square().reshape(len(clean) // recipe.alike, -1).mean(dim=1) * 255**2
        return 10 * torch.log10(squared + recipe.floor).mean()
