"""Networks that a picture can go through row by row, as torch modules."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class ByRows(nn.Module, ABC):
    """A network whose beginning and end take each cell of a grid, such as a macroblock, by itself.

    In torch it runs as one piece. In its graph one row of cells after the other goes through the beginning, and then
    through the end: what their many operations hand on to each other stays in the processor's cache, and fetching it
    from memory takes longer than the operations.

    Shapes: image (N, 3, H, W) and condition (N, C) -> (N, 3, H, W).
    """

    @abstractmethod
    def entered(self, image: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """The beginning: (N, D, h, w), a pixel for each cell, and whatever else the end needs of it, likewise."""

    @abstractmethod
    def surroundings(self, entered: Tensor) -> Tensor:
        """What looks at other cells: (N, D, h, w) both."""

    @abstractmethod
    def left(self, image: Tensor, condition: Tensor, around: Tensor, *kept: Tensor) -> Tensor:
        """The end, given what the surroundings say and what the beginning has kept."""

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        entered, *kept = self.entered(image, condition)
        return self.left(image, condition, self.surroundings(entered), *kept)
