"""Text task: the characters that a reader finds in the decoded picture."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kcompress.errors import UsageError, WeightsError
from kcompress.machine.model import Layout, Model


class Text:
    """A `kcompress.machine.tasks.Task` with character accuracy as score and without a loss.

    The truth is the text of a label, or without labels what the model reads in the uncompressed picture.
    """

    name = "text"
    trainable = False

    def __init__(self, model: Model) -> None:
        self.model = model

    @classmethod
    def from_output(cls, model: Model) -> "Text":
        """Task for a reader.

        Raises:
            WeightsError: the model reads no text.
        """
        if model.layout is not Layout.TEXT:
            raise WeightsError(f"the model {model.spec} reads no text. Take --model rapidocr, or another task.")
        return cls(model)

    def resized(self, pictures: Tensor) -> Tensor:
        """Pictures as they are: readers scale them."""
        return pictures

    def pseudo_labels(self, pictures: Tensor) -> Tensor:
        """Code points (N, L); zeros fill up."""
        with torch.no_grad():
            return self.model(pictures)

    def class_targets(self, classes: Sequence[int]) -> Tensor:
        """Raise UsageError: there are no classes."""
        raise UsageError("the task text has no --labels. Leave them out.")

    def loss(self, pictures: Tensor, targets: Tensor) -> Tensor:
        """Raise UsageError: there is no loss."""
        raise UsageError("the task text has no loss. Train for another task.")

    def judged(
        self, pictures: Tensor, targets: Tensor, labels: Sequence[str] | None = None
    ) -> tuple[list[float | None], None]:
        """Character accuracy of each picture, 0..1; None where there is nothing to read."""
        truths = [decoded(row) for row in targets] if labels is None else labels
        read = [decoded(row) for row in self.pseudo_labels(pictures)]
        return [character_accuracy(ours, truth) for ours, truth in zip(read, truths, strict=True)], None

    def score(self, outcomes: Sequence[float | None]) -> float | None:
        """Mean of the pictures that have text."""
        found = [each for each in outcomes if each is not None]
        return sum(found) / len(found) if found else None


def character_accuracy(read: str, truth: str) -> float | None:
    """1 - edit distance / length of the truth, at least 0; white space counts as one space. None without a truth."""
    from rapidfuzz.distance import Levenshtein

    ours, theirs = (" ".join(text.split()) for text in (read, truth))
    return max(0.0, 1 - Levenshtein.distance(ours, theirs) / len(theirs)) if theirs else None


def encoded(text: str) -> Tensor:
    """Text as code points (L,), which float32 holds exactly."""
    return torch.tensor([ord(letter) for letter in text], dtype=torch.float32)


def decoded(points: Tensor) -> str:
    """Text of code points (L,); zeros are left out."""
    return "".join(chr(int(point)) for point in points.tolist() if point)
