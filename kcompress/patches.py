"""Patches of pictures, for labels and for training."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patches:
    """Grid of patches of one size (paper, section 4.2).

    Attributes:
        width: pixels.
        height: pixels.
        stride: distance of neighbouring patches in both directions, pixels.
    """

    width: int = 320
    height: int = 180
    stride: int = 160

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"

    def corners(self, width: int, height: int) -> list[tuple[int, int]]:
        """Upper left corners (left, top) of all patches that lie wholly inside a picture of this size."""
        return [
            (left, top)
            for top in range(0, height - self.height + 1, self.stride)
            for left in range(0, width - self.width + 1, self.stride)
        ]
