"""Setting: what one encode is asked for. The only thing that travels from a codec to a network."""

from dataclasses import dataclass
from typing import Literal

Chroma = Literal["420", "444"]
Table = tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """One encode's parameters, already checked.

    Attributes:
        codec: name of the codec.
        quality: on the codec's own scale.
        coarseness: 0 finest .. 1 coarsest of that scale; what networks are conditioned on.
        chroma: sampling of the colour planes.
        effort: on the codec's own scale; more is slower and smaller.
        raw: the bare HEVC stream instead of a file around it.
        tables: JPEG only: luma and chroma quantisation tables, 64 steps each in row order.
        searched: JPEG only: the encoder searches for levels, instead of rounding to the nearest.
    """

    codec: str
    quality: int
    coarseness: float
    chroma: Chroma
    effort: int
    raw: bool = False
    tables: tuple[Table, Table] | None = None
    searched: bool = False
