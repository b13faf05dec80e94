"""Refinement: the decisions of a preprocessor, made better on the very picture, scored through the real encoder.

Before JPEG with 4:2:0 it is decisions on levels that are refined (`levels`), elsewhere the strength of the
preprocessor (`strength`). Files are compared by `rate_distortion.cost`, on a mix of metrics: by one alone the others
would lose. What was there before is always a candidate, so the result is never worse than it by that measure.
"""

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kcompress.encoding import Encoded, Session, preprocessed
from kcompress.errors import UnsupportedError
from kcompress.images import Image, rounded
from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module
from kcompress.metrics import METRICS
from kcompress.networks import Preprocessor
from kcompress.networks.condition import TrainingDomain
from kcompress.networks.loading import serving, shipped_weights
from kcompress.rate_distortion.cost import RateDistortionCost
from kcompress.search.selection import Selection
from kcompress.search.strength import following
from kcompress.setting import Setting

if TYPE_CHECKING:
    from kcompress.networks.rdo import Rdo
    from kcompress.search.levels import Levels

WEIGHTS = {"ssimulacra2": 0.25, "iw-ssim": 0.25, "butteraugli": 0.15, "psnr": 0.15, "ms-ssim": 0.1, "vif": 0.1}
"""Weights of the metrics by which files are compared; see `weights_for`."""

SMALLEST_SIDE = 48
"""Smallest side of a picture that is refined, pixels."""

_AROUND = (-8, 6)
"""Units of quality to the coarser and the finer setting that the codec's slope on a tile is taken from."""

JUDGED = 5
"""Points of the descent at which the real encoder is asked."""


@dataclass(frozen=True)
class Progress:
    """Progress: steps done, and steps in all."""

    done: int
    total: int


@dataclass(frozen=True)
class Refinement:
    """Report on the refinement of a picture.

    Attributes:
        of: ``levels``, ``strength``, or None where nothing could be refined.
        steps: that were taken: of the descent, or strengths that were tried.
        kept: the step whose result is kept; 0 for the file that was there before.
        strength: that is kept, from 0 to the preprocessor's own, where that was searched.
        cost: of what is kept against the file that was there before, as ln: -0.05 is worth about 5 % of its bytes.
        scores: by metric, of what is kept.
        seconds: wall time.
    """

    of: str | None
    steps: int
    kept: int
    strength: float | None
    cost: float
    scores: dict[str, float]
    seconds: float


Work = Generator[Progress, None, tuple[Encoded, Refinement]]


def decides_on_levels(setting: Setting) -> bool:
    """Whether levels can be refined: those of JPEG with chroma of half the resolution."""
    return setting.tables is not None and setting.chroma == "420"


def weights_for(image: Image) -> dict[str, float]:
    """``WEIGHTS`` of the metrics that a picture is large enough for, scaled to add up to 1."""
    side = max(SMALLEST_SIDE, min(image.height, image.width))
    fit = {name: weight for name, weight in WEIGHTS.items() if METRICS[name].smallest_side <= side}
    return {name: weight / sum(fit.values()) for name, weight in fit.items()}


def refinable(selection: Selection, setting: Setting) -> Preprocessor | None:
    """Preprocessor to refine after a selection: the winner.

    If the plain codec won and only strength can be refined, the best of the others: less of it may still gain.
    """
    if selection.preprocessor is not None or decides_on_levels(setting):
        return selection.preprocessor
    others = (candidate.preprocessor for candidate in selection.candidates if candidate.eligible)
    return next((preprocessor for preprocessor in others if preprocessor is not None), None)


def refined(
    image: Image, session: Session, preprocessor: Preprocessor | None, encoded: Encoded, *, steps: int,
    weights: Path | None = None, threads: int = 1, device: str = "cpu",
) -> Work:  # fmt: skip
    """Refine what was encoded; yields progress and returns the best file, with how it came about.

    The same input gives the same file, whatever ``threads`` is. A picture that is too small for the metrics, and
    strength without a preprocessor, are left as they are, with a note. If the preprocessor knows the setting, levels
    are decided anew; what another one makes of the picture is what is decided on.

    Args:
        image: the picture, as the codec can hold it.
        session: of this picture.
        preprocessor: to refine.
        encoded: the file that is there.
        steps: of the descent on levels, or strengths to try at most; 1 or more.
        weights: of ``rdo``, whose decisions are where levels start, in place of those that came along; without
            any, they start from the rule that it is before training.
        threads: tiles of a picture to be worked on at a time.
        device: where levels are decided on, ``cpu`` or ``cuda:N``; files of one device differ from those of another.

    Raises:
        ProgramError: the encoder failed.
        WeightsError: the weights do not fit.
    """
    start = time.perf_counter()
    on_levels = decides_on_levels(session.setting)
    try:
        cost_of = RateDistortionCost(image, session, weights_for(image))
    except UnsupportedError as error:
        note = f"too small to be refined: {error}"
        return _left(encoded, note, {}, start)
    results = _Results(encoded, cost_of)
    if on_levels:
        yield from _levels(image, session, preprocessor, results, steps, weights, threads, device)
    elif preprocessor is not None:
        yield from _strength(image, session, preprocessor, results, steps)
    else:
        return _left(encoded, "nothing to refine: no preprocessor was taken", cost_of(encoded.data).scores, start)
    refinement = Refinement(
        "levels" if on_levels else "strength", results.steps, results.kept, results.strength,
        results.best.cost - results.before.cost, results.best.scores, time.perf_counter() - start,
    )  # fmt: skip
    return results.encoded, refinement


