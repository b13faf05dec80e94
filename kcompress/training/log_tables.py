"""Quantisation tables that trainings go by: other encoders', mixtures, and smooth changes, as logarithms of steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kcompress.codecs.quantisation import STANDARD, LearnedTables, QuantisationTables, ScaledTables, learned
from kcompress.setting import Table

LogSteps = NDArray[np.float64]
"""ln of quantiser steps (2, 64): luma and chroma, row order."""

# Table number 3 of mozjpeg (by N. Robidoux), for luma and chroma alike.
_ROBIDOUX = (
    16, 16, 16, 18, 25, 37, 56, 85, 16, 17, 20, 27, 34, 40, 53, 75, 16, 20, 24, 31, 43, 62, 91, 135,
    18, 27, 31, 40, 53, 74, 106, 156, 25, 34, 43, 53, 69, 94, 131, 189, 37, 40, 62, 74, 94, 124, 169, 238,
    56, 53, 91, 106, 131, 169, 226, 311, 85, 75, 135, 156, 189, 238, 311, 418,
)  # fmt: skip

# Steps in files of jpegli at these qualities.
_QUALITIES = (4, 12, 30, 50, 70, 85, 95)
_JPEGLI = (
    (
        (54, 38, 64, 62, 147, 152, 169, 170, 38, 46, 62, 84, 151, 139, 177, 177, 64, 62, 85, 95, 143, 171, 165, 186,
         62, 84, 95, 148, 183, 167, 166, 202, 147, 151, 143, 183, 201, 216, 245, 241, 152, 139, 171, 167, 216, 239,
         224, 255, 169, 177, 165, 166, 245, 224, 239, 237, 170, 177, 186, 202, 241, 255, 237, 192),
        (36, 25, 43, 46, 97, 101, 112, 113, 25, 31, 42, 59, 100, 92, 117, 118, 43, 42, 61, 68, 97, 114, 110, 124, 46,
         59, 68, 99, 122, 115, 114, 134, 97, 100, 97, 122, 134, 144, 163, 160, 101, 92, 114, 115, 144, 159, 149, 178,
         112, 117, 110, 114, 163, 149, 159, 158, 113, 118, 124, 134, 160, 178, 158, 128),
        (17, 12, 25, 26, 45, 47, 52, 53, 12, 17, 25, 30, 47, 43, 55, 55, 25, 25, 32, 36, 46, 53, 51, 58, 26, 30, 36,
         46, 57, 57, 57, 63, 45, 47, 46, 57, 62, 67, 76, 75, 47, 43, 53, 57, 67, 74, 69, 83, 52, 55, 51, 57, 76, 69,
         74, 73, 53, 55, 58, 63, 75, 83, 73, 59),
        (12, 10, 20, 21, 33, 34, 37, 38, 10, 14, 20, 23, 34, 31, 39, 39, 20, 20, 24, 27, 34, 38, 37, 41, 21, 23, 27,
         33, 41, 42, 42, 45, 33, 34, 34, 41, 45, 48, 54, 54, 34, 31, 38, 42, 48, 53, 50, 59, 37, 39, 37, 42, 54, 50,
         53, 53, 38, 39, 41, 45, 54, 59, 53, 43),
        (7, 8, 14, 14, 20, 21, 23, 23, 8, 10, 14, 15, 20, 19, 24, 24, 14, 14, 16, 18, 21, 23, 22, 25, 14, 15, 18, 20,
         25, 27, 27, 27, 20, 20, 21, 25, 27, 29, 33, 33, 21, 19, 23, 27, 29, 32, 30, 36, 23, 24, 22, 27, 33, 30, 32,
         32, 23, 24, 25, 27, 33, 36, 32, 26),
        (4, 5, 9, 9, 10, 11, 12, 12, 5, 6, 9, 8, 11, 10, 12, 12, 9, 9, 9, 10, 11, 12, 12, 13, 9, 8, 10, 10, 13, 15,
         15, 14, 10, 11, 11, 13, 14, 15, 17, 17, 11, 10, 12, 15, 15, 17, 16, 19, 12, 12, 12, 15, 17, 16, 17, 17, 12,
         12, 13, 14, 17, 19, 17, 13),
        (1, 2, 3, 3, 4, 4, 4, 5, 2, 2, 3, 3, 4, 4, 5, 5, 3, 3, 3, 4, 4, 5, 4, 5, 3, 3, 4, 4, 5, 6, 6, 5, 4, 4, 4, 5,
         5, 6, 7, 6, 4, 4, 5, 6, 6, 6, 6, 7, 4, 5, 4, 6, 7, 6, 6, 6, 5, 5, 5, 5, 6, 7, 6, 5),
    ),
    (
        (52, 32, 56, 49, 118, 109, 130, 140, 32, 43, 54, 63, 108, 96, 122, 127, 56, 54, 71, 63, 95, 113, 117, 133,
         49, 63, 63, 93, 119, 94, 103, 141, 118, 108, 95, 119, 92, 141, 108, 136, 109, 96, 113, 94, 141, 121, 140,
         205, 130, 122, 117, 103, 108, 140, 221, 202, 140, 127, 133, 141, 136, 205, 202, 255),
        (35, 21, 37, 36, 78, 72, 86, 93, 21, 29, 36, 44, 72, 64, 81, 84, 37, 36, 51, 45, 64, 75, 77, 88, 36, 44, 45,
         62, 79, 65, 71, 94, 78, 72, 64, 79, 61, 94, 72, 90, 72, 64, 75, 65, 94, 81, 93, 136, 86, 81, 77, 71, 72, 93,
         147, 134, 93, 84, 88, 94, 90, 136, 134, 255),
        (16, 10, 22, 20, 36, 34, 40, 43, 10, 16, 21, 23, 33, 30, 38, 39, 22, 21, 27, 24, 31, 35, 36, 41, 20, 23, 24,
         29, 37, 32, 35, 44, 36, 33, 31, 37, 29, 44, 33, 42, 34, 30, 35, 32, 44, 38, 43, 63, 40, 38, 36, 35, 33, 43,
         68, 63, 43, 39, 41, 44, 42, 63, 63, 255),
        (12, 8, 17, 16, 26, 24, 29, 31, 8, 13, 17, 17, 24, 21, 27, 28, 17, 17, 20, 18, 22, 25, 26, 30, 16, 17, 18,
         21, 27, 24, 26, 31, 26, 24, 22, 27, 21, 31, 24, 30, 24, 21, 25, 24, 31, 27, 31, 46, 29, 27, 26, 26, 24, 31,
         49, 45, 31, 28, 30, 31, 30, 46, 45, 255),
        (7, 6, 12, 11, 16, 15, 18, 19, 6, 9, 12, 11, 15, 13, 16, 17, 12, 12, 13, 12, 14, 15, 16, 18, 11, 11, 12, 13,
         16, 15, 17, 19, 16, 15, 14, 16, 13, 19, 15, 18, 15, 13, 15, 15, 19, 16, 19, 28, 18, 16, 16, 17, 15, 19, 30,
         27, 19, 17, 18, 19, 18, 28, 27, 230),
        (4, 4, 8, 7, 8, 8, 9, 10, 4, 6, 8, 6, 8, 7, 9, 9, 8, 8, 8, 7, 7, 8, 8, 9, 7, 6, 7, 7, 8, 8, 9, 10, 8, 8, 7,
         8, 6, 10, 8, 10, 8, 7, 8, 8, 10, 9, 10, 14, 9, 9, 8, 9, 8, 10, 16, 14, 10, 9, 9, 10, 10, 14, 14, 119),
        (1, 2, 3, 3, 3, 3, 3, 4, 2, 2, 3, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 4, 3, 2, 3, 2, 3, 3, 3, 4, 3, 3, 3, 3,
         2, 4, 3, 4, 3, 3, 3, 3, 4, 3, 4, 5, 3, 3, 3, 3, 3, 4, 6, 5, 4, 3, 4, 4, 4, 5, 5, 45),
    ),
)  # fmt: skip


def log_steps(tables: QuantisationTables, quality: int) -> LogSteps:
    """Logarithms of the steps of tables at a quality; learned ones without rounding."""
    if isinstance(tables, LearnedTables):
        planes = (tables.luma, tables.chroma)
        return np.array([[np.interp(quality, tables.qualities, row) for row in plane] for plane in planes])
    if isinstance(tables, MixedTables):
        return tables.log_steps(quality)
    found: LogSteps = np.log(np.array(tables.at(quality), float))
    return found


def rounded(logarithms: LogSteps) -> tuple[Table, Table]:
    """Tables of whole steps 1..255."""
    luma, chroma = (tuple(map(int, plane)) for plane in np.exp(logarithms).round().clip(1, 255))
    return luma, chroma


def _smooth() -> LogSteps:
    rows, columns = np.mgrid[:8, :8] / 7
    radius = np.hypot(rows, columns)
    lowest = (rows + columns > 0) & (rows + columns < 2.5 / 7)
    all_ = [np.ones_like(radius), radius, radius**2, rows * columns, rows - columns, radius == 0, lowest]
    apart, _ = np.linalg.qr(np.stack([function.ravel() for function in all_], 1).astype(float))
    functions: LogSteps = (apart / apart[np.abs(apart).argmax(0), range(len(all_))]).T
    return functions


SMOOTH = _smooth()
"""Functions (7, 64) on the places of a table, row order, that changes are made of.

