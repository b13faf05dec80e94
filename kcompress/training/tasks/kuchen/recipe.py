"""Recipe of the Kuchen U-Net."""

from dataclasses import dataclass, field

from kcompress.training.recipe import BEFORE, Recipe

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class KuchenRecipe(Recipe):
    """Recipe of the Kuchen U-Net; defaults are the paper's (sections 4.2 and 4.3) where it gives a value.

    Attributes:
        width: channels after the network's first level; the paper gives none.
        schedule: ``constant``, or ``cosine``, half a wave of it down to nothing at the last step.
        patch_width, patch_height: pixels.
        stride: pixels between the corners of neighbouring patches, both ways.
        strength: share of the network's change that is made, in validation and as the weights ship. The paper makes all
            of it.
    """

    width: int = 8
    steps: int = 20_000
    batch: int = 4
    learning_rate: float = 1e-4
    schedule: str = SCHEDULES[0]
    patch_width: int = 320
    patch_height: int = 180
    stride: int = 160
    split: float = 0.6
    validation_pictures: int = 12
    validate_every: int = 1_000
    seed: int = 0
    start: str = ""
    strength: float = field(default=0.5, metadata={BEFORE: 1.0})
    weight_decay = 0.0

    def rate(self, step: int) -> float:
        return self.learning_rate if self.schedule == "constant" else super().rate(step)
