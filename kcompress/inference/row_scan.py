"""Row-scan networks, which a picture can go through row by row, as torch modules."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class RowScanNetwork(nn.Module, ABC):
    """A network whose head and tail take each cell of a grid, such as an MCU, by itself; its context sees neighbours.

        image (N, 3, H, W) -> head -> features (N, D, h, w) -> context -> (N, D, h, w) -> tail -> (N, 3, H, W)
                                 -> kept (N, ..., h, w) ----------------------------------^

    In torch it runs as one piece. In the ONNX graph the head goes through the picture one row of cells at a time, and
    after the context so does the tail: the intermediate values of a row stay in the processor's cache.

    Shapes: image (N, 3, H, W) and condition (N, C) -> (N, 3, H, W).
    """

    @abstractmethod
    def run_head(self, image: Tensor, condition: Tensor) -> tuple[Tensor, ...]:
        """Head: features (N, D, h, w), one position a cell, and tensors of the same grid kept for the tail."""

    @abstractmethod
    def run_context(self, features: Tensor) -> Tensor:
        """Context: the part that sees other cells, (N, D, h, w) -> (N, D, h, w)."""

    @abstractmethod
    def run_tail(self, image: Tensor, condition: Tensor, around: Tensor, *kept: Tensor) -> Tensor:
        """Tail: maps context features and the tensors kept by the head to the output picture."""

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        features, *kept = self.run_head(image, condition)
        return self.run_tail(image, condition, self.run_context(features), *kept)
