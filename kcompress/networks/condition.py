"""Conditions: the codec's setting as input of networks. RDO gets tables and thresholds, others the coarseness."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import thresholds
from kcompress.codecs import CODECS
from kcompress.errors import UsageError, WeightsError
from kcompress.inference.weights import Weights
from kcompress.networks import NETWORKS
from kcompress.setting import Setting

LENGTH = 2 * 64 + 2 * 64 + 2
"""Length of the RDO network's condition.

64 quantiser steps each of luma and chroma, 64 initial thresholds each (row order, grey levels), coarseness 0..1, and 1
where the encoder does trellis quantisation, else 0."""

INITIAL_THRESHOLD = 11.0
"""Height of the initial thresholds at coarseness 1, grey levels.

Higher than in `networks.shrink`, because only coefficients that change level are touched."""

_CHROMA = 0.3
"""Ratio of chroma's thresholds to luma's: a block of subsampled chroma spans 16 pixels, its frequencies are lower."""

_TRELLIS = 1.35
"""Factor of the thresholds before trellis quantisation: the network has learned from an encoder that rounds.

Before mozjpeg SSIMULACRA2, Butteraugli and MS-SSIM gain by it on held-out photographs; from 1.6 on other metrics lose
more."""

_NEVER = -1e4
"""Threshold below every coefficient: nothing is changed."""


MAX_PASSES = 32
"""Largest number of passes of a closed loop; each is an encode."""


@dataclass(frozen=True)
class TrainingDomain:
    """Settings that a network was trained for, and what running it depends on beside its weights.

    Attributes:
        name: of its weights.
        codec: name, or ``any``.
        qualities: lowest and highest, on the codec's scale.
        coarseness: finest and coarsest, 0..1.
        passes: number of passes of a closed loop.
        sharp_chroma: whether a closed loop begins with sharp chroma, where that is halved.
        strength: share of the whole change that serves best, above 0, up to 1; made where none is asked for.
        depth: blocks of ``Rdo``, whose default it is.

    Raises:
        ValueError: a range that is none, or passes without end.
    """

    name: str
    codec: str = "any"
    qualities: tuple[int, int] = (0, 100)
    coarseness: tuple[float, float] = (0.0, 1.0)
    passes: int = 1
    sharp_chroma: bool = False
    strength: float = 1.0
    depth: int = 4

    def to_recipe(self) -> dict[str, Any]:
        """Entries of the recipe in the metadata of weights, from which `from_weights` reads the domain.

        ``passes``, ``sharp_chroma`` and ``strength`` are fields of some recipes, ``depth`` is an argument of the
        module.
        """
        return {"lowest": self.qualities[0], "highest": self.qualities[1], "coarseness": self.coarseness}

    @classmethod
    def between(cls, name: str, codec: str, ends: tuple[int, int], **rest: Any) -> "TrainingDomain":
        """Domain of weights for a codec from its lowest to its highest quality, as numbers on its scale."""
        finest, coarsest = sorted(CODECS[codec].quality.coarseness(each) for each in ends)
        return cls(name, codec, ends, (finest, coarsest), **rest)

    @classmethod
    def from_weights(cls, weights: Weights) -> "TrainingDomain":
        """Domain of the weights in a file; weights that do not know it serve all qualities of any codec.

        Raises:
            WeightsError: their recipe makes no sense.
        """
        recipe, codec = weights.recipe, weights.metadata.get("codec", "any")
        try:
            finest, coarsest = recipe.get("coarseness", (0, 1))
            qualities, passes = (recipe.get("lowest", 0), recipe.get("highest", 100)), recipe.get("passes", 1)
            depth = weights.arguments.get("depth", cls.depth)
            sharp = bool(recipe.get("sharp_chroma", False))
            strength = float(recipe.get("strength", NETWORKS[weights.metadata["network"]].strength))
            return cls(weights.name, codec, qualities, (finest, coarsest), passes, sharp, strength, depth)
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{weights.path}: its recipe makes no sense ({error}). Give other weights.") from error

    def __post_init__(self) -> None:
        (low, high), (finest, coarsest) = self.qualities, self.coarseness
        if not (0 <= low <= high <= 100 and 0 <= finest <= coarsest <= 1 and self.passes in range(1, MAX_PASSES + 1)
                and 0 < self.strength <= 1):  # fmt: skip
            raise ValueError(
                f"qualities {low}..{high}, coarseness {finest}..{coarsest}, passes {self.passes} (1..{MAX_PASSES}), "
                f"strength {self.strength}"
            )

    def range_warning(self, setting: Setting) -> str | None:
        """Warning about a quality out of range, for a network that serves one codec."""
        low, high = self.qualities
        if low <= setting.quality <= high:
            return None
        return f"{self.name} was trained for qualities {low}..{high}; {setting.quality} is beyond them"

    def chroma_warning(self, setting: Setting) -> str | None:
        """Warning about other chroma than 4:2:0, or a quality out of range."""
        if setting.chroma != "420":
            return f"{self.name} was trained for 4:2:0; {setting.chroma} is unlike it"
        return self.range_warning(setting)

    def codec_warning(self, setting: Setting) -> str | None:
        """Warning about another codec, or a coarseness out of range, for a network that serves any codec."""
        finest, coarsest = self.coarseness
        known = f"{self.name} was trained for {self.codec} {self.qualities[0]}..{self.qualities[1]}"
        if not finest - 1e-6 <= setting.coarseness <= coarsest + 1e-6:
            side = "finer" if setting.coarseness < finest else "coarser"
            return f"{known}; {setting.codec} {setting.quality} is {side}"
        return f"{known}, not for {setting.codec}" if setting.codec != self.codec else None


def coarseness(setting: Setting, trained: TrainingDomain) -> NDArray[np.float32]:
    """Coarseness of the codec, (1, 1), 0..1, clamped to the range that the network knows."""
    return np.array([[np.clip(setting.coarseness, *trained.coarseness)]], np.float32)


def condition(setting: Setting, trained: tuple[int, int] = (0, 100)) -> NDArray[np.float32]:
    """Condition (1, LENGTH) of the RDO network for a setting that has quantisation tables.

    The network works on chroma of half the resolution; where the codec keeps all of it, chroma is left alone.
    Coarseness alone is clamped to the lowest and highest quality that the network was trained for.

    Raises:
        UsageError: the setting has no tables; only JPEG's do.
    """
    if setting.tables is None:
        raise UsageError(f"--network rdo knows the tables of JPEG alone. Take --codec jpeg, not {setting.codec}.")
    height = INITIAL_THRESHOLD * (_TRELLIS if setting.trellis else 1)
    luma = thresholds(height * setting.coarseness).ravel()
    chroma = _CHROMA * luma if setting.chroma == "420" else np.full_like(luma, _NEVER)
    coarseness = 1 - min(max(setting.quality, trained[0]), trained[1]) / 100
    rest = [coarseness, setting.trellis]
    return np.concatenate([*map(np.array, setting.tables), luma, chroma, rest]).astype(np.float32)[None]
