"""Constants of modules on a device: copied there once.

A copy waits for the device, and what is captured in a CUDA graph may hold none.
"""

from functools import cache

import torch
from torch import Tensor


def constant(values: Tensor, like: Tensor) -> Tensor:
    """A module's constant on the device of another tensor, and in its type unless it is whole. It is kept for good."""
    return _constant(values, like.device, like.dtype if values.is_floating_point() else values.dtype)


@cache
def _constant(values: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # what is kept may be needed for gradients later
        return values.to(device, dtype)
