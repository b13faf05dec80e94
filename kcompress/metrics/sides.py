"""Sides of pictures that a metric can compare."""

from typing import TYPE_CHECKING

from kcompress.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    from torch import Size, Tensor


def of_original(metric: str, original: "Tensor", smallest: int) -> "Size":
    """Height and width of an original (N, C, H, W).

    Raises:
        UnsupportedError: a side is below the metric's smallest one.
    """
    sides = original.shape[2:]
    if min(sides) < smallest:
        raise UnsupportedError(f"{metric} needs {smallest} pixels a side. Give larger pictures.")
    return sides


def check_equal(metric: str, sides: "Size", distorted: "Tensor") -> None:
    """Hold a distorted picture (N, C, H, W) to the original's height and width.

    Raises:
        InputError: they differ.
    """
    if distorted.shape[2:] != sides:
        raise InputError(f"{metric} compares pictures of one size. Give an original and versions of it.")
