"""Typical curves of the codecs, quality -> SSIMULACRA2 and bits per pixel: where a search begins, and its abscissa.

Means over the middle 384x384 pixels of eight photographs, without a network. A picture's own curve is another one, but
has about this shape, so that what lies between two of its points is found by a line over the typical curve.
"""

import numpy as np

from kcompress.codecs import CODECS

_ZERO_TO_HUNDRED = (0, 3, 6, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 96, 98, 100)
_QP = (51, 48, 44, 40, 36, 32, 28, 24, 20, 15, 10, 5, 0)
_CURVES: dict[str, tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...]]] = {
    "jpeg": (
        _ZERO_TO_HUNDRED,
        (-56.8, -55.3, -34.5, -4.5, 33.9, 48.4, 56.4, 62.5, 66.2, 71.1, 73.3, 76.4, 79.6, 83.4, 85.6, 88.6, 90.2, 91.4),
        (0.126, 0.14, 0.214, 0.303, 0.487, 0.635, 0.758, 0.873, 0.998, 1.187, 1.305, 1.488, 1.737, 2.158, 2.554, 3.378,
         4.317, 6.028),
    ),
    "webp": (
        _ZERO_TO_HUNDRED,
        (-14.6, 16.9, 24.3, 31.5, 43.0, 51.5, 57.5, 62.4, 66.2, 69.7, 71.4, 75.6, 79.6, 83.5, 85.8, 87.6, 88.4, 88.7),
        (0.129, 0.222, 0.262, 0.311, 0.416, 0.522, 0.623, 0.724, 0.817, 0.918, 0.981, 1.18, 1.445, 1.859, 2.278, 2.876,
         3.362, 3.627),
    ),
    "hevc": (
        _QP,
        (-51.7, -36.1, -10.4, 14.2, 36.4, 53.9, 67.4, 77.1, 83.3, 87.7, 90.1, 91.8, 92.4),
        (0.05, 0.067, 0.106, 0.177, 0.306, 0.507, 0.782, 1.15, 1.605, 2.342, 3.375, 4.918, 6.376),
    ),
    "avif": (
        _ZERO_TO_HUNDRED,
        (-19.8, -11.5, -6.7, 1.7, 19.7, 35.5, 50.9, 63.1, 72.7, 78.9, 80.5, 83.2, 84.9, 87.0, 87.9, 88.9, 89.7, 90.5),
        (0.107, 0.125, 0.135, 0.157, 0.219, 0.304, 0.453, 0.679, 1.034, 1.437, 1.593, 1.927, 2.2, 2.793, 3.214, 3.865,
         4.976, 6.302),
    ),
}  # fmt: skip
_SCORE_RANGE, _RATE_RANGE = (-20.0, 90.0), (0.1, 6.0)
"""Ends of the scale of a codec that nobody has measured."""


class TypicalCurve:
    """One of a codec's curves on the qualities of a search, coarse to fine; it rises everywhere.

    Attributes:
        values: SSIMULACRA2, or ln(bits per pixel), by place in ``qualities``.
    """

    def __init__(self, codec: str, qualities: range, *, of_rate: bool) -> None:
        scale = CODECS[codec].quality
        known = _CURVES.get(codec) or _CURVES.get(CODECS[codec].kin or "")
        if known is None:
            ends = _RATE_RANGE if of_rate else _SCORE_RANGE
            known = ((scale.coarsest, scale.finest), ends, ends)
        at, scores, rates = known
        values = np.log(rates) if of_rate else np.asarray(scores)
        finer = 1 if scale.finest > scale.coarsest else -1
        self.values = np.interp(finer * np.asarray(qualities), finer * np.asarray(at), values)

    def place(self, value: float) -> int:
        """Place on the curve that is nearest to a value."""
        return round(float(np.interp(value, self.values, np.arange(len(self.values)))))