They are constant, radius, its square, product and difference of the frequencies, DC, the lowest frequencies;
each made orthogonal to those before it, its largest value 1."""


def smooth_change(coefficients: NDArray[np.float64]) -> LogSteps:
    """Change of the logarithms: coefficients (14,) of `SMOOTH`, luma's and then chroma's."""
    change: LogSteps = coefficients.reshape(2, len(SMOOTH)) @ SMOOTH
    return change


@dataclass(frozen=True)
class MixedTables:
    """Weighted geometric mean of tables, times a change.

    Attributes:
        parts: the tables.
        weights: one each, 1 in all.
        change: ln of factors (128,), luma's and then chroma's.
    """

    parts: tuple[QuantisationTables, ...]
    weights: tuple[float, ...]
    change: tuple[float, ...] = (0.0,) * 128
    name: str = "mixed"

    def log_steps(self, quality: int) -> LogSteps:
        """Logarithms of the steps, unrounded."""
        shares = zip(self.weights, self.parts, strict=True)
        mean = np.sum([weight * log_steps(part, quality) for weight, part in shares], 0)
        found: LogSteps = np.maximum(mean + np.reshape(self.change, (2, 64)), 0)
        return found

    def at(self, quality: int) -> tuple[Table, Table]:
        return rounded(self.log_steps(quality))


MOZJPEG = ScaledTables("mozjpeg", _ROBIDOUX, _ROBIDOUX)


def _jpegli() -> LearnedTables:
    luma, chroma = (tuple(map(tuple, np.log(plane).T.tolist())) for plane in _JPEGLI)
    return LearnedTables(_QUALITIES, luma, chroma, "jpegli")


JPEGLI = _jpegli()


def mean_of_known() -> MixedTables:
    """Geometric mean of libjpeg's tables, mozjpeg's and jpegli's."""
    return MixedTables((STANDARD, MOZJPEG, JPEGLI), (1 / 3,) * 3)


_SHARES = (0.12, 0.08, 0.10, 0.15)
"""Shares of libjpeg's tables, mozjpeg's, jpegli's and the learned ones in a spread; the rest are mixtures."""

_CONCENTRATION, _CHANGE = 0.7, 0.12


def spread(random: np.random.Generator) -> QuantisationTables:
    """Draw tables: known ones, or a mixture of them by Dirichlet weights with a smooth log-normal change."""
    known: Sequence[QuantisationTables] = (STANDARD, MOZJPEG, JPEGLI, learned())
    chosen = int(np.searchsorted(np.cumsum(_SHARES), random.random(), "right"))
    weights = random.dirichlet((_CONCENTRATION,) * len(known))
    change = smooth_change(random.normal(0, _CHANGE, 2 * len(SMOOTH)))
    if chosen < len(known):
        return known[chosen]
    return MixedTables(tuple(known), tuple(weights.tolist()), tuple(change.ravel().tolist()))
