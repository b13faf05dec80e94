"""Loaders of model files, one function each: torch.export, TorchScript, ONNX, safetensors, TF Lite, torchvision.

A new kind of file is one more function and one more line in a table.
"""

import importlib
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kcompress.errors import MissingProgramError, UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import OnnxEngine
from kcompress.inference.models import torch_module
from kcompress.machine.classifiers import Classifier
from kcompress.machine.fastestdet import SIDE, FastestDet
from kcompress.machine.input_transform import InputTransform
from kcompress.machine.layouts import JoinedDetector, joined, layout_of
from kcompress.machine.model import Layout, LoadedModel, Shape, check_shape, digest_of, reason
from kcompress.machine.reader import NAME, load_reader
from kcompress.machine.tflite import load_tflite

Load = Callable[[str, str, str], LoadedModel]
"""Loader: file or name, the user's text (for messages), device -> loaded model."""


def load(target: str, spec: str, device: str) -> LoadedModel:
    """Load a model onto ``cpu`` or ``cuda:N``; the target is the user's ``spec`` without its keys.

    Raises:
        UsageError: there is no such kind of model.
        WeightsError: the file is missing, cannot be loaded, or does not take colour pictures.
        MissingProgramError: torchvision or its weights are not installed.
    """
    prefix, colon, rest = target.partition(":")
    if colon and rest and prefix in PREFIXES:
        return PREFIXES[prefix](rest, spec, device)
    suffix = Path(target).suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix](target, spec, device)
    if target == NAME:
        return load_reader(spec)
    if weight_files.is_shipped(target):
        return _classifier(str(weight_files.folder() / f"{target}.safetensors"), spec, device)
    names = [each.name for each in weight_files.shipped() if each.metadata["network"] == "classifier"]
    raise UsageError(
        f"the model {spec} is not known. Allowed: files {' '.join(SUFFIXES)}; "
        f"{' or '.join(f'{each}:...' for each in PREFIXES)}; {NAME}; "
        f"names that came along: {', '.join(names) or 'none'}."
    )


def _exported(target: str, spec: str, device: str) -> LoadedModel:
    path = _there(target, spec)
    with _loading(path, "an exported program of torch.export.save"):
        program = torch.export.load(path)
        if device != "cpu":
            from torch.export.passes import move_to_device_pass  # newer than torch.export itself

            program = move_to_device_pass(program, device)
        module = program.module()
    inputs = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(inputs) != 1 or len(values) != 1 or not isinstance(values[0], Tensor):
        raise _not_one_picture(spec, len(inputs))
    shape = [side if isinstance(side, int) else None for side in values[0].shape]
    check_shape(spec, shape, str(values[0].dtype).removeprefix("torch."))
    if any(_learns(node) for node in program.graph.nodes):
        raise WeightsError(
            f"the model {spec} was exported while it was trained: its answers change from one to the next. "
            "Export model.eval()."
        )
    return LoadedModel(path.stem, _frozen(module), partial(digest_of, path), shape=shape)


def _learns(node: Any) -> bool:
    """Whether a node of a program runs in training mode; evaluation mode can no longer be chosen."""
    schema = getattr(node.target, "_schema", None)
    names = [argument.name for argument in schema.arguments] if schema else []
    return any(
        name in ("train", "training") and value is True for name, value in zip(names, node.args, strict=False)
    ) or any(node.kwargs.get(name) is True for name in ("train", "training"))


def _torchscript(target: str, spec: str, device: str) -> LoadedModel:
    path = _there(target, spec)
    kind = "TorchScript (of a state dict alone no model can be made: write one with torch.export.save)"
    with _loading(path, kind), warnings.catch_warnings():
        # Deprecated since torch 2.13, with another category from version to version; there are many such files.
        warnings.filterwarnings("ignore", r"`torch\.jit\.")
        module: torch.jit.ScriptModule = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]
    arguments = list(module.forward.schema.arguments)[1:]  # type: ignore[attr-defined]
    needed = [each for each in arguments if not each.has_default_value()]
    if len(needed) != 1 or str(arguments[0].type) != "Tensor":
        raise _not_one_picture(spec, len(needed))
    return LoadedModel(path.stem, _frozen(module.eval()), partial(digest_of, path))


def _onnx(target: str, spec: str, device: str) -> LoadedModel:
    path = _there(target, spec)
    engine = _Graph(path, threads=1)  # the same numbers on every machine; pictures run in parallel
    found = layout_of(engine.outputs)
    if len(engine.inputs) != 1 or found is None:
        raise _not_one_picture(spec, len(engine.inputs), len(engine.outputs))
    layout, order = found
    (shape, kind), alone = engine.inputs[0], False
    if layout is Layout.BOXES:  # of one picture, which torchvision's export takes without a dimension for more
        alone = len(shape) == 3
        shape = [1, *(shape if alone else shape[1:])]
    check_shape(spec, shape, kind)
    beside = path.with_name(path.name + ".data")  # where torch's exporter puts large weights
    files = [path, beside] if beside.is_file() else [path]

    def run(pictures: Tensor) -> Tensor:
        given = pictures.detach().cpu().numpy()
        outputs = engine.outputs_of(given[0] if alone else given)
        parts = [torch.from_numpy(outputs[place]).to(pictures.device) for place in order]
        return parts[0] if layout is Layout.TENSOR else joined(parts)

    return LoadedModel(path.stem, run, partial(digest_of, *files), trainable=False, shape=shape, layout=layout)


