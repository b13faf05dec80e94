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
    """What ships, and what only its task says of it.

    The card has, in this order: ``card``, ``recipe``, ``data``, ``details``, minutes, held-out pictures, best step,
    ``metrics``.

    Attributes:
        module: as it is built, to be given the best weights.
        arguments: of the module's constructor.
        card: summary, network, codec and what else comes first.
        recipe: what the card says beside the training's recipe.
        data: what was trained on, with its number, as ``12 photographs``.
        metrics: the card's last entries.
        details: what stands between ``data`` and the minutes.
        multiple: the network's input sizes are multiples of it.
        inputs: examples of what it takes beside the picture.
        channels: of the picture, or of all pictures that it takes at once.
        graph: whether an ONNX graph is written too; what serves in trainings alone needs none.
    """

    module: nn.Module
    arguments: Mapping[str, Any]
    card: Mapping[str, Any]
    recipe: Mapping[str, Any]
    data: str
    metrics: Mapping[str, Any]
    details: Mapping[str, Any] = field(default_factory=dict)
    multiple: int = 8
    inputs: Sequence[Tensor] = ()
    channels: int = 3
    graph: bool = True


def described(what: str, about: str) -> str:
    """What was trained or measured on, for the card: ``what`` with its number, and what the user says of it."""
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


def publish(stem: Path, spec: ExportSpec, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write weights, graph and card; returns the whole card.

    Args:
        stem: of the files.
        spec: of what ships; its module has the weights.
        card: with at least ``network``, ``recipe`` and ``data``; licence and parameters are added.
    """
    parameters = sum(parameter.numel() for parameter in spec.module.parameters())
    complete = {**card, "licence": "MIT", "parameters": parameters}
    metadata = {
        "network": str(card["network"]),
        "arguments": json.dumps(spec.arguments),
        "codec": str(card.get("codec", "any")),
        "recipe": json.dumps(card["recipe"]),
        "data": str(card["data"]),
        "licence": "MIT",
    }
    if spec.graph:
        weight_files.write(stem, spec.module, metadata, complete, spec.multiple, spec.inputs, spec.channels)
    else:
        weight_files.write_tensors(stem, spec.module, metadata, complete)
    return complete
