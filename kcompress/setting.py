"""Setting: parameters of one encode, all that a network knows of the codec."""

from dataclasses import dataclass
from typing import Literal

Chroma = Literal["420", "444"]
Table = tuple[int, ...]


@dataclass(frozen=True)
class Setting:
    """Checked parameters of one encode.

    Attributes:
        codec: name of the codec.
        quality: on the codec's own scale.
        coarseness: position on that scale, 0 finest .. 1 coarsest; networks are conditioned on it.
        chroma: sampling of the colour planes.
        effort: on the codec's own scale; more is slower and gives smaller files.
        sharp_yuv: chroma is computed for how decoders enlarge it, instead of as a mean.
        planes: the encoder takes planes that are made here, of levels that are not rounded.
        raw: HEVC only: a bare stream instead of a HEIF file.
        tables: JPEG only: quantiser steps of luma and chroma, 64 each in row order.
        tables_name: JPEG only: ``standard``, ``learned``, the name of a file, or ``own`` for the encoder's.
        trellis: JPEG only: the encoder does trellis quantisation instead of rounding to the nearest level.
        bits: of a sample in the file; what is decoded has 8.
        parameters: of the encoder, (name, value): all that the codec lets users change.
    """

    codec: str
    quality: int
    coarseness: float
    chroma: Chroma
    effort: int
    sharp_yuv: bool = False
    raw: bool = False
    tables: tuple[Table, Table] | None = None
    tables_name: str | None = None
    trellis: bool = False
    bits: int = 8
    parameters: tuple[tuple[str, str], ...] = ()
    planes: bool = False
