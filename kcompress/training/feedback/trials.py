"""What gains cost, by the real encoder, and which way to change them.

No simulation: every patch is encoded with the weights moved at random, each up or down, and with all of them moved the
other way. The difference of the two costs, shared out by the signs, estimates the gradient (simultaneous perturbation
stochastic approximation: Spall, IEEE Transactions on Automatic Control 37, 1992, equation 2.2). A trial costs the same
however many weights there are, and there is nothing to exploit but the metrics.
"""

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from kcompress.codecs import CODECS
from kcompress.encoding import encode, round_trip
from kcompress.images import Image
from kcompress.inference.engine import TorchEngine
from kcompress.networks import Preprocessor
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.feedback import Feedback
from kcompress.networks.loading import wrapped
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.setting import Setting
from kcompress.training.feedback.recipe import FeedbackRecipe

NETWORK = "feedback"


@dataclass(frozen=True)
class Patch:
    """One file's worth of pixels.

    Attributes:
        image: itself.
        setting: of its encodes.
        judge: that puts a cost on its files.
    """

    image: Image
    setting: Setting
    judge: RateDistortionCost


@dataclass(frozen=True)
class Trial:
    """A batch.

    Attributes:
        patches: N of them.
        signs: (N, weights), -1 or 1: which way each weight is moved for each patch.
    """

    patches: Sequence[Patch]
    signs: Tensor


class Costs(nn.Module):
    """A trial -> costs of its patches as ln(bytes), (N,), with estimated gradients."""

    def __init__(self, network: Feedback, recipe: FeedbackRecipe, jobs: int) -> None:
        super().__init__()
        self.network = network
        self._recipe, self._jobs = recipe, jobs

    def forward(self, trial: Trial) -> Tensor:
        weights = parameters_to_vector(self.network.parameters())
        moves = self._recipe.perturbation * trial.signs
        moved = [(patch, weights.detach() + way * move) for patch, move in zip(trial.patches, moves, strict=True)
                 for way in (1, -1)]  # fmt: skip
        with ThreadPoolExecutor(self._jobs) as pool:
            costs = torch.tensor(list(pool.map(self._cost, *zip(*moved, strict=True)))).view(-1, 2)
        gradients = ((costs[:, 0] - costs[:, 1]) / (2 * self._recipe.perturbation))[:, None] * trial.signs
        return costs.mean(1) + ((weights - weights.detach()) * gradients).sum(1)

    def _cost(self, patch: Patch, weights: Tensor) -> float:
        network = copy.deepcopy(self.network)
        vector_to_parameters(weights, network.parameters())
        preprocessor = closed_loop(network, self._recipe)
        data = encode(patch.image, CODECS[self._recipe.codec], patch.setting, preprocessor).data
        limit = self._recipe.limit
        return min(max(patch.judge(data).cost, -limit), limit)


def trained(recipe: FeedbackRecipe) -> TrainingDomain:
    """What a network of this recipe knows."""
    scale = CODECS[recipe.codec].quality
    low, high = sorted((scale.coarseness(recipe.lowest), scale.coarseness(recipe.highest)))
    return TrainingDomain(NETWORK, recipe.codec, (recipe.lowest, recipe.highest), (low, high), recipe.passes)


def closed_loop(network: Feedback, recipe: FeedbackRecipe) -> Preprocessor:
    """A network under training as what encodes take."""
    loop = round_trip(CODECS[recipe.codec])
    return wrapped(NETWORK, TorchEngine(network, "cpu"), trained(recipe), round_trip=loop)
