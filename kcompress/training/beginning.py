"""Where a training begins: at other weights, if it is given any."""

from collections.abc import Mapping

from torch import nn

from kcompress.errors import UsageError
from kcompress.inference.weights import Weights


def begin_with(module: nn.Module, start: Weights | None, sizes: Mapping[str, int]) -> None:
    """Give a network the weights to start from; without any it stays as it is.

    Args:
        module: the network.
        start: the weights.
        sizes: that the network was built with, by name; the width is the user's to choose.

    Raises:
        UsageError: they have other sizes.
    """
    if start is None:
        return
    for name, size in sizes.items():
        given = start.arguments.get(name)
        if given != size:
            way_out = (
                f"Give --width {given}, or other weights." if name == "width" else f"Give weights with {name} {size}."
            )
            raise UsageError(f"--start {start.path} has {name} {given}. {way_out}")
    module.load_state_dict(start.tensors())
