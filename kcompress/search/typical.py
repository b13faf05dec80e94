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
        (-23.6, -20.2, -13.5, -3.0, 18.1, 35.3, 51.0, 63.9, 73.0, 79.4, 81.3, 83.5, 84.9, 86.8, 87.6, 88.9, 89.4, 90.4),
        (0.103, 0.109, 0.121, 0.146, 0.219, 0.321, 0.475, 0.729, 1.058, 1.481, 1.679, 1.939, 2.181, 2.723, 3.055, 3.945,
         4.413, 6.325),
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