class _Results:
    """The best file so far."""

    def __init__(self, encoded: Encoded, cost_of: RateDistortionCost) -> None:
        self.first = self.encoded = encoded
        self.cost_of = cost_of
        self.before = self.best = cost_of(encoded.data)
        self.steps = self.kept = 0
        self.strength: float | None = None

    def add(self, encoded: Encoded, step: int, strength: float | None = None) -> float:
        """The cost of one more file, which is kept if there is none better."""
        found = self.cost_of(encoded.data)
        self.steps = max(self.steps, step)
        if found.cost < self.best.cost:
            self.encoded, self.best, self.kept, self.strength = encoded, found, step, strength
        return found.cost


def _levels(
    image: Image, session: Session, preprocessor: Preprocessor | None, results: _Results, steps: int,
    weights: Path | None, threads: int, device: str,
) -> Iterator[Progress]:  # fmt: skip
    first = results.first
    levels = levels_of(image, session, preprocessor, weights, device)
    points = sorted({math.ceil(steps * number / JUDGED) for number in range(1, JUDGED + 1)})
    total = len(levels) + len(points)
    for done in levels.descend(points, threads):
        yield Progress(done, total)
    for number, step in enumerate(points, 1):
        changed = image.with_pixels(levels.pixels(step))
        encoded = session.encode(changed, first.network, first.network_seconds)
        results.add(replace(encoded, notes=first.notes), step)
        yield Progress(len(levels) + number, total)


def levels_of(
    image: Image, session: Session, preprocessor: Preprocessor | None, weights: Path | None, device: str
) -> "Levels":
    """Levels of a picture to be decided on, with what `refined` takes."""
    from kcompress.search.levels import Levels  # imports torch

    setting = session.setting
    picture = image if preprocessor is None or preprocessor.conditioned else preprocessor(image, setting)
    coarser, finer = (session.at(min(98, max(1, setting.quality + more))).setting for more in _AROUND)
    network, trained = _decider(weights, setting.codec)
    return Levels(image.pixels, picture.pixels, (coarser, setting, finer), network, trained, weights_for(image), device)


def _strength(
    image: Image, session: Session, preprocessor: Preprocessor, results: _Results, steps: int
) -> Iterator[Progress]:
    prepared, network, seconds = preprocessed(image, preprocessor, session.setting)
    changed, notes = prepared.levels, results.first.notes
    tried = 0

    def cost(share: float) -> float:
        pixels, remainder = rounded(image.pixels + np.float32(share) * (changed - image.pixels))
        candidate = image.with_pixels(pixels, None if prepared.remainder is None else remainder)
        encoded = session.encode(candidate, network, seconds)
        return results.add(replace(encoded, notes=notes), tried, share * preprocessor.strength)

    plain = replace(results.cost_of.plain, notes=notes)
    costs = {0.0: results.add(plain, 0, 0.0), 1.0: cost(1.0)}
    for tried in range(1, steps + 1):
        share = following(costs)
        if share is None:
            yield Progress(steps, steps)
            break
        costs[share] = cost(share)
        yield Progress(tried, steps)


def _decider(weights: Path | None, codec: str) -> tuple["Rdo", tuple[int, int]]:
    """The network to start from, and the qualities that it was trained for."""
    from kcompress.networks.rdo import Rdo  # imports torch

    if weights is None and "rdo" not in serving(codec):
        return Rdo(), (0, 100)
    found = weight_files.open_weights(weights or shipped_weights("rdo", codec), "rdo")
    return torch_module(found, Rdo), TrainingDomain.from_weights(found).qualities


def _left(encoded: Encoded, note: str, scores: dict[str, float], start: float) -> tuple[Encoded, Refinement]:
    encoded = replace(encoded, notes=(*encoded.notes, note))
    return encoded, Refinement(None, 0, 0, None, 0.0, scores, time.perf_counter() - start)
