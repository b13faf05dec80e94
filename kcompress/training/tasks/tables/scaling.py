"""From changes of tables at some qualities to a function of quality whose files are as good as libjpeg's."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.codecs.quantisation import QuantisationTables
from kcompress.setting import Setting
from kcompress.training.log_tables import LogSteps, log_steps, rounded, smooth_change
from kcompress.training.tasks.tables.coding import Coder, Trial
from kcompress.training.tasks.tables.cost import ANCHOR, plain

NODES = (5, 10, 18, 25, 35, 45, 55, 65, 73, 80, 86, 92, 97)
"""Qualities at which the scale is found."""

_SMOOTH_FROM = 25
_OFFSETS, _CLOSER = (-0.2, 0.0, 0.2), (-0.05, 0.05)
_FARTHEST = 0.5

Vector = NDArray[np.float64]
"""Coefficients (14,) of smooth changes."""

Function = Callable[[int], LogSteps]
"""Quality -> logarithms of steps."""


def setting(quality: int, logarithms: LogSteps) -> Setting:
    """Setting of JPEG at a quality, with tables."""
    return replace(plain(quality), tables=rounded(logarithms), tables_name="learned")


def changed(start: QuantisationTables, coefficients: Mapping[int, Vector]) -> Function:
    """Tables to start from times the smooth changes that were found at some qualities, linear in between."""
    known = sorted(coefficients)
    rows = np.array([coefficients[quality] for quality in known], float)

    def at(quality: int) -> LogSteps:
        here = np.array([np.interp(quality, known, column) for column in rows.T])
        return np.maximum(log_steps(start, quality) + smooth_change(here), 0)

    return at


def scaled(shape: Function, coder: Coder) -> tuple[dict[int, LogSteps], dict[int, float]]:
    """Log steps by quality, and the scales, as ln, by which files have libjpeg's mean ``ANCHOR`` at each quality.

    No step grows with quality, and at 100 all are 1.
    """
    aims = coder.measure([Trial(plain(quality), False) for quality in NODES], (ANCHOR,))[:, :, 1].mean(1)
    first = {quality: _OFFSETS for quality in NODES}
    scales = _solved(shape, coder, aims, first)
    second = {quality: tuple(scales[quality] + each for each in _CLOSER) for quality in NODES}
    scales = _smoothed(_solved(shape, coder, aims, second))
    nodes = {quality: np.maximum(shape(quality) + scales[quality], 0) for quality in NODES}
    nodes |= {1: np.maximum(shape(1) + scales[NODES[0]], 0), 100: np.zeros((2, 64))}
    falling = sorted(nodes, reverse=True)
    for finer, coarser in itertools.pairwise(falling):
        nodes[coarser] = np.maximum(nodes[coarser], nodes[finer])
    return dict(sorted(nodes.items())), scales


def _solved(
    shape: Function, coder: Coder, aims: Sequence[float], offsets: Mapping[int, Sequence[float]]
) -> dict[int, float]:
    """Scales at which a polynomial through the scores at these offsets meets libjpeg's, the aims."""
    trials = [Trial(setting(quality, shape(quality) + each), True) for quality in NODES for each in offsets[quality]]
    measures = coder.measure(trials, (ANCHOR,))[:, :, 1].mean(1)
    found, place = {}, 0
    for quality, aim in zip(NODES, aims, strict=True):
        here = np.array(offsets[quality])
        scores = measures[place : place + len(here)] - aim
        place += len(here)
        roots = np.roots(np.polyfit(here, scores, len(here) - 1))
        real = [float(root.real) for root in roots if abs(root.imag) < 1e-9]
        middle = float(here.mean())
        nearest = min(real, key=lambda root: abs(root - middle), default=float(here[np.abs(scores).argmin()]))
        found[quality] = float(np.clip(nearest, middle - _FARTHEST, middle + _FARTHEST))
    return found


def _smoothed(scales: Mapping[int, float]) -> dict[int, float]:
    """Scales averaged with their neighbours; the coarsest, where they change fast, stay."""
    values = np.array([scales[quality] for quality in NODES])
    around = np.pad(values, 1, mode="edge")
    smooth = (around[:-2] + 2 * values + around[2:]) / 4
    kept = np.where(np.array(NODES) >= _SMOOTH_FROM, smooth, values)
    return dict(zip(NODES, kept.tolist(), strict=True))


def written(card: Mapping[str, Any], nodes: Mapping[int, LogSteps]) -> str:
    """The file that ``codecs.quantisation`` reads: a card, the qualities, and a line of log steps for each."""
    planes = {
        name: ",\n".join(f"   {json.dumps([round(float(step), 4) for step in logs[plane]])}" for logs in nodes.values())
        for plane, name in enumerate(("luma", "chroma"))
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in card.items()]
    lines.append(f' "qualities": {json.dumps(list(nodes))}')
    tables = ",\n".join(f'  "{name}": [\n{rows}\n  ]' for name, rows in planes.items())
    return "{\n" + ",\n".join([*lines, f' "log_steps": {{\n{tables}\n }}']) + "\n}\n"
