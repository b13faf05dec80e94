"""Where a training begins: at other weights, if it is given any."""

from torch import nn

from kcompress.errors import UsageError
from kcompress.inference.weights import Weights


def begin_with(module: nn.Module, start: Weights | None, width: int) -> None:
    """Give a network of this width the weights to start from; without any it stays as it is.

    Raises:
        UsageError: they have another width.
    """
    if start is None:
        return
    given = start.arguments.get("width")
    if given != width:
        raise UsageError(f"--start {start.path} has width {given}. Give --width {given}, or other weights.")
    module.load_state_dict(start.tensors())
