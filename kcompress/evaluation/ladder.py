"""``--quality auto``: a ladder of qualities that spans bad to very good on the data set at hand."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from kcompress.codecs import CODECS, Codec, decode
from kcompress.encoding import encode
from kcompress.evaluation.sweep import one_thread
from kcompress.images import read
from kcompress.metrics import Scorer

LOWEST, HIGHEST = 30.0, 90.0
"""SSIMULACRA2 of the ends: from low quality to visually lossless."""

STEPS = 7
SAMPLE = 4
"""Pictures looked at, evenly spread over the data set."""


def ladder(folder: Path, pictures: Sequence[str], codec_name: str) -> tuple[int, ...]:
    """Qualities of a codec, worst first, whose mean SSIMULACRA2 runs from about 30 to about 90."""
    chosen = [pictures[i] for i in sorted({round(x) for x in np.linspace(0, len(pictures) - 1, SAMPLE)})]
    images = [
        read((folder / name).read_bytes(), name=name, metadata="none", background=(255, 255, 255)) for name in chosen
    ]
    sample = [(image, Scorer(image.pixels, ("ssimulacra2",))) for image in images]
    codec = CODECS[codec_name]
    one_thread()

    @cache  # both ends begin their search in the middle
    def score(quality: int) -> float:
        setting = codec.setting(quality)
        scores = [scorer(decode(encode(image, codec, setting).data).pixels)["ssimulacra2"] for image, scorer in sample]
        return float(np.mean(scores))

    worst, best = (_quality_for(target, codec, score) for target in (LOWEST, HIGHEST))
    return tuple(dict.fromkeys(round(float(q)) for q in np.linspace(worst, best, STEPS)))


def _quality_for(target: float, codec: Codec, score: Callable[[int], float]) -> int:
    """The coarsest quality that reaches a score, by bisection; the finest there is if none does."""
    step = 1 if codec.quality.finest > codec.quality.coarsest else -1
    coarse, fine = 0, abs(codec.quality.finest - codec.quality.coarsest)
    while coarse < fine:
        middle = (coarse + fine) // 2
        if score(codec.quality.coarsest + step * middle) >= target:
            fine = middle
        else:
            coarse = middle + 1
    return codec.quality.coarsest + step * fine
