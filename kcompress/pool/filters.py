"""Filters of the pool and their table (Kuchen paper, section 4.2)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from kcompress.errors import ProgramError, UsageError
from kcompress.images import Image, Pixels
from kcompress.inference.weights import is_shipped
from kcompress.pool.guetzli import LOWEST_QUALITY, GuetzliLimits
from kcompress.programs import GUETZLI
from kcompress.setting import Setting


@dataclass(frozen=True)
class FilterContext:
    """Resources of filters: device ``cpu`` or ``cuda:N`` for those that are networks, and limits of guetzli."""

    device: str = "cpu"
    guetzli: GuetzliLimits = field(default_factory=GuetzliLimits)


FilterFunction = Callable[..., Pixels]
"""Function of a filter: pixels (H, W, 3) RGB 0..255, context, parameters by name -> pixels."""


def _always() -> bool:
    return True


@dataclass(frozen=True)
class FilterType:
    """Filter without values of its parameters. It is pickled for other processes: its functions have names.

    Attributes:
        name: as the user types it.
        about: one line for people.
        function: imports heavy libraries itself.
        parameters: name, smallest and largest value of each.
        available: whether its program or weights are installed.
        install: how to install them.
    """

    name: str
    about: str
    function: FilterFunction
    parameters: tuple[tuple[str, float, float], ...] = ()
    available: Callable[[], bool] = _always
    install: str = ""


def _guetzli(pixels: Pixels, context: FilterContext, q: float = 95) -> Pixels:
    from kcompress.pool.guetzli import guetzli

    return guetzli(pixels, context.guetzli, q)


def _has_guetzli() -> bool:
    return GUETZLI.find() is not None


def _ar(pixels: Pixels, context: FilterContext, n: float = 1) -> Pixels:
    from kcompress.pool.artifacts import remove_artifacts

    for _ in range(round(n)):
        pixels = remove_artifacts(pixels, context.device)
    return pixels


def _has_ar() -> bool:
    return is_shipped("ar")


def _nlm(pixels: Pixels, context: FilterContext, h: float = 3) -> Pixels:
    from kcompress.pool.nonlocal_means import nonlocal_means

    return nonlocal_means(pixels, h)


def _detail(pixels: Pixels, context: FilterContext) -> Pixels:
    from kcompress.pool.detail import detail

    return detail(pixels)


def _blur(pixels: Pixels, context: FilterContext, s: float = 0.5) -> Pixels:
    from kcompress.pool.blur import blur

    return blur(pixels, s)


def _shrink(pixels: Pixels, context: FilterContext, t: float = 2) -> Pixels:
    from kcompress.pool.soft_threshold import soft_threshold

    return soft_threshold(pixels, t)


FILTERS: dict[str, FilterType] = {
    kind.name: kind
    for kind in (
        FilterType(
            "guetzli", "perceptually guided JPEG, decoded again; q is its quality (95)", _guetzli,
            (("q", LOWEST_QUALITY, 100),), _has_guetzli, GUETZLI.install,
        ),
        FilterType(
            "ar", "a network that removes the artefacts of codecs; n is how often in series (1)", _ar,
            (("n", 1, 8),), _has_ar, "Its weights did not come along: reinstall kcompress.",
        ),
        FilterType("nlm", "non-local means denoising; h is its strength (3)", _nlm, (("h", 0.1, 100),)),
        FilterType("detail", "a high-pass kernel that sharpens texture", _detail),
        FilterType("blur", "a narrow Gaussian; s is its standard deviation in pixels (0.5)", _blur, (("s", 0.1, 20),)),
        FilterType(
            "shrink", "a soft threshold in the 8x8 DCT; t is its height, 0..255 (2)", _shrink, (("t", 0.1, 100),),
        ),
    )
}  # fmt: skip
"""Filters by name, in their default order of application."""


@dataclass(frozen=True)
class Filter:
    """Filter of a kind with the parameters that are not the default, named as the user typed it; a preprocessor."""

    name: str
    kind: FilterType
    parameters: tuple[tuple[str, float], ...] = ()
    context: FilterContext = field(default_factory=FilterContext)
    conditioned: bool = False

    @property
    def network(self) -> str:
        """Name of its kind."""
        return self.kind.name

    def __call__(self, image: Image, setting: Setting) -> Image:
        """Filter the pixels, whatever the setting."""
        return image.with_pixels(self.apply(image.pixels))

    def apply(self, pixels: Pixels) -> Pixels:
        """Filter pixels: (H, W, 3) RGB 0..255 -> the same.

        Raises:
            KcompressError: a program or the weights are missing, or the filter failed.
        """
        result = self.kind.function(pixels, self.context, **dict(self.parameters))
        if result.shape != pixels.shape:
            raise ProgramError(f"the filter {self.name} changed the size of the picture. Leave it out of --pool.")
        return result


def filter_named(text: str, context: FilterContext | None = None) -> Filter:
    """Filter of the user's text: ``detail``, ``nlm``, ``nlm:h=10``.

    Raises:
        UsageError: no such filter or parameter, or a number out of range.
    """
    name, *settings = text.split(":")
    if name not in FILTERS:
        raise UsageError(f"the filter {name} is not known. Allowed: {', '.join(FILTERS)}.")
    kind = FILTERS[name]
    parameters: dict[str, float] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not any(key == known and low <= number <= high for known, low, high in kind.parameters) or key in parameters:
            allowed = ", ".join(f"{known}={low:g}..{high:g}" for known, low, high in kind.parameters) or "no parameter"
            raise UsageError(f"the filter {text}: {setting or 'nothing'} is not understood. Allowed: {allowed}.")
        parameters[key] = number
    return Filter(text, kind, tuple(parameters.items()), context or FilterContext())
