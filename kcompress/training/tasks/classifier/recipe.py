"""Recipe of a classifier."""

from dataclasses import dataclass

from kcompress.training.recipe import Recipe


@dataclass(frozen=True)
class ClassifierRecipe(Recipe):
    """Recipe of a classifier.

    Attributes:
        architecture: key of ``machine.classifiers.ARCHITECTURES``.
        width: channels of its first stage.
        side: of the square that it sees, pixels.
        smallest: share of a picture's area that a crop keeps at least.
        smoothing: of the labels: share of the truth that is spread over all classes.
    """

    architecture: str = "residual"
    width: int = 24
    side: int = 160
    steps: int = 3_000
    batch: int = 32
    smallest: float = 0.3
    smoothing: float = 0.1
    learning_rate: float = 3e-3
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.8
    validate_every: int = 500
    validation_pictures: int = 400
    split: float = 0.95
    seed: int = 0
