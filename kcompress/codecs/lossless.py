"""Files without loss, or nearly so: what drawings and screenshots want, and scores that lossy files cannot have."""

from typing import Protocol

from kcompress.images import Image

LOSSLESS = 100
"""Level at which nothing is lost."""


class Lossless(Protocol):
    """A codec's way to keep all samples, or nearly; its levels are those of cwebp's ``-near_lossless``."""

    def levels(self, image: Image) -> tuple[int, ...]:
        """Levels that a picture can have, coarse to fine; none where no encoder is there."""
        ...

    def encode(self, image: Image, effort: int, level: int) -> bytes:
        """A file, without metadata.

        Raises:
            ProgramError: the encoder failed.
        """
        ...


def kind(level: int) -> str:
    """Name of what a level loses."""
    return "lossless" if level == LOSSLESS else "near-lossless"
