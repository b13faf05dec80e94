"""Arguments of the Python interface, checked before any work: kinds and ranges that a command line checks itself."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from numbers import Integral, Real
from typing import get_args

from kcompress.errors import UsageError
from kcompress.images import Metadata


@dataclass(frozen=True)
class _Kind:
    """Values that an argument may have: ``words`` tell them, behind "give"."""

    allows: Callable[[object], bool]
    words: str
    optional: bool = True


def _number(value: object, kind: type, low: float, high: float) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high  # type: ignore[operator]


def _whole(low: float = -inf, *, optional: bool = True) -> _Kind:
    words = "a whole number" + (f" from {low:g}" if low > -inf else "")
    return _Kind(lambda value: _number(value, Integral, low, inf), words, optional)


def _real(low: float, high: float, words: str, *, optional: bool = True) -> _Kind:
    return _Kind(lambda value: _number(value, Real, low, high), words, optional)


def _names(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _is_colour(value: object) -> bool:
    return (
        isinstance(value, tuple | list) and len(value) == 3 and all(_number(each, Integral, 0, 255) for each in value)
    )


_TEXT = _Kind(lambda value: isinstance(value, str), "a name, in quotes")
_NAME = _Kind(_TEXT.allows, _TEXT.words, optional=False)
_FILE = _Kind(lambda value: isinstance(value, str | os.PathLike), "a path")

_KINDS = {
    "codec": _NAME,
    "quality": _whole(),
    "target": _Kind(
        lambda value: isinstance(value, str) or _number(value, Real, -inf, inf), "a score, or 'metric=score'"
    ),
    "target_size": _real(1, inf, "a number of bytes from 1"),
    "target_bpp": _real(1e-9, 64, "bits per pixel above 0"),
    "preset": _NAME,
    "network": _TEXT,
    "weights": _FILE,
    "strength": _real(0, 1, "a number from 0 to 1"),
    "refine": _whole(0),
    "tables": _Kind(_FILE.allows, "auto, standard, learned or a path", optional=False),
    "chroma": _Kind(_TEXT.allows, "'420' or '444'"),
    "bits": _whole(),
    "effort": _whole(),
    "sharp_yuv": _Kind(lambda value: isinstance(value, bool), "True or False"),
    "parameters": _Kind(lambda value: isinstance(value, Mapping), "a dictionary of names and numbers"),
    "backend": _NAME,
    "max_side": _whole(1),
    "metadata": _Kind(lambda value: value in get_args(Metadata), "'icc', 'all' or 'none'", optional=False),
    "background": _Kind(_is_colour, "(red, green, blue), each 0 to 255"),
    "frame": _whole(0),
    "min_saving": _real(0, 1 - 1e-9, "a share from 0 to below 1"),
    "metrics": _Kind(_names, "a list of names, such as ['psnr']"),
    "device": _NAME,
    "threads": _whole(1, optional=False),
}


def check(given: Mapping[str, object]) -> None:
    """Refuse arguments, by name, that are of a wrong kind or out of range; of names unknown here nothing is asked.

    Raises:
        UsageError: one is.
    """
    for name, value in given.items():
        kind = _KINDS.get(name)
        if kind is None or (value is None and kind.optional):
            continue
        if not kind.allows(value):
            raise UsageError(f"{name}={value!r}: give {kind.words}{', or None' if kind.optional else ''}.")
