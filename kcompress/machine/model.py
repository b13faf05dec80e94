"""Model: a frozen downstream network, with one interface for all file formats."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress.errors import WeightsError
from kcompress.machine.input_transform import InputTransform

if TYPE_CHECKING:
    from torch import Tensor

Network = Callable[["Tensor"], "Tensor"]
"""Network as it was trained: (N, 3, H, W) float32 -> raw output."""

Shape = Sequence[int | None]
"""Shape of an input, as its file declares it; None where any number is allowed."""


class Layout(Enum):
    """Layout of a model's answer as one tensor with a row a picture.

    ``TENSOR`` is its only output. ``BOXES`` are detections (N, K, 6) in pixels: left, top, right, bottom, score, class;
    rows of zeros fill up. ``ANCHORS`` are (N, M, 4 + 1 + classes): corners as shares, probabilities, first of the
    background. ``TEXT`` are code points (N, L); zeros fill up.
    """

    TENSOR = "one tensor"
    BOXES = "boxes"
    ANCHORS = "scores and boxes"
    TEXT = "text"


@dataclass(frozen=True)
class LoadedModel:
    """Model as its file declares it, before the user's keys apply.

    Attributes:
        network: in evaluation mode, without gradients into its parameters.
        digest: SHA-256 of the files that decide its output.
        trainable: gradients flow through it into the pictures.
        shape: of its input (N, 3, H, W), as far as the file fixes it.
        transform: input transform of its training, where known.
        layout: of its answer.
    """

    name: str
    network: Network
    digest: Callable[[], str]
    trainable: bool = True
    shape: Shape = (None, 3, None, None)
    transform: InputTransform = field(default_factory=InputTransform)
    layout: Layout = Layout.TENSOR


class Model:
    """Frozen downstream model that takes RGB 0..1, whatever order and range its network was trained with.

    Attributes:
        name: for reports: the stem of its file.
        spec: as the user typed it; unlike the digest it includes the input transform.
        size: height and width of its input, pixels; None where any will do.
        trainable: gradients flow through it into the pictures.
        device: ``cpu`` or ``cuda:N`` of its input and output.
        layout: of its answer.
    """

    def __init__(self, spec: str, loaded: LoadedModel, transform: InputTransform, device: str = "cpu") -> None:
        self.name = loaded.name
        self.spec = spec
        self.size = transform.size
        self.trainable = loaded.trainable
        self.layout = loaded.layout
        self.device = device
        self._loaded = loaded
        self._transform = transform
        self._batch = loaded.shape[0]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal digits, for reports and for resuming."""
        return self._loaded.digest()

    def __call__(self, pictures: "Tensor") -> "Tensor":
        """Raw output.

        Args:
            pictures: (N, 3, H, W) float32 RGB 0..1, of its size, on its device.

        Returns:
            A tensor whose first dimension is N, with a gradient towards the pictures where ``trainable``, and never
            one towards the parameters.

        Raises:
            WeightsError: the network cannot take such pictures, or its output is not one tensor.
        """
        prepared = self._transform(pictures)
        if self._batch is not None:
            return self._in_batches(prepared, self._batch)
        try:
            return self._run(prepared)
        except WeightsError:
            if len(pictures) == 1:
                raise
        # A traced network may have its example's batch size built in without saying so; that is nearly always 1.
        result = self._in_batches(prepared, 1)
        self._batch = 1
        return result

    def _in_batches(self, pictures: "Tensor", batch: int) -> "Tensor":
        """Run a network of fixed batch size; the last batch is padded with copies of its first picture."""
        import torch

        results = []
        for start in range(0, len(pictures), batch):
            part = pictures[start : start + batch]
            missing = batch - len(part)
            full = torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part
            results.append(self._run(full)[: len(part)])
        if self.layout in (Layout.BOXES, Layout.TEXT):  # pictures have more or fewer
            return torch.nn.utils.rnn.pad_sequence([row for result in results for row in result], batch_first=True)
        return torch.cat(results)

    def _run(self, pictures: "Tensor") -> "Tensor":
        import torch

        try:
            result = self._loaded.network(pictures)
        except torch.OutOfMemoryError:
            raise
        # Exported programs assert; ONNX Runtime's exceptions have no base of their own.
        except Exception as error:
            count, channels, height, width = pictures.shape
            raise WeightsError(
                f"the model {self.spec} cannot take pictures of {channels} channels and {width}x{height} pixels, "
                f"{count} at a time: {reason(error)} Give it its size (size=WxH), or another model."
            ) from error
        if isinstance(result, tuple | list) and len(result) == 1:
            result = result[0]
        if not isinstance(result, torch.Tensor) or result.ndim == 0 or len(result) != len(pictures):
            raise WeightsError(
                f"the model {self.spec} gives {_described(result)} for {len(pictures)} pictures. "
                "Needed is one tensor with a row a picture: wrap the model, and export it again."
            )
        return result.float()


def _described(result: object) -> str:
    if isinstance(result, tuple | list | Mapping):
        return f"a {type(result).__name__} of {len(result)} parts"
    shape = getattr(result, "shape", None)
    return type(result).__name__ if shape is None else f"a tensor of shape {tuple(shape)}"


def reason(error: Exception) -> str:
    """Message of a library's exception on one line, at most its last 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return (text if len(text) <= 300 else "... " + text[-300:]).rstrip(".") + "."


def digest_of(*files: Path) -> str:
    """SHA-256 of the concatenated files, hexadecimal."""
    found = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
    return found.hexdigest()


def check_shape(spec: str, shape: Shape, kind: str = "float32") -> None:
    """Check that an input can be a batch of colour pictures.

    Raises:
        WeightsError: it is not (N, 3, H, W), or not float32.
    """
    if len(shape) != 4 or shape[1] not in (3, None) or kind != "float32":
        text = " x ".join("any" if side is None else str(side) for side in shape) or "one number"
        raise WeightsError(
            f"the model {spec} takes {kind} of shape {text}. Needed is float32 of shape N x 3 x height x width. "
            "Export it again with such an input, or take another model."
        )
