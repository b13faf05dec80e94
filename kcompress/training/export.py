"""Weights that ship: the card and the files' metadata say the same."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.inference import weights as weight_files


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """Texts and figures of the card that only its task knows, and the shape of the network's graph.

    The card has, in this order: ``summary``, network, ``card``, ``recipe``, ``data``, ``details``, minutes, held-out
    pictures, best step, ``metrics``.

    Attributes:
        summary: what the network does.
        card: codec and what else comes first.
        recipe: entries beside the training's recipe.
        data: description of the pictures with their number, as ``12 photographs``.
        details: entries between ``data`` and the minutes.
        metrics: the card's last entries.
        multiple: the network's input sizes are multiples of it.
        inputs: examples of inputs beside the picture.
        channels: of the picture, or of all pictures that it takes at once.
        graph: whether an ONNX graph is written too; what serves in trainings alone needs none.
    """

    summary: str
    card: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any]
    data: str
    metrics: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    multiple: int = 8
    inputs: Sequence[Tensor] = ()
    channels: int = 3
    graph: bool = True


def described(what: str, about: str) -> str:
    """Description of pictures for the card: ``what`` with their number, then what the user says of them."""
    return f"{what}{', ' * bool(about)}{about}"


def encoder(codec: str) -> str:
    """Name and version of the encoder that a codec takes here, for the card."""
    backend = CODECS[codec].backend("auto")
    return f"{backend.name} {backend.version()}"


def gflop(network: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Operations of one 1920x1080 picture, in billions: those of the inputs, the first of them pictures, by area."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(*inputs)
    operations: int = counter.get_total_flops()
    return operations / inputs[0][:, 0].numel() * 1920 * 1080 / 1e9


def publish(
    stem: Path, card: Mapping[str, Any], module: nn.Module, arguments: Mapping[str, Any], spec: ExportSpec
) -> dict[str, Any]:
    """Write weights, graph and card; returns the card with licence and parameters added.

    It needs at least ``network``, ``recipe`` and ``data``; ``arguments`` are those of the module's constructor.
    """
    parameters = sum(parameter.numel() for parameter in module.parameters())
    complete = {**card, "licence": "MIT", "parameters": parameters}
    metadata = {
        "network": str(card["network"]),
        "arguments": json.dumps(arguments),
        "codec": str(card.get("codec", "any")),
        "recipe": json.dumps(card["recipe"]),
        "data": str(card["data"]),
        "licence": "MIT",
    }
    if spec.graph:
        weight_files.write(stem, module, metadata, complete, spec.multiple, spec.inputs, spec.channels)
    else:
        weight_files.write_tensors(stem, module, metadata, complete)
    return complete
