"""Engines: ONNX Runtime on the CPU, torch on CUDA. Chosen once, called alike."""

import ctypes
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kcompress.errors import UsageError, WeightsError

if TYPE_CHECKING:
    from torch import nn

FloatArray = NDArray[np.float32]
"""Input or output of an engine."""


class Engine(Protocol):
    """Network ready to run: (1, C, H, W) float32 -> (1, 3, H, W) float32; callable from any thread."""

    def __call__(self, batch: FloatArray, *more: FloatArray) -> FloatArray:
        """Run the network; ``more`` are the inputs beside the picture, such as a condition."""
        ...


class OnnxEngine:
    """ONNX Runtime on the CPU; ``threads`` 0 takes one a core.

    Raises:
        WeightsError: the file is not an ONNX graph that the runtime can run.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        # Since 1.29 it reports every loaded model to Microsoft; the variable is read at import.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime  # only where a network is asked for: start-up time

        onnxruntime.set_default_logger_severity(3)  # errors only; it warns about machines, not about models
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        # The runtime has a dozen exception classes of its own and shares no base with them.
        except Exception as error:
            raise WeightsError(f"{path} cannot be loaded ({error}). Get the file again.") from error
        self._path = path
        self._inputs = [each.name for each in self._session.get_inputs()]

    @property
    def metadata(self) -> dict[str, str]:
        """Metadata of the graph's file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, batch: FloatArray, *more: FloatArray) -> FloatArray:
        return self.outputs_of(batch, *more)[0]

    def outputs_of(self, *given: FloatArray) -> list[FloatArray]:
        """All outputs of the graph."""
        if len(given) != len(self._inputs):
            raise WeightsError(f"{self._path} takes {len(self._inputs)} inputs, not {len(given)}. Export it again.")
        try:
            return [np.asarray(each) for each in self._session.run(None, dict(zip(self._inputs, given, strict=True)))]
        except Exception as error:
            if "allocate memory" in str(error):
                raise MemoryError from error
            raise WeightsError(f"{self._path} cannot be run ({error}). Export it again.") from error


class TorchEngine:
    """A torch module on any of torch's devices."""

    def __init__(self, module: "nn.Module", device: str) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._module = module.eval().to(device)

    def __call__(self, batch: FloatArray, *more: FloatArray) -> FloatArray:
        with self._torch.inference_mode():
            result = self._module(*(self._torch.from_numpy(each).to(self._device) for each in (batch, *more)))
        return np.asarray(result.cpu().numpy())


def resolve_device(name: str) -> str:
    """Device ``cpu`` or ``cuda:N`` of the user's text; ``auto`` takes CUDA where there is one.

    Raises:
        UsageError: there is no such device.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"--device {name} is not known. Allowed: auto, cpu, cuda, cuda:N.")
    if name == "cpu":
        return "cpu"
    count = cuda_devices()
    if name == "auto":
        return "cuda:0" if count else "cpu"
    number = int(name.partition(":")[2] or 0)
    if number >= count:
        have = f"CUDA devices here: {count}" if count else "no CUDA device was found"
        raise UsageError(f"--device {name}: {have}. Take --device cpu, or check the driver with nvidia-smi.")
    return f"cuda:{number}"


def cuda_devices() -> int:
    """Number of CUDA devices, by the driver: importing torch would take seconds."""
    driver: Any = None
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
    count = ctypes.c_int(0)
    if driver is None or driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
