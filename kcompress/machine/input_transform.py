"""Input transform of a model, and its text: ``FILE:size=224,mean=imagenet,order=bgr``."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kcompress.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

Three = tuple[float, float, float]
Size = tuple[int, int]

IMAGENET: tuple[Three, Three] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of R, G and B, 0..1, of nearly all ImageNet classifiers."""

LARGEST_SIDE = 8192
"""Largest side of a model's input, pixels."""

ALLOWED = (
    "size=SIDE or size=WxH (pixels), mean=R/G/B or mean=imagenet, std=R/G/B, range=255 (the default is 1), "
    "order=rgb or order=bgr, with commas between"
)


@dataclass(frozen=True)
class InputTransform:
    """Transform of RGB pictures 0..1 to a model's input, in this order.

    Attributes:
        size: height and width, pixels; None keeps them. The task resizes.
        range: factor: 255 for a model that takes 0..255.
        mean: of R, G and B, in units of ``range``, subtracted.
        std: of R, G and B, in units of ``range``, above 0; divided by.
        order: ``rgb`` or ``bgr``, the order of the channels.
    """

    size: Size | None = None
    range: float = 1.0
    mean: Three = (0.0, 0.0, 0.0)
    std: Three = (1.0, 1.0, 1.0)
    order: str = "rgb"

    def __call__(self, pictures: "Tensor") -> "Tensor":
        """RGB 0..1 (N, 3, H, W) -> input of the model (N, 3, H, W), differentiable."""
        x = pictures
        if self.range != 1:
            x = x * self.range
        if self.mean != (0, 0, 0) or self.std != (1, 1, 1):
            x = (x - x.new_tensor(self.mean).view(3, 1, 1)) / x.new_tensor(self.std).view(3, 1, 1)
        return x.flip(1) if self.order == "bgr" else x


def split_spec(spec: str) -> tuple[str, dict[str, str]]:
    """Split a text into target and keys: ``"a.onnx:size=96"`` -> ``"a.onnx", {"size": "96"}``.

    Raises:
        UsageError: a key without ``=``, or a key twice.
    """
    target, _, keys = spec.rpartition(":")
    if not target or not re.match(r"\w+=", keys):
        return spec, {}
    found: dict[str, str] = {}
    for item in keys.split(","):
        key, equals, value = item.partition("=")
        if not equals or not value or key in found:
            raise UsageError(f"the model {spec}: {item or 'nothing'} is not understood. Allowed: {ALLOWED}.")
        found[key] = value
    return target, found


def parse_transform(spec: str, keys: Mapping[str, str], default: InputTransform) -> InputTransform:
    """Input transform of the keys that `split_spec` finds; the default has the values of those that are missing.

    Raises:
        UsageError: unknown key, or a value that is not allowed.
    """
    result = default
    if "range" in keys:
        result = replace(result, range=_positive(spec, "range", keys["range"]))
    for key, value in keys.items():
        if key == "size":
            result = replace(result, size=_size(spec, value))
        elif key == "mean":
            if value == "imagenet":  # whose std follows, unless it is given too
                mean, std = (_times(result.range, part) for part in IMAGENET)
                result = replace(result, mean=mean, std=result.std if "std" in keys else std)
            else:
                result = replace(result, mean=_three(spec, key, value))
        elif key == "std":
            std = _three(spec, key, value)
            if min(std) <= 0:
                raise _refusal(spec, key, value)
            result = replace(result, std=std)
        elif key == "order":
            if value not in ("rgb", "bgr"):
                raise _refusal(spec, key, value)
            result = replace(result, order=value)
        elif key != "range":
            raise _refusal(spec, key, value)
    return result


def _times(factor: float, three: Three) -> Three:
    red, green, blue = three
    return factor * red, factor * green, factor * blue


def _refusal(spec: str, key: str, value: str) -> UsageError:
    return UsageError(f"the model {spec}: {key}={value} is not understood. Allowed: {ALLOWED}.")


def _size(spec: str, value: str) -> Size:
    match = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", value)
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= min(width, height) <= max(width, height) <= LARGEST_SIDE:
        raise _refusal(spec, "size", value)
    return height, width


def _positive(spec: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _refusal(spec, key, value)
    return number


def _three(spec: str, key: str, value: str) -> Three:
    try:
        red, green, blue = (float(each) for each in value.split("/"))
    except ValueError:
        raise _refusal(spec, key, value) from None
    if not all(math.isfinite(each) for each in (red, green, blue)):
        raise _refusal(spec, key, value)
    return red, green, blue
