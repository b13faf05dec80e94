"""Metric: one way to put a number on what a codec has done to a picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kcompress.errors import InputError, MissingProgramError, UnsupportedError
from kcompress.images import Pixels

ScoreFunction = Callable[[Pixels], float]
"""Scores distorted pixels (H, W, 3) against an original that it knows."""


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Metric:
    """One metric. Pixels are (H, W, 3) uint8 sRGB; flatten transparency and convert profiles before.

    Attributes:
        name: in tables and on the command line.
        about: what it measures and in which unit, in one line.
        direction: whether a higher or a lower score is better.
        range: worst and best score, or best and worst where lower is better; smallest first.
        reference: it compares with the original; otherwise the distorted picture alone counts.
        smallest_side: in pixels, of what it can score.
        prepare: does the original's part of the work once and returns a function that scores distorted pixels.
        available: whether what it needs is installed.
        install: how to get that.
    """

    name: str
    about: str
    direction: Literal["higher", "lower"]
    range: tuple[float, float]
    reference: bool
    smallest_side: int
    prepare: Callable[[Pixels], ScoreFunction]
    available: Callable[[], bool] = _always
    install: str = ""

    def scorer(self, original: Pixels) -> ScoreFunction:
        """A function that scores distorted versions of one original.

        Raises:
            MissingProgramError: the metric is not installed.
            UnsupportedError: the picture is too small for it.
            InputError: (the function) the distorted picture has another size.
        """
        if not self.available():
            raise MissingProgramError(f"The metric {self.name} is not installed. {self.install}")
        height, width = original.shape[:2]
        if min(height, width) < self.smallest_side:
            raise UnsupportedError(
                f"{self.name} needs {self.smallest_side} pixels a side; the picture has {width}x{height}. "
                "Leave the metric out, or take larger pictures."
            )
        judge = self.prepare(original)

        def checked(distorted: Pixels) -> float:
            if distorted.shape != original.shape:
                raise InputError(
                    f"The distorted picture has {distorted.shape[1]}x{distorted.shape[0]} pixels, the original "
                    f"{width}x{height}. Compare pictures of one size."
                )
            return judge(distorted)

        return checked

    def score(self, original: Pixels, distorted: Pixels) -> float:
        """Score one distorted picture; raises as `scorer`."""
        return self.scorer(original)(distorted)
