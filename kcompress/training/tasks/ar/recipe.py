"""Recipe of artifact removal."""

from dataclasses import dataclass

from kcompress.training.recipe import JpegRecipe


@dataclass(frozen=True)
class ArtifactRecipe(JpegRecipe):
    """Recipe of artifact removal.

    Attributes:
        width: channels at half resolution.
        alike: patches in a batch that share codec and quality, as those of a picture do.
        kinds: codecs and qualities in a batch.
        side: of a patch, pixels, a multiple of 8.
        clean: share of kinds that are not compressed at all, and must be left alone.
        twice: share of kinds that are compressed twice, the second time by any of the codecs.
        shifted: share of patches whose grid of blocks does not begin at their corner.
        hevc_regions: regions of 288x288 pixels compressed by HEVC beforehand.
        floor: mean squared error (grey levels squared) below which it hardly counts any more.
    """

    width: int = 32
    steps: int = 9_000
    alike: int = 4
    kinds: int = 2
    side: int = 128
    learning_rate: float = 1e-3
    warmup: int = 200
    clean: float = 0.03
    twice: float = 0.2
    shifted: float = 0.25
    hevc_regions: int = 1_000
    floor: float = 1.0
    averaging: float = 0.995
    exact_from: float = 0.85
    validate_every: int = 500
    held_out: float = 0.05
    seed: int = 0
    weight_decay = 0.0

    @property
    def batch(self) -> int:  # type: ignore[override]
        """Kinds, which processes share; patches that are alike stay together."""
        return self.kinds
