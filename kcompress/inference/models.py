"""Shipped weights as engines: ONNX Runtime on the CPU, torch on CUDA."""

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from kcompress.errors import WeightsError
from kcompress.inference.engine import Engine, OnnxEngine, TorchEngine
from kcompress.inference.weights import Weights, open_shipped

if TYPE_CHECKING:
    from torch import nn

Module = TypeVar("Module", bound="nn.Module")


def engine(weights: Weights, device: str, module: "Callable[[], type[nn.Module]]", threads: int = 0) -> Engine:
    """Engine of a network on ``cpu`` or ``cuda:N``: its ONNX graph on the CPU where there is one, else torch.

    ``module`` returns the torch class; it is called only where torch is needed, as it imports torch. ``threads`` are
    those of ONNX Runtime; 0 takes one a core.

    Raises:
        WeightsError: the graph belongs to other weights, or the weights do not fit the module.
    """
    if device == "cpu" and weights.onnx.is_file():
        found = OnnxEngine(weights.onnx, threads)
        if found.metadata.get("safetensors_sha256") != weights.digest():
            raise WeightsError(f"{weights.onnx} belongs to other weights than {weights.path.name}. Export it again.")
        return found
    return TorchEngine(torch_module(weights, module()), device)


def torch_module(weights: Weights, module: "type[Module]") -> "Module":
    """Torch module of these weights, on the CPU.

    Raises:
        WeightsError: the weights do not fit the module.
    """
    import torch

    try:
        tensors = weights.tensors()
        with torch.device("meta"):  # sizes alone: what does not fit takes no memory
            sizes = {name: tensor.shape for name, tensor in module(**weights.arguments).state_dict().items()}
        found = {name: tensor.shape for name, tensor in tensors.items()}
        odd = sorted({name for name, _ in sizes.items() ^ found.items()})
        if odd:
            raise ValueError(f"other tensors than it has: {', '.join(odd[:3])}")
        built = module(**weights.arguments)
        built.load_state_dict(tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        network = weights.metadata["network"]
        raise WeightsError(
            f"{weights.path} does not fit the network {network} ({reason}). Give other weights."
        ) from error
    return built


@lru_cache(maxsize=8)
def shipped_engine(name: str, device: str, module: "Callable[[], type[nn.Module]]") -> Engine:
    """Engine of shipped weights, cached, with one thread on the CPU.

    Pictures run in parallel, and with one thread the numbers are the same on every machine.

    Raises:
        WeightsError: the weights are missing or do not fit.
    """
    return engine(open_shipped(name), device, module, threads=1)
