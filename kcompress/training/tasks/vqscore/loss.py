"""Loss of VQscore: error and order of the scores, and error of what was done at each token."""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.metrics.vqscore_network import MULTIPLE, VQscoreNetwork
from kcompress.training.tasks.vqscore.recipe import QualityRecipe

DAMAGES = 3
"""Numbers that `damage` gives for a token."""


class Batch(NamedTuple):
    """Crops and what they should score.

    Attributes:
        pictures: (contents * versions, 3, side, side), 0..1; versions of one region follow each other.
        targets: (contents, versions), 0..100.
        soft: (contents, versions), whether a version is softened.
        clean: (contents, 3, side, side), 0..1, the regions themselves.
        shifted: (contents, 3, side, side), 0..1, a version of each region, cut a few pixels further down and right.
        moved: (contents,) which version that is.
        paired: (contents,) whether the versions, but the untouched one, differ by their filters alone.
    """

    pictures: Tensor
    targets: Tensor
    soft: Tensor
    clean: Tensor
    shifted: Tensor
    moved: Tensor
    paired: Tensor


class QualityLoss(nn.Module):
    """A batch -> `objective` of its scores plus the error of `damage`, which the network is asked beside the score.

    Taught by one number for each picture alone it learns many times slower. After Kim, Nguyen and Lee,
    Deep CNN-Based Blind Image Quality Predictor, 2019, whose network learns maps of the error first.
    """

    def __init__(self, network: VQscoreNetwork, recipe: QualityRecipe) -> None:
        super().__init__()
        self.network = network
        self.local = nn.Linear(network.tokens.out_features, DAMAGES)
        self._recipe = recipe

    def train(self, mode: bool = True) -> Self:
        """Go into training, but for the batch norm where the recipe says so."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and self._recipe.still_norm:
                module.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        seen = self.network.look(torch.cat([batch.pictures, batch.shifted]))
        encoded, shifted = seen[: len(batch.pictures)], seen[len(batch.pictures) :]
        scores, again = self.network.score(encoded).float(), self.network.score(shifted).float()
        local_output = self.local(encoded[..., : self.local.in_features]).flatten(1).float()
        with torch.autocast(scores.device.type, enabled=False):
            clean = batch.clean.repeat_interleave(self._recipe.versions, dim=0)
            found = scores.view_as(batch.targets)
            score = objective(found, batch.targets, batch.soft, self._recipe)
            score = score + self._recipe.differences * differences(found, batch.targets, batch.paired)
            still = found.gather(1, batch.moved[:, None])
            shift = ((again - still) / 10).square().mean()
            local = F.smooth_l1_loss(local_output, damage(batch.pictures, clean).flatten(1))
        loss = score + self._recipe.local * local + self._recipe.shift * shift
        return {"loss": loss, "score": score.detach(), "damage": local.detach(), "shift": shift.detach()}


def objective(scores: Tensor, targets: Tensor, soft: Tensor, recipe: QualityRecipe) -> Tensor:
    """Error of the scores, and of the order of every pair of versions of one region.

    Scores and targets are (contents, versions), 0..100, the untouched version first; ``soft`` tells which are softened.
    Errors of up to 20 points are squared: where a score cannot be known it shall be the mean, not the median, which
    takes softness for a soft photograph.
    """
    weights = torch.ones_like(targets)
    weights[:, 0] = recipe.untouched
    errors = F.smooth_l1_loss(scores / 10, targets / 10, beta=2.0, reduction="none")
    deceived = torch.where(soft & (scores > targets), recipe.overrated, 1.0)
    error = (weights * deceived * errors).sum() / weights.sum()
    apart = targets[:, :, None] - targets[:, None, :]
    scored = scores[:, :, None] - scores[:, None, :]
    margin = apart.clamp(max=recipe.margin)
    ranking = (F.relu(margin - scored) * (apart > 0)).sum() / (apart > 0).sum().clamp(min=1) / 10
    return error + recipe.ranking * ranking


def differences(scores: Tensor, targets: Tensor, paired: Tensor) -> Tensor:
    """Error of the differences between versions of paired regions, the untouched one, which is first, left out.

    Scores and targets are (contents, versions), 0..100, ``paired`` (contents,). What a filter does to a score is small
    beside what the score may be wrong by for the whole picture, and is what a preprocessor is chosen by.
    """
    errors = (scores - targets)[paired, 1:] / 3
    apart = errors - errors.mean(dim=1, keepdim=True)
    return F.smooth_l1_loss(apart, torch.zeros_like(apart), reduction="sum") / scores[:, 1:].numel()


def damage(pictures: Tensor, clean: Tensor) -> Tensor:
    """Damage to pictures (N, 3, H, W), 0..1, at each token: how much is wrong, coarsely wrong, and got sharper.

    Returns:
        (N, H/32 W/32, DAMAGES), of the mean of the channels in grey levels: log(1 + mean squared error), and the same
        of means of 4x4 pixels. Last, the log ratio of the energies of fine detail, negative where blurred.
    """
    grey, wanted = (255 * image.mean(dim=1, keepdim=True) for image in (pictures, clean))

    def energy(values: Tensor, size: int) -> Tensor:
        """Energy of means of size x size pixels, the mean over each token."""
        return F.avg_pool2d(F.avg_pool2d(values, size).square(), MULTIPLE // size).flatten(1)

    def detail(values: Tensor) -> Tensor:
        """Energy of what is lost in means of 2x2 pixels."""
        return energy(values - F.interpolate(F.avg_pool2d(values, 2), scale_factor=2), 1)

    error = grey - wanted
    return torch.stack([
        torch.log1p(energy(error, 1)),
        torch.log1p(4 * energy(error, 4)),
        torch.log((1 + detail(grey)) / (1 + detail(wanted))),
    ], dim=-1)  # fmt: skip
