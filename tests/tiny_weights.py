"""Random weights for the networks that filter and judge: they need no training to be run."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from kcompress.inference import weights as weight_files
from kcompress.machine.classifiers import Classifier
from kcompress.metrics.vqscore_network import MULTIPLE, VQscoreNetwork
from kcompress.networks.blend import Blend
from kcompress.networks.kuchen import Kuchen
from kcompress.networks.npp import Npp
from kcompress.pool.artifacts_network import ArtifactRemoval


def artifact_removal(width: int = 4) -> ArtifactRemoval:
    """It changes every pixel a little, by its whole neighbourhood."""
    torch.manual_seed(0)
    module = ArtifactRemoval(width)
    nn.init.normal_(module.leave.weight, std=0.1)
    return module.eval()


def vqscore_network() -> VQscoreNetwork:
    """Its scores lie in the middle and differ between pictures."""
    torch.manual_seed(0)
    module = VQscoreNetwork(tokens=16, heads=2, layers=1)
    nn.init.normal_(module.head[1].weight, std=1)
    return module.eval()


def blend_network() -> Blend:
    """It mixes filters differently from place to place, and by what the whole picture is like."""
    torch.manual_seed(3)
    module = Blend(8)
    for layer in (*module.whole[::2], module.leave):
        nn.init.normal_(layer.weight, std=1)
    return module.eval()


def write_kuchen(path: Path, width: int) -> Path:
    """A random U-Net without its graph and card."""
    torch.manual_seed(5)
    metadata = {"format": weight_files.FORMAT, "network": "kuchen", "arguments": json.dumps({"width": width})}
    save_file(Kuchen(width).state_dict(), path, metadata)
    return path


def write_all(folder: Path) -> None:
    """Both, as they would ship."""
    described = {"ar": {"width": 4}, "vqscore": {"tokens": 16, "heads": 2, "layers": 1}}
    modules = {"ar": (artifact_removal(), 8), "vqscore": (vqscore_network(), MULTIPLE)}
    for name, (module, multiple) in modules.items():
        metadata = {"network": name, "arguments": json.dumps(described[name]), "codec": "any"}
        weight_files.write(folder / name, module, metadata, {"summary": f"random {name}"}, multiple)


def write_npp(path: Path, width: int) -> Path:
    """A random preprocessor for machines, for BPG 28..41, without its graph and card."""
    torch.manual_seed(6)
    module = Npp(width)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    recipe = {"lowest": 28, "highest": 41, "coarseness": [28 / 51, 41 / 51]}
    metadata = {"format": weight_files.FORMAT, "network": "npp", "arguments": json.dumps({"width": width}),
                "codec": "bpg", "recipe": json.dumps(recipe)}  # fmt: skip
    save_file(module.state_dict(), path, metadata)
    return path


def write_classifier(path: Path, classes: int = 2, side: int = 32) -> Path:
    """A random classifier, without its card."""
    torch.manual_seed(7)
    module = Classifier("residual", 4, classes)
    arguments = {"architecture": "residual", "width": 4, "classes": classes}
    metadata = {"format": weight_files.FORMAT, "network": "classifier", "arguments": json.dumps(arguments),
                "recipe": json.dumps({"side": side})}  # fmt: skip
    save_file(module.state_dict(), path, metadata)
    return path
