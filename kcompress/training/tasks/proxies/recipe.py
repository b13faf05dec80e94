"""Recipes of the proxies of a codec: of a simulator, and of a learned codec."""

from dataclasses import dataclass

from kcompress.training.recipe import Recipe

RANGES = {"jpeg": (20, 97), "webp": (20, 97), "hevc": (14, 46), "bpg": (28, 51), "avif": (15, 95)}
"""Qualities that pictures are encoded at in practice, on the scale of each codec; a simulator learns these."""


class ProxyRecipe(Recipe):
    """Fields that decide the coded patches.

    Attributes:
        codec: name of the encoder that is learned.
        lowest, highest: qualities on the codec's scale, as numbers; ``RANGES`` has the usual ones.
        versions: number of versions of a patch at one quality: itself first, the others preprocessed.
        patches: number of patches that are cut and encoded before the first step.
        side: of a patch, pixels.
    """

    codec: str
    lowest: int
    highest: int
    versions: int
    patches: int
    side: int


@dataclass(frozen=True)
class SimulatorRecipe(ProxyRecipe):
    """Recipe of the two networks of a simulator, which are trained at once.

    Attributes:
        width: channels of the network of distortions; that of bits has three quarters of them.
        depth: its blocks; that of bits has two fewer, at least one.
        difference: weight of the error of ln(bpp) *between* versions, beside that of ln(bpp) itself.
    """

    codec: str
    lowest: int
    highest: int
    width: int = 48
    depth: int = 4
    steps: int = 1_200
    batch: int = 4
    versions: int = 3
    patches: int = 1_800
    side: int = 192
    difference: float = 2.0
    learning_rate: float = 2e-3
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.8
    validate_every: int = 250
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
    start: str = ""


@dataclass(frozen=True)
class MinnenRecipe(ProxyRecipe):
    """Recipe of a learned codec that mimics a real one.

    Attributes:
        width: channels of the transforms at a quarter of the sides, and of the hyper-latents.
        latent: channels of the latents.
        slope: weight of the distortion, MSE in squared grey levels, beside bits per pixel, times the square of HEVC's
            quantiser step; see `training.tasks.proxies.minnen.distortion_weight`.
        mimic_from: share of the steps after which the distortion is taken to what the real decoder shows (equation 2
            of NPP), instead of to the picture.
        rate_match: weight of |ln bpp - ln bpp of the real codec| from then on; 1 and more bind the rate to the codec's
            own, as the rest never weighs ln bpp by more than 1.
    """

    codec: str
    lowest: int
    highest: int
    width: int = 48
    latent: int = 192
    slope: float = 10.0
    mimic_from: float = 0.25
    rate_match: float = 1.0
    steps: int = 3_000
    batch: int = 4
    versions: int = 3
    patches: int = 1_800
    side: int = 192
    learning_rate: float = 2e-3
    warmup: int = 100
    averaging: float = 0.995
    exact_from: float = 0.0
    validate_every: int = 250
    validation_pictures: int = 12
    split: float = 0.95
    seed: int = 0
