"""Weights: a ``.safetensors`` file, the same network as ``.onnx``, and a card ``.json``, with one stem."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kcompress
from kcompress import storage
from kcompress.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "kcompress-1"
"""Format in the metadata of every file; another number means another layout of the metadata."""

SUFFIXES = (".safetensors", ".onnx", ".json")
"""Endings of the three files."""

LARGEST = 4096
"""Largest number among constructor arguments: widths, depths, classes."""


@dataclass(frozen=True)
class Weights:
    """Weights of one network on disk.

    Attributes:
        path: the ``.safetensors`` file.
        metadata: format, network, arguments (of the module, JSON), codec, recipe (JSON), data, version (of
            kcompress), licence.
    """

    path: Path
    metadata: Mapping[str, str]

    @property
    def name(self) -> str:
        """Stem of the files."""
        return self.path.stem

    @property
    def onnx(self) -> Path:
        """Path of the ONNX graph; the file may be missing beside weights that the user trained."""
        return beside(self.path, ".onnx")

    @property
    def arguments(self) -> dict[str, Any]:
        """Constructor arguments of the module."""
        return _fields(self.path, self.metadata, "arguments")

    @property
    def recipe(self) -> dict[str, Any]:
        """Recipe of the training; empty where there is none."""
        return _fields(self.path, self.metadata, "recipe")

    def tensors(self) -> "dict[str, Tensor]":
        """State dict of the module."""
        from safetensors.torch import load_file  # imports torch

        return load_file(self.path)

    def digest(self) -> str:
        """SHA-256 of the ``.safetensors`` file, hexadecimal; the ``.onnx`` file repeats it."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def beside(path: Path, suffix: str) -> Path:
    """File of weights with this suffix, beside any of the three or of their stem, in which there may be dots."""
    stem = path.with_suffix("") if path.suffix in SUFFIXES else path
    return stem.parent / f"{stem.name}{suffix}"


def folder() -> Path:
    """Folder of the shipped weights: inside an installed package, beside it in a checkout."""
    package = Path(kcompress.__file__).parent
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def shipped() -> list[Weights]:
    """All shipped weights, sorted by name."""
    return [open_weights(path) for path in sorted(folder().glob("*.safetensors"))]


def is_shipped(name: str) -> bool:
    """Whether weights of this name are shipped."""
    return (folder() / f"{name}.safetensors").is_file()


def open_shipped(name: str) -> Weights:
    """Shipped weights of this name.

    Raises:
        WeightsError: there are none, or they are of another network.
    """
    if not is_shipped(name):
        raise WeightsError(f"the weights {name} did not come along: {folder()} has none. Reinstall kcompress.")
    return open_weights(folder() / f"{name}.safetensors", name)


def card(weights: Weights) -> dict[str, Any]:
    """Card (``.json``) beside the weights; empty where there is none."""
    path = beside(weights.path, ".json")
    try:
        return dict(json.loads(path.read_bytes())) if path.is_file() else {}
    except (ValueError, TypeError, RecursionError, OSError) as error:
        raise WeightsError(f"{path} is no card of weights ({error}). Remove it, or get it again.") from error


def open_weights(path: Path, network: str | None = None) -> Weights:
    """Read the metadata of a ``.safetensors`` file, or of the one beside an ``.onnx`` or ``.json`` file.

    Args:
        path: any of the three files.
        network: the network they must be for.

    Raises:
        WeightsError: the file is missing, not of kcompress, damaged, or for another network.
    """
    import numpy as np
    from safetensors import SafetensorError, safe_open

    tensors = beside(path, ".safetensors")
    if not tensors.is_file():
        raise WeightsError(f"the weights {tensors} do not exist. Give a .safetensors file, or leave the option out.")
    try:
        with safe_open(tensors, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors_of = ((key, file.get_tensor(key)) for key in file.keys())  # noqa: SIM118 (no dictionary)
            bad = next((key for key, tensor in tensors_of if not np.isfinite(tensor).all()), None)
    # TypeError: numbers of a kind that NumPy does not have.
    except (SafetensorError, OSError, TypeError) as error:
        raise WeightsError(f"{tensors} is not a safetensors file ({error}). Get the file again.") from error
    if metadata.get("format") != FORMAT or not {"network", "arguments"} <= metadata.keys():
        raise WeightsError(f"{tensors} has no kcompress metadata. Give weights that kcompress wrote.")
    if network is not None and metadata["network"] != network:
        raise WeightsError(
            f"{tensors} are {metadata['network']} weights; {network} was asked for. "
            f"Take --network {metadata['network']}, or other --weights."
        )
    if bad is not None:
        raise WeightsError(f"{tensors} holds NaN or infinity in {bad}: it makes no picture. Get the file again.")
    found = Weights(tensors, metadata)
    assert isinstance(found.arguments | found.recipe, dict)  # both check what they read
    return found


def _fields(path: Path, metadata: Mapping[str, str], name: str) -> dict[str, Any]:
    """A JSON object of the metadata, whose numbers are such that something can be built of them."""
    try:
        fields = dict(json.loads(metadata.get(name, "{}")))
    except (ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{path}: its {name} cannot be read ({error}). Get the file again.") from error
    for key, value in fields.items():
        if name == "arguments" and isinstance(value, int | float) and not 0 <= value <= LARGEST:
            raise WeightsError(f"{path}: {key} is {value:g} in its {name}. Allowed: 0..{LARGEST}. Get the file again.")
    return fields


def _ordered(data: bytes) -> bytes:
    """The same ``.safetensors`` file with its metadata by name: the library has them in an order of each run's own."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def write_tensors(stem: Path, module: "nn.Module", metadata: Mapping[str, str], card: Mapping[str, Any]) -> Weights:
    """Write ``.safetensors`` and card of a trained network; ``stem`` has no suffix."""
    from safetensors.torch import save

    complete = {"format": FORMAT, "version": kcompress.__version__, **metadata}
    path = beside(stem, ".safetensors")
    state = {key: value.contiguous() for key, value in module.cpu().eval().state_dict().items()}
    storage.write(str(path), _ordered(save(state, complete)))
    beside(stem, ".json").write_text(json.dumps(card, indent=2) + "\n")
    return Weights(path, complete)


def write(
    stem: Path, module: "nn.Module", metadata: Mapping[str, str], card: Mapping[str, Any], multiple: int = 8,
    more: "Sequence[Tensor]" = (), channels: int = 3,
) -> Weights:  # fmt: skip
    """Write the three files of a trained network; ``stem`` has no suffix.

    ``multiple``, ``more`` and ``channels`` are those of `graphs.graph`.
    """
    import onnx

    from kcompress.inference.graphs import graph

    weights = write_tensors(stem, module, metadata, card)
    made = graph(module, multiple, more, channels)
    onnx.helper.set_model_props(made, {**weights.metadata, "safetensors_sha256": weights.digest()})
    onnx.save(made, weights.onnx)
    return weights
