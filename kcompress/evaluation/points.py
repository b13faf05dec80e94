"""A point of a rate-quality curve: a row of points.csv."""

from dataclasses import dataclass, field, fields


@dataclass(frozen=True)
class Key:
    """Identity of a point: a changed picture or encoder version is measured again.

    ``picture`` is its path below the data set's folder, ``sha256`` is of its file, ``preprocessor`` a network, a
    filter or ``none``, ``quality`` on the codec's own scale.
    """

    picture: str
    sha256: str
    codec: str
    backend: str
    version: str
    preprocessor: str
    quality: int


@dataclass(frozen=True)
class Point(Key):
    """One picture, encoded once: pixels, bytes of the file, bits per pixel, wall times, and scores by metric.

    A metric that cannot score this picture is missing among the scores. ``texts`` are what a score of all pictures
    together needs of this one, by column.
    """

    width: int
    height: int
    bytes: int
    bpp: float
    preprocess_seconds: float
    encode_seconds: float
    scores: dict[str, float]
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Identity of the point."""
        return Key(*(getattr(self, each.name) for each in fields(Key)))
