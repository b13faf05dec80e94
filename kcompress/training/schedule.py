"""Learning rates over the steps of a training."""

import math


def cosine(step: int, *, steps: int, highest: float, warmup: int) -> float:
    """Learning rate of a step (from 0): a linear warm-up, then half a cosine down to nothing."""
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
