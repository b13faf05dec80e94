"""Limits before memory is taken, and the boundary to decoders of foreign bytes."""

import os
from collections.abc import Callable
from typing import Any

from PIL import Image as Pil
from PIL import UnidentifiedImageError

from kcompress.errors import InputError, KcompressError

MAX_PIXELS = 1 << 28
"""Largest picture that is read, in pixels (268 megapixels); ``KCOMPRESS_MAX_PIXELS`` overrides it."""

_WHOLE_COPY = "It may be corrupt or truncated: get a whole copy."
# The size is checked here, with one limit and one message, for every format alike.
Pil.MAX_IMAGE_PIXELS = None


def max_pixels() -> int:
    """The limit on a picture's size in force, in pixels."""
    try:
        return int(os.environ["KCOMPRESS_MAX_PIXELS"])
    except (KeyError, ValueError):
        return MAX_PIXELS


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture before memory is taken for it.

    Raises:
        InputError: it has more pixels than the limit.
    """
    if width * height > max_pixels():
        raise InputError(
            f"{name} has {width}x{height} pixels, more than the {max_pixels():,} that are read. "
            "If you trust it, set KCOMPRESS_MAX_PIXELS to a larger number."
        )


def guarded(work: Callable[[], Any], name: str, complaint: str, advice: str = _WHOLE_COPY) -> Any:
    """Result of decoders' work; whatever they raise becomes an InputError: name, complaint, reason, advice."""
    try:
        return work()
    except KcompressError:
        raise
    # The boundary to decoders of foreign bytes: a broken file makes them raise nearly anything.
    except Exception as error:
        unknown = isinstance(error, UnidentifiedImageError)  # whose text is an address in memory
        reason = "no format that is known" if unknown else str(error).strip() or type(error).__name__
        raise InputError(f"{name} {complaint} ({reason.rstrip('.')}). {advice}") from error
