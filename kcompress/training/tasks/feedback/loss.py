"""The loss of gains by the real encoder, with gradients by simultaneous perturbation (SPSA).

No simulation: every patch is encoded with the weights moved at random, each up or down, and with all of them moved the
other way. The difference of the two costs, shared out by the signs, estimates the gradient (simultaneous perturbation
stochastic approximation: Spall, IEEE Transactions on Automatic Control 37, 1992, equation 2.2). A trial costs the same
however many weights there are, and there is nothing to exploit but the metrics.
"""

import copy
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from kcompress.codecs import CODECS
from kcompress.encoding import encode, round_trip
from kcompress.images import Image
from kcompress.networks import Preprocessor
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.feedback import Feedback
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.setting import Setting
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.validation import under_training

NETWORK = "feedback"


@dataclass(frozen=True)
class Patch:
    """One file's worth of pixels, the setting of its encodes, and the cost of its files."""

    image: Image
    setting: Setting
    cost: RateDistortionCost


class Trial(NamedTuple):
    """N patches of a step, and the signs (N, weights), -1 or 1, by which each weight is moved for each patch."""

    patches: list[Patch]
    signs: Tensor


class FeedbackLoss(nn.Module):
    """A trial -> costs of its patches as ln(bytes), (N,), with estimated gradients.

    The cost is the mean over the metrics of the objective, and a part of the worst of them where that one loses: what
    pleases some judges must not be paid by another.

    ``jobs`` encoders run at once; ``cost``, of a patch given the weights, is by default that of the real encoder.
    """

    def __init__(
        self, network: Feedback, recipe: FeedbackRecipe, jobs: int,
        cost: Callable[[Patch, Tensor], tuple[float, float]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.network = network
        self._recipe, self._jobs, self._cost = recipe, jobs, cost or self._encoded

    def forward(self, trial: Trial) -> dict[str, Tensor]:
        """Return ``loss``, and what of it is ``rate`` and ``distortion``, before the limit."""
        weights = parameters_to_vector(self.network.parameters())
        moves = self._recipe.perturbation * trial.signs
        moved = [(patch, weights.detach() + way * move) for patch, move in zip(trial.patches, moves, strict=True)
                 for way in (1, -1)]  # fmt: skip
        with ThreadPoolExecutor(self._jobs) as pool:
            found = list(pool.map(self._cost, *zip(*moved, strict=True)))
        costs, rates = torch.tensor(found, device=weights.device).view(-1, 2, 2).unbind(2)
        limit = self._recipe.limit
        limited = costs.clamp(-limit, limit)
        gradients = ((limited[:, 0] - limited[:, 1]) / (2 * self._recipe.perturbation))[:, None] * trial.signs
        loss = limited.mean(1) + ((weights - weights.detach()) * gradients).sum(1)
        return {"loss": loss, "rate": rates.mean(1), "distortion": (costs - rates).mean(1)}

    def _encoded(self, patch: Patch, weights: Tensor) -> tuple[float, float]:
        """Cost of a patch by the real encoder, and what of it is ln(bytes)."""
        network = copy.deepcopy(self.network)
        vector_to_parameters(weights, network.parameters())
        preprocessor = closed_loop(network, self._recipe)
        data = encode(patch.image, CODECS[self._recipe.codec], patch.setting, preprocessor).data
        found = patch.cost(data)
        rate = math.log(found.size / len(patch.cost.plain.data))
        worst = max(rate - gained for gained in patch.cost.gains(found.scores).values())
        return found.cost + self._recipe.penalty * max(0.0, worst), rate


def trained(recipe: FeedbackRecipe) -> TrainingDomain:
    """Training domain of a network of this recipe."""
    return TrainingDomain.between(
        NETWORK, recipe.codec, (recipe.lowest, recipe.highest), passes=recipe.passes, sharp_chroma=recipe.sharp_chroma,
        strength=recipe.strength,
    )  # fmt: skip


def closed_loop(network: Feedback, recipe: FeedbackRecipe) -> Preprocessor:
    """Preprocessor of a network under training."""
    return under_training(network, trained(recipe), round_trip(CODECS[recipe.codec]))
