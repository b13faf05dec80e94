"""Batches of pictures as torch tensors."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kcompress.images import Pixels


def tensor(patches: Sequence[Pixels]) -> Tensor:
    """Batch (N, 3, H, W) 0..1, channels last in memory, of N patches (H, W, 3) 0..255."""
    batch = torch.from_numpy(np.stack(patches)).permute(0, 3, 1, 2)
    return batch.float().div_(255).contiguous(memory_format=torch.channels_last)


def unit(pixels: Tensor) -> Tensor:
    """Batch (N, 3, H, W) 0..1 of pixels (N, H, W, 3) 0..255."""
    return pixels.permute(0, 3, 1, 2).float().div(255).contiguous()
