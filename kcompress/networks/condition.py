"""What conditioned networks are told of the codec: the RDO network much, the NPP network its coarseness alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.blockdct import thresholds
from kcompress.errors import UsageError
from kcompress.setting import Setting

LENGTH = 2 * 64 + 2 * 64 + 2
"""Steps of luma and chroma, thresholds of luma and chroma (row order, grey levels), coarseness 0..1, and 1 where the
encoder searches for levels, else 0."""

HEIGHT = 11.0
"""Of the thresholds to start from at coarseness 1, grey levels: more than ``networks.shrink`` takes, as only
what falls is touched."""

_CHROMA = 0.3
"""Thresholds of chroma to those of luma: a block of subsampled chroma spans 16 pixels, its frequencies are lower."""

_SEARCHED = 1.35
"""Times as high where the encoder searches for levels, as the network has learned from one that rounds: before mozjpeg
SSIMULACRA2, Butteraugli and MS-SSIM gain by it on held-out photographs; from 1.6 on the others pay more."""

_NEVER = -1e4
"""A threshold below every coefficient: nothing is changed."""


@dataclass(frozen=True)
class Trained:
    """What a network was trained for.

    Attributes:
        name: of its weights.
        codec: name.
        qualities: the lowest and the highest, on the codec's scale.
        coarseness: the finest and the coarsest of them.
        passes: of a closed loop.
    """

    name: str
    codec: str
    qualities: tuple[int, int]
    coarseness: tuple[float, float] = (0.0, 1.0)
    passes: int = 1

    def beyond(self, setting: Setting) -> str | None:
        """For a network that serves one codec: what to say of a quality that it does not know."""
        low, high = self.qualities
        if low <= setting.quality <= high:
            return None
        return f"{self.name} was trained for qualities {low}..{high}; {setting.quality} is beyond them"

    def unlike(self, setting: Setting) -> str | None:
        """For one that learned at 4:2:0: what to say of a quality, or of chroma, that it does not know."""
        if setting.chroma != "420":
            return f"{self.name} was trained for 4:2:0; {setting.chroma} is unlike it"
        return self.beyond(setting)

    def elsewhere(self, setting: Setting) -> str | None:
        """For a network that serves any codec: what to say of another codec or coarseness."""
        finest, coarsest = self.coarseness
        known = f"{self.name} was trained for {self.codec} {self.qualities[0]}..{self.qualities[1]}"
        if not finest - 1e-6 <= setting.coarseness <= coarsest + 1e-6:
            side = "finer" if setting.coarseness < finest else "coarser"
            return f"{known}; {setting.codec} {setting.quality} is {side}"
        return f"{known}, not for {setting.codec}" if setting.codec != self.codec else None


def coarseness(setting: Setting, trained: Trained) -> NDArray[np.float32]:
    """(1, 1) 0..1: how coarse the codec is; beyond what the network knows, the nearest that it does."""
    return np.array([[np.clip(setting.coarseness, *trained.coarseness)]], np.float32)


def condition(setting: Setting, trained: tuple[int, int] = (0, 100)) -> NDArray[np.float32]:
    """(1, LENGTH) of a setting that has quantisation tables.

    The network works on chroma of half the resolution; where the codec keeps all of it, chroma is left alone.

    Args:
        setting: of the encode.
        trained: lowest and highest quality that the network knows; beyond them it is told of the nearest coarseness.
            Steps and thresholds are those of the setting at any quality.

    Raises:
        UsageError: the setting has none; only JPEG's do.
    """
    if setting.tables is None:
        raise UsageError(f"--network rdo knows the tables of JPEG alone. Take --codec jpeg, not {setting.codec}.")
    height = HEIGHT * (_SEARCHED if setting.searched else 1)
    luma = thresholds(height * setting.coarseness).ravel()
    chroma = _CHROMA * luma if setting.chroma == "420" else np.full_like(luma, _NEVER)
    coarseness = 1 - min(max(setting.quality, trained[0]), trained[1]) / 100
    rest = [coarseness, setting.searched]
    return np.concatenate([*map(np.array, setting.tables), luma, chroma, rest]).astype(np.float32)[None]
