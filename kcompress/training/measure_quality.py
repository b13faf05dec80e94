"""VQscore beside its judges, on pictures that it was not trained on, and what must hold of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Pixels
from kcompress.metrics import METRICS, Scorer
from kcompress.training.distortions import Distortion, compression, filtering, preprocessing, through
from kcompress.training.judges import FIRST, Judges
from kcompress.training.quality_kinds import KINDS
from kcompress.training.tasks.vqscore.task import correlation

LADDER = range(10, 96, 5)
"""JPEG qualities along which the score has to rise."""

JPEG = "jpeg q=75"

BLURRED = ("blur:s=0.6", "blur:s=0.9", "blur:s=1.2")

FILTERS = (
    "detail", "ar", "ar:n=2", "nlm:h=2", "nlm:h=3", "nlm:h=5", "nlm:h=10", "shrink:t=2", "shrink:t=8", "blur:s=0.4",
    *BLURRED, "bilateral", "bilateral:h=10", "guided", "guided:h=10", "chroma", "sharpen", "sharpen:a=0.6",
)  # fmt: skip
"""Filters of the pool that are quick, at several strengths."""

KUCHEN = {"jpeg": 75, "webp": 84, "hevc": 22}
"""Codecs that ``kuchen`` serves, at the qualities of its table."""

FIXED: Mapping[str, Sequence[Distortion]] = {
    JPEG: [compression("jpeg", 75)],
    **{name: [filtering(name)] for name in FILTERS},
    **{f"kuchen {codec}": [preprocessing("kuchen", codec)] for codec in KUCHEN},
    **{f"kuchen {codec} q={quality}": [preprocessing("kuchen", codec, quality)] for codec, quality in KUCHEN.items()},
}
"""Versions of every picture, besides one of each kind."""

SHIFTED = ("clean", JPEG, "blur:s=0.9")
"""Versions that are looked at a pixel further down and to the right, too."""

HELD = {
    "spearman": 0.93, "spearman_of_filters": 0.85, "untouched_above_jpeg_75_percent": 100, "shift_at_most": 3,
    "blurred_overrated_at_most": 6, "kuchen_overrated_at_most": 6,
}  # fmt: skip
"""Least and largest values that must hold."""


@dataclass(frozen=True)
class Rated:
    """One picture in all versions.

    Attributes:
        scores: VQscore, by version.
        judged: scores of the judges, by version.
        shifts: by how much VQscore changes with a shift by one pixel, by version.
        climbed: VQscore along `LADDER`.
    """

    scores: Mapping[str, float]
    judged: Mapping[str, Mapping[str, float]]
    shifts: Mapping[str, float]
    climbed: Sequence[float]


def versions(seed: Sequence[int]) -> dict[str, list[Distortion]]:
    """Steps of every version of a picture, by name: one of each kind, as the seed says, and the fixed ones."""
    kinds = {kind: steps(np.random.default_rng([*seed, number])) for number, (kind, steps) in enumerate(KINDS.items())}
    return kinds | {name: list(steps) for name, steps in FIXED.items()}


def rated(clean: Pixels, seed: Sequence[int], judges: Sequence[str]) -> Rated:
    """Rate a picture (H, W, 3) in all versions."""
    judge, score = Scorer(clean, judges), METRICS["vqscore"].scorer(clean)
    scores, judged, shifts = {}, {}, {}
    for name, steps in versions(seed).items():
        pixels = through(clean, steps)
        scores[name], judged[name] = score(pixels), judge(pixels)
        if name in SHIFTED:
            shifts[name] = shift(pixels)
    climbed = [score(compression("jpeg", quality).apply(clean)) for quality in LADDER]
    return Rated(scores, judged, shifts, climbed)


def shift(pixels: Pixels) -> float:
    """Change of VQscore with a shift by one pixel down and to the right."""
    here, there = (np.ascontiguousarray(part) for part in (pixels[:-1, :-1], pixels[1:, 1:]))
    score = METRICS["vqscore"].scorer(here)
    return abs(score(here) - score(there))


def figures(each: Sequence[Rated], judges: Judges) -> dict[str, Any]:
    """Figures of the card for some pictures."""

    def table(chosen: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """VQscore, mean of the judges and first judge, (pictures, versions) each."""
        judged = np.array([[[one.judged[name][judge] for judge in judges.names] for name in chosen] for one in each])
        scores = np.array([[one.scores[name] for name in chosen] for one in each])
        return scores, judges.mean(judged), judged[..., judges.names.index(FIRST)]

    def overrated(chosen: Sequence[str]) -> dict[str, float]:
        scores, _, first = table(chosen)
        return {name: round(float(value), 2) for name, value in zip(chosen, (scores - first).mean(axis=0), strict=True)}

    scores, mean, first = table([*KINDS])
    filtered, filtered_mean, _ = table(FILTERS)
    untouched, coded = table(["clean", JPEG])[0].T
    shifts = [change for one in each for change in one.shifts.values()]
    kuchen = [name for name in FIXED if name.startswith("kuchen")]
    return {
        "must_hold": dict(HELD),
        "found": {
            "spearman": round(correlation(scores, mean), 4),
            "spearman_of_filters": round(correlation(filtered, filtered_mean), 4),
            "untouched_above_jpeg_75_percent": round(100 * float((untouched > coded).mean()), 1),
            "shift_at_most": round(max(shifts), 2),
            "blurred_overrated_at_most": max(overrated(BLURRED).values()),
            "kuchen_overrated_at_most": max(overrated(kuchen).values()),
        },
        "vqscore_less_ssimulacra2": overrated([*BLURRED, *kuchen, "nlm:h=3", "ar", "detail"]),
        "shift_mean": round(float(np.mean(shifts)), 2),
        "spearman_with_the_judges": {
            "within_a_picture": round(
                float(np.mean([correlation(*pair) for pair in zip(scores, mean, strict=True)])), 4
            ),
            **{
                kind: round(correlation(scores[:, column], mean[:, column]), 3)
                for column, kind in enumerate(KINDS)
                if np.ptp(mean[:, column]) > 0
            },
        },
        "spearman_with_ssimulacra2": round(correlation(scores, first), 4),
        "jpeg_ladder": _ladder(np.array([one.climbed for one in each])),
        "clean_pictures": {"mean": round(float(untouched.mean()), 1), "least": round(float(untouched.min()), 1)},
    }


def _ladder(climbs: NDArray[np.float64]) -> dict[str, Any]:
    ten = 10 // LADDER.step
    rises = climbs[:, ten:] - climbs[:, :-ten]
    return {
        "qualities": f"{LADDER[0]}..{LADDER[-1]}",
        "pairs_10_apart_that_rise_percent": round(100 * float((rises > 0).mean()), 1),
        "mean_scores": {str(q): round(float(s), 1) for q, s in zip(LADDER, climbs.mean(axis=0), strict=True)},
    }
