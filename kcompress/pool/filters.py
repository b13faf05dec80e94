"""Filters of the pool and their table (Kuchen paper, section 4.2)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature

from kcompress.errors import ProgramError, UsageError
from kcompress.images import Pixels
from kcompress.inference.weights import is_shipped
from kcompress.pool.guetzli import LOWEST_QUALITY, GuetzliLimits
from kcompress.programs import GUETZLI


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
class Parameter:
    """Number of a filter: smallest and largest value, and whether it is whole."""

    name: str
    low: float
    high: float
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.name}={self.low:g}..{self.high:g}{' in whole numbers' if self.whole else ''}"

    def allows(self, number: float) -> bool:
        """Whether a value is in range; NaN never is."""
        return self.low <= number <= self.high and not (self.whole and number % 1)


@dataclass(frozen=True)
class FilterType:
    """Filter without values of its parameters. It is pickled for other processes: its functions have names.

    Attributes:
        name: as the user types it.
        about: one line for people.
        function: imports heavy libraries itself.
        available: whether its program or weights are installed.
        install: how to install them.
    """

    name: str
    about: str
    function: FilterFunction
    parameters: tuple[Parameter, ...] = ()
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


def _bilateral(pixels: Pixels, context: FilterContext, s: float = 2, h: float = 5) -> Pixels:
    from kcompress.pool.bilateral import bilateral

    return bilateral(pixels, s, h)


def _guided(pixels: Pixels, context: FilterContext, s: float = 2, h: float = 5) -> Pixels:
    from kcompress.pool.guided import guided

    return guided(pixels, round(s), h)


def _chroma(pixels: Pixels, context: FilterContext, s: float = 1) -> Pixels:
    from kcompress.pool.chroma import smooth_chroma

    return smooth_chroma(pixels, s)


def _sharpen(pixels: Pixels, context: FilterContext, a: float = 0.3, s: float = 1) -> Pixels:
    from kcompress.pool.sharpen import sharpen

    return sharpen(pixels, a, s)


def _shrink(pixels: Pixels, context: FilterContext, t: float = 2) -> Pixels:
    from kcompress.pool.soft_threshold import soft_threshold

    return soft_threshold(pixels, t)


FILTERS: dict[str, FilterType] = {
    kind.name: kind
    for kind in (
        FilterType(
            "guetzli", "perceptually guided JPEG, decoded again; q is its quality (95)", _guetzli,
            (Parameter("q", LOWEST_QUALITY, 100, whole=True),), _has_guetzli, GUETZLI.install,
        ),
        FilterType(
            "ar", "a network that removes the artefacts of codecs; n is how often in series (1)", _ar,
            (Parameter("n", 1, 8, whole=True),), _has_ar, "Its weights did not come along: reinstall kcompress.",
        ),
        FilterType("nlm", "non-local means denoising; h is its strength (3)", _nlm, (Parameter("h", 0.1, 100),)),
        FilterType("detail", "a high-pass kernel that sharpens texture", _detail),
        FilterType(
            "blur", "a narrow Gaussian; s is its standard deviation in pixels (0.5)", _blur, (Parameter("s", 0.1, 20),),
        ),
        FilterType(
            "shrink", "a soft threshold in the 8x8 DCT; t is its height, 0..255 (2)", _shrink,
            (Parameter("t", 0.1, 100),),
        ),
        FilterType(
            "bilateral", "a mean of near pixels of like colour; s pixels (2), h grey levels (5)", _bilateral,
            (Parameter("s", 0.5, 10), Parameter("h", 0.1, 100)),
        ),
        FilterType(
            "guided", "smooth where contrast is low; radius s in pixels (2), contrast h in grey levels (5)", _guided,
            (Parameter("s", 1, 50, whole=True), Parameter("h", 0.1, 100)),
        ),
        FilterType(
            "chroma", "a Gaussian on colour alone; s is its standard deviation in pixels (1)", _chroma,
            (Parameter("s", 0.1, 20),),
        ),
        FilterType(
            "sharpen", "an unsharp mask; amount a (0.3), s is the Gaussian's deviation in pixels (1)", _sharpen,
            (Parameter("a", 0.01, 5), Parameter("s", 0.1, 20)),
        ),
    )
}  # fmt: skip
"""Filters by name, in their default order of application."""


@dataclass(frozen=True)
class Filter:
    """Filter of a kind with the parameters that are not the default, named as the user typed it."""

    name: str
    kind: FilterType
    parameters: tuple[tuple[str, float], ...] = ()
    context: FilterContext = field(default_factory=FilterContext)

    @property
    def work(self) -> tuple[str, tuple[tuple[str, float], ...]]:
        """Kind and all parameters, default ones too: equal for filters that do the same under other names."""
        named = {each.name for each in self.kind.parameters}
        found = signature(self.kind.function).parameters
        numbers = {name: each.default for name, each in found.items() if name in named}
        return self.kind.name, tuple((numbers | dict(self.parameters)).items())

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
        if not any(key == known.name and known.allows(number) for known in kind.parameters) or key in parameters:
            allowed = ", ".join(map(str, kind.parameters)) or "no parameter"
            raise UsageError(f"the filter {text}: {setting or 'nothing'} is not understood. Allowed: {allowed}.")
        parameters[key] = number
    return Filter(text, kind, tuple(parameters.items()), context or FilterContext())
