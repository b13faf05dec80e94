"""Weights that ship: the card and the files' metadata say the same."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.inference import weights as weight_files


def described(what: str, data: str) -> str:
    """What was trained or measured on, for the card: ``what`` with its number, and what the user says of it."""
    return f"{what}{', ' * bool(data)}{data}"


def encoder(codec: str) -> str:
    """Which encoder a codec takes here, with its version, for the card."""
    backend = CODECS[codec].backend("auto")
    return f"{backend.name} {backend.version()}"


def publish(
    output: Path, module: nn.Module, arguments: Mapping[str, Any], card: Mapping[str, Any], multiple: int = 8,
    more: Sequence[Tensor] = (), *, graph: bool = True, channels: int = 3,
) -> dict[str, Any]:  # fmt: skip
    """Write weights, graph and card; returns the whole card.

    Args:
        output: stem of the files.
        module: the network.
        arguments: that it was built with.
        card: with at least ``network``, ``recipe`` and ``data``; licence and parameters are added.
        multiple: the network's input sizes are multiples of it.
        more: examples of what it takes beside the picture.
        channels: of what the network takes.
        graph: whether an ONNX graph is written too; what serves in trainings alone needs none.
    """
    complete = {**card, "licence": "MIT", "parameters": sum(parameter.numel() for parameter in module.parameters())}
    metadata = {
        "network": str(card["network"]),
        "arguments": json.dumps(arguments),
        "codec": str(card.get("codec", "any")),
        "recipe": json.dumps(card["recipe"]),
        "data": str(card["data"]),
        "licence": "MIT",
    }
    if graph:
        weight_files.write(output, module, metadata, complete, multiple, more, channels)
    else:
        weight_files.write_tensors(output, module, metadata, complete)
    return complete
