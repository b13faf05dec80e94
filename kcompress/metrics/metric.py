"""Metric: interface of all quality metrics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from kcompress.errors import InputError, MissingProgramError, UnsupportedError
from kcompress.images import Pixels

ScoreFunction = Callable[[Pixels], float]
"""Score of distorted pixels (H, W, 3) against one original."""


def _always() -> bool:
    return True


@dataclass(frozen=True)
class Metric:
    """One metric on pixels (H, W, 3), uint8 sRGB, without transparency.

    Attributes:
        name: in tables and on the command line.
        about: quantity and unit, in one line.
        direction: whether a higher or a lower score is better.
        range: smallest and largest score.
        smallest_side: of a picture, pixels.
        prepare: original -> score function; the original's part is computed once.
        reference: full-reference; otherwise the distorted picture alone counts.
        available: whether its program or weights are installed.
        install: how to install them.
    """

    name: str
    about: str
    direction: Literal["higher", "lower"]
    range: tuple[float, float]
    smallest_side: int
    prepare: Callable[[Pixels], ScoreFunction]
    reference: bool = True
    available: Callable[[], bool] = _always
    install: str = ""

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1: a score times it grows with quality."""
        return 1 if self.direction == "higher" else -1

    def scorer(self, original: Pixels) -> ScoreFunction:
        """Score function of one original.

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
        score = self.prepare(original)

        def checked(distorted: Pixels) -> float:
            if distorted.shape != original.shape:
                raise InputError(
                    f"The distorted picture has {distorted.shape[1]}x{distorted.shape[0]} pixels, the original "
                    f"{width}x{height}. Compare pictures of one size."
                )
            return score(distorted)

        return checked

    def score(self, original: Pixels, distorted: Pixels) -> float:
        """Score one distorted picture; raises as `scorer`."""
        return self.scorer(original)(distorted)
