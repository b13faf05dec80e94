"""kcompress: preprocess a picture with a network, then compress it with a standard encoder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kcompress.api import Encoded, Picture, compare, decode, encode
    from kcompress.errors import KcompressError

__version__ = "0.1.0"
__all__ = ["Encoded", "KcompressError", "Picture", "compare", "decode", "encode"]


def __getattr__(name: str) -> object:
    """Names of ``__all__``, loaded when they are first used: the import itself loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kcompress import api

    globals()[name] = found = getattr(api, name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