class _Graph(OnnxEngine):
    """Engine with the declared inputs and outputs of its graph."""

    @property
    def inputs(self) -> list[tuple[Shape, str]]:
        """Shape and type of every input; None where any number is allowed."""
        return [_declared(each) for each in self._session.get_inputs()]

    @property
    def outputs(self) -> list[tuple[Shape, str]]:
        """Shape and type of every output."""
        return [_declared(each) for each in self._session.get_outputs()]


def _declared(value: Any) -> tuple[Shape, str]:
    kinds = {"tensor(float)": "float32", "tensor(int64)": "int64"}
    shape = [side if isinstance(side, int) else None for side in value.shape]
    return shape, kinds.get(value.type, value.type)


def _classifier(target: str, spec: str, device: str) -> LoadedModel:
    weights = weight_files.open_weights(_there(target, spec))
    if weights.metadata["network"] != "classifier":
        raise WeightsError(
            f"{weights.path} are {weights.metadata['network']} weights. As a model take those of a classifier."
        )
    side = weights.recipe.get("side")
    if side is not None and side not in range(1, weight_files.LARGEST + 1):
        raise WeightsError(f"{weights.path}: its recipe has side {side}. Allowed: 1..{weight_files.LARGEST}.")
    module = torch_module(weights, Classifier).eval().to(device)
    size = (side, side) if side else None
    return LoadedModel(weights.name, _frozen(module), weights.digest, transform=InputTransform(size))


def _fastestdet(target: str, spec: str, device: str) -> LoadedModel:
    path = _there(target, spec)
    with _loading(path, "a state dict"):
        state = torch.load(path, map_location="cpu", weights_only=True)
    module = FastestDet.from_state_dict(state, path).eval().to(device)
    # Trained with OpenCV's order of channels.
    return LoadedModel(
        path.stem, _frozen(module), partial(digest_of, path), transform=InputTransform(SIDE, order="bgr")
    )


def _tflite(target: str, spec: str, device: str) -> LoadedModel:
    return load_tflite(_there(target, spec), spec, device)


def _torchvision(name: str, spec: str, device: str) -> LoadedModel:
    try:
        models = importlib.import_module("torchvision.models")
    except ImportError:
        raise MissingProgramError(
            f"the model {spec} needs torchvision, which is not installed. pip install torchvision, of the version that "
            f"belongs to torch {torch.__version__}."
        ) from None
    try:
        weights = models.get_model_weights(name).DEFAULT
    except (ValueError, AttributeError):
        raise UsageError(
            f"the model {spec}: torchvision has no {name} with weights. Allowed are the names that "
            "torchvision.models.list_models() gives."
        ) from None
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if not path.is_file():  # nothing is fetched behind the user's back
        raise MissingProgramError(
            f"the model {spec} needs torchvision's weights, and {path} is missing. Get {weights.url} and put it there."
        )
    with _loading(path, f"the weights of {name}"):
        module = models.get_model(name, weights=weights).eval().to(device)
    trained = weights.transforms()
    side = getattr(trained, "crop_size", [None])[0]
    transform = InputTransform((side, side) if side else None)
    if hasattr(trained, "mean") and hasattr(trained, "std"):
        transform = InputTransform(transform.size, mean=tuple(trained.mean), std=tuple(trained.std))
    layout = Layout.TENSOR
    if type(module).__module__.startswith("torchvision.models.detection"):
        module, layout = JoinedDetector(module), Layout.BOXES
    return LoadedModel(name, _frozen(module), partial(digest_of, path), transform=transform, layout=layout)


SUFFIXES: dict[str, Load] = {
    ".pt2": _exported, ".pt": _torchscript, ".ts": _torchscript, ".torchscript": _torchscript,
    ".onnx": _onnx, ".safetensors": _classifier, ".tflite": _tflite,
}  # fmt: skip
"""Loaders by the suffix of a file."""

PREFIXES: dict[str, Load] = {"fastestdet": _fastestdet, "torchvision": _torchvision}
"""Loaders by the text before the first colon."""


def _there(target: str, spec: str) -> Path:
    path = Path(target)
    if not path.is_file():
        raise WeightsError(f"the model {spec}: there is no file {path}. Check the path.")
    return path


@contextmanager
def _loading(path: Path, kind: str) -> Iterator[None]:
    """Turn any exception into a WeightsError that the file is not of its kind: torch raises a dozen classes."""
    log = logging.getLogger("torch.export")
    before = log.level
    log.setLevel(logging.CRITICAL)  # torch writes the traceback of what it then raises
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise WeightsError(f"{path} cannot be loaded: {reason(error)} It should be {kind}.") from error
    finally:
        log.setLevel(before)


def _frozen(module: nn.Module) -> nn.Module:
    """Module without gradients into its parameters; exported programs have no evaluation mode to choose."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _not_one_picture(spec: str, inputs: int, outputs: int = 1) -> WeightsError:
    return WeightsError(
        f"the model {spec} takes {inputs} inputs and gives {outputs} outputs. Needed is one of each, or of an ONNX "
        "detector boxes, scores and classes, or boxes and scores: wrap it so that it takes a batch of pictures alone, "
        "and export it again."
    )
