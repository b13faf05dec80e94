"""Window-scan networks, which look at a picture window by window, and then at all of it, as torch modules."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class WindowScanNetwork(nn.Module, ABC):
    """A network that turns each window of a picture into tokens by itself, and the tokens of all into one output.

        windows (W, 3, h, w) -> tokens (1, W T, D) -> (1, ...)

    In torch it runs as one piece. In the ONNX graph one window after the other becomes tokens: however many there are,
    the intermediate values of one are in memory.

    Shapes: windows of one picture, (W, 3, h, w) -> (1, ...).
    """

    @abstractmethod
    def run_window(self, windows: Tensor) -> Tensor:
        """Tokens of each window, (N, 3, h, w) -> (N, T, D)."""

    @abstractmethod
    def run_picture(self, tokens: Tensor) -> Tensor:
        """Output of pictures with these tokens, (N, any number, D) -> (N, ...)."""

    def forward(self, windows: Tensor) -> Tensor:
        return self.run_picture(self.run_window(windows).flatten(0, 1)[None])
