"""The filters of the label pool (Kuchen paper, section 4.2), one file each, and as preprocessors."""

from collections.abc import Callable
from dataclasses import dataclass

from kcompress.errors import UsageError
from kcompress.images import Image, Pixels
from kcompress.setting import Setting

__all__ = ["FILTERS", "Filter", "filter_named"]


def _detail(pixels: Pixels) -> Pixels:
    from kcompress.pool.detail import detail

    return detail(pixels)


def _nonlocal_means(pixels: Pixels, h: float = 3.0) -> Pixels:
    from kcompress.pool.nonlocal_means import nonlocal_means  # imports OpenCV

    return nonlocal_means(pixels, h)


FILTERS: dict[str, tuple[Callable[..., Pixels], tuple[str, ...]]] = {
    "detail": (_detail, ()),
    "nlm": (_nonlocal_means, ("h",)),
}
"""Name -> function of pixels (H, W, 3) uint8, and the numbers it takes."""


@dataclass(frozen=True)
class Filter:
    """A filter with its numbers; callable like a network.

    Attributes:
        name: as the user typed it, for example ``nlm:h=5``.
        function: of pixels.
        numbers: its parameters.
    """

    name: str
    function: Callable[..., Pixels]
    numbers: tuple[tuple[str, float], ...] = ()
    conditioned: bool = False

    def __call__(self, image: Image, setting: Setting) -> Image:
        """Filter the pixels, whatever the setting."""
        return image.with_pixels(self.function(image.pixels, **dict(self.numbers)))


def filter_named(text: str) -> Filter:
    """A filter as the user types it: ``detail``, ``nlm``, ``nlm:h=10``.

    Raises:
        UsageError: no such filter or parameter.
    """
    name, *settings = text.split(":")
    if name not in FILTERS:
        raise UsageError(f"the filter {name} is not known. Allowed: {', '.join(FILTERS)}.")
    function, parameters = FILTERS[name]
    numbers = []
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if key not in parameters or not 0 < number < 1000:
            allowed = ", ".join(f"{parameter}=NUMBER" for parameter in parameters) or "no parameter"
            raise UsageError(f"the filter {text}: {setting} is not understood. Allowed: {allowed}.")
        numbers.append((key, number))
    return Filter(text, function, tuple(numbers))
