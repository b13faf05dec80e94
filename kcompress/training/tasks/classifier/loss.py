"""Cross entropy of a classifier on a batch."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from kcompress.machine.classifiers import Classifier


class Batch(NamedTuple):
    """What a step sees.

    Attributes:
        pictures: (N, 3, side, side), RGB 0..1.
        classes: (N,), from 0.
    """

    pictures: Tensor
    classes: Tensor


class ClassifierLoss(nn.Module):
    """A batch -> the cross entropy of each picture, (N,).

    Args:
        network: in training.
        smoothing: share of the truth that is spread over all classes.
    """

    def __init__(self, network: Classifier, smoothing: float) -> None:
        super().__init__()
        self.network = network
        self._smoothing = smoothing

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.network(batch.pictures).float()
        loss = F.cross_entropy(logits, batch.classes, reduction="none", label_smoothing=self._smoothing)
        return {"loss": loss}
