"""A point of a rate-quality curve: a row of points.csv."""

from dataclasses import dataclass
from typing import NamedTuple


class Key(NamedTuple):
    """Identity of a point: a changed picture or encoder version is measured again."""

    picture: str
    sha256: str
    codec: str
    backend: str
    version: str
    preprocessor: str
    quality: int


@dataclass(frozen=True)
class Point:
    """One picture, encoded once.

    Attributes:
        picture: path below the data set's folder.
        sha256: of the picture's file.
        codec: name.
        backend: that encoded it.
        version: of the encoder.
        preprocessor: a network, a filter or ``none``.
        quality: on the codec's own scale.
        width: pixels.
        height: pixels.
        bytes: of the compressed file.
        bpp: bits per pixel.
        preprocess_seconds: wall time of the preprocessor.
        encode_seconds: wall time of the encoder.
        scores: by name of the metric; a metric that cannot score this picture is missing.
    """

    picture: str
    sha256: str
    codec: str
    backend: str
    version: str
    preprocessor: str
    quality: int
    width: int
    height: int
    bytes: int
    bpp: float
    preprocess_seconds: float
    encode_seconds: float
    scores: dict[str, float]

    @property
    def key(self) -> Key:
        """Identity of the point."""
        return Key(*(getattr(self, name) for name in Key._fields))
