"""Recipe of VQscore."""

import math
from dataclasses import dataclass, field

from kcompress.training.recipe import BEFORE, JpegRecipe


@dataclass(frozen=True)
class QualityRecipe(JpegRecipe):
    """Recipe of VQscore.

    Attributes:
        judges: metrics with reference whose mean, on the scale of the first, is the target.
        regions: cut from each photograph.
        region: side of a region, pixels; SSIMULACRA2 has its six scales from 256 on.
        contents: different regions in a batch.
        versions: of each region in a batch, the untouched one among them: the ranking pairs come from them.
        side: of the crops that the network sees, pixels, a multiple of 32; small ones first, for speed.
        aligned: share of batches whose crops begin where the codecs' blocks do, as the score's windows do; the others
            serve pictures whose blocks are not found.
        large_side: of the crops at the end, of fewer regions.
        large_contents: different regions in a batch of large crops.
        large_from: share of the steps after which crops are large.
        untouched: weight of the error of the untouched version, of which a batch has more than there are kinds; else
            whatever might be untouched would be taken for it.
        overrated: weight of the error of a softened version that is overrated, which pleases a score most easily.
        ranking: weight of the ranking loss beside the error.
        local: weight of the error of what was done at each token.
        margin: of the ranking loss: the difference of the targets, at most this many points.
        shift: weight of the squared change of a version's score by a shift of a few pixels, in tens of points.
        content: width between the trunk of a classifier, which the shipped weights hold, and the tokens; 0 for none.
        residuals: width between the shares of residuals and the logit; 0 for none.
        differences: weight of the error of differences between the versions of a region of PAIRED, in threes of points.
        still_convolutions: whether only what follows convolutions and shares of residuals learns.
        trained_trunk: whether the trunk learns along, from that of the shipped weights, or of those to start from.
        still_norm: whether batch norm keeps the means that it began with, as where trained weights learn a little more.
    """

    judges: tuple[str, ...] = ("ssimulacra2", "butteraugli", "iw-ssim", "ms-ssim")
    regions: int = 2
    region: int = field(default=256, metadata={BEFORE: 256})
    steps: int = 5_200
    contents: int = 6
    versions: int = 5
    side: int = 160
    aligned: float = 0.9
    large_side: int = 224
    large_contents: int = 3
    large_from: float = 0.5
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: int = 100
    untouched: float = 0.25
    overrated: float = field(default=2.0, metadata={BEFORE: 1.0})
    ranking: float = 0.5
    local: float = 0.5
    margin: float = 10.0
    shift: float = 0.5
    content: int = field(default=96, metadata={BEFORE: 0})
    residuals: int = field(default=384, metadata={BEFORE: 0})
    differences: float = field(default=0.6, metadata={BEFORE: 0.0})
    still_convolutions: bool = field(default=False, metadata={BEFORE: False})
    trained_trunk: bool = field(default=False, metadata={BEFORE: False})
    still_norm: bool = False
    averaging: float = 0.995
    exact_from: float = 0.9
    validate_every: int = 250
    held_out: float = 0.06
    seed: int = 0

    @property
    def batch(self) -> int:  # type: ignore[override]
        """Regions that processes share, in batches of large crops too; versions of a region stay together."""
        return math.gcd(self.contents, self.large_contents)
