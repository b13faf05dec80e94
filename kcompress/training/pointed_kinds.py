"""Kinds of distortions that a score without reference judges worst: softness, and filters that leave no trace.

Beside them the pool's quick filters alone, one kind each: a score has to know them apart. And what a preprocessor meets
and does: pictures as cameras publish them, filtered, and coded again; and what many filters do before the same codec.
"""

from collections.abc import Callable

import numpy as np

from kcompress.training.distortions import Distortion, Random, blur, compression, filtering, half, noise, preprocessing
from kcompress.training.quality_kinds import Kinds


def _codec(random: Random) -> Distortion:
    """JPEG mostly, or WebP, as fine as photographs are saved."""
    return compression("jpeg" if random.random() < 0.7 else "webp", int(random.integers(60, 96)))


def _blur(random: Random) -> Distortion:
    return blur(float(random.uniform(0.4, 1.5)))


def _restored(random: Random) -> list[Distortion]:
    """A fixed series of filters that once pleased the score as `kuchen` did."""
    steps = [blur(float(random.uniform(0.5, 1.3))), filtering("ar")]
    return [*steps, compression("jpeg", int(random.integers(60, 91)))] if random.random() < 0.7 else steps


def _kuchen(random: Random) -> list[Distortion]:
    """Alone, or before WebP or HEVC."""
    codec = str(random.choice(["jpeg", "webp", "hevc"]))
    quality = {"webp": random.integers(60, 94), "hevc": random.integers(17, 30)}.get(codec)
    return [preprocessing("kuchen", codec, int(quality) if quality and random.random() < 0.5 else None)]


def _denoising(random: Random) -> Distortion:
    return filtering(f"nlm:h={np.exp(random.uniform(0.4, 2.4)):.1f}")


def _smoothing(random: Random) -> Distortion:
    if random.random() < 0.5:
        return filtering(f"guided:s={random.integers(1, 5)}:h={random.uniform(2, 14):.1f}")
    return filtering(f"bilateral:s={random.uniform(1, 3):.1f}:h={random.uniform(2, 14):.1f}")


def _thinning(random: Random) -> Distortion:
    if random.random() < 0.6:
        return filtering(f"shrink:t={np.exp(random.uniform(0, 3)):.1f}")
    return filtering(f"chroma:s={random.uniform(0.5, 3):.2f}")


def _restoring(random: Random) -> Distortion:
    return filtering(f"ar:n={random.integers(1, 3)}")


def _sharpening(random: Random) -> Distortion:
    if random.random() < 0.3:
        return filtering("detail")
    return filtering(f"sharpen:a={np.exp(random.uniform(-2, 0)):.2f}:s={random.uniform(0.6, 1.6):.2f}")


def _filtered(random: Random) -> list[Distortion]:
    filters = (_denoising, _smoothing, _thinning, _restoring, _sharpening)
    return [filters[int(random.integers(len(filters)))](random), _codec(random)]


POINTED: Kinds = {
    "clean": lambda random: [],
    "soft": lambda random: [_blur(random)],
    "soft, coded": lambda random: [_blur(random), _codec(random)],
    "soft, restored": _restored,
    "kuchen, jpeg": lambda random: [preprocessing("kuchen", "jpeg", int(random.integers(60, 91)))],
    "kuchen": _kuchen,
    "denoised": lambda random: [_denoising(random)],
    "smoothed": lambda random: [_smoothing(random)],
    "thinned": lambda random: [_thinning(random)],
    "restored": lambda random: [_restoring(random)],
    "sharpened": lambda random: [_sharpening(random)],
    "coded": lambda random: [_codec(random)],
    "filtered, coded": _filtered,
}
"""Distortions of each region, once each, as `quality_kinds.KINDS`."""


def _log_uniform(random: Random, low: float, high: float) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _pooled(random: Random, name: str, *parameters: str) -> list[Distortion]:
    """A filter with parameters, each of which keeps its default half the time."""
    return [filtering(":".join([name, *(each for each in parameters if random.random() < 0.5)]))]


POOL: Kinds = {
    "clean": lambda random: [],
    "detail": lambda random: [filtering("detail")],
    "ar": lambda random: _pooled(random, "ar", "n=2"),
    "nlm": lambda random: [filtering(f"nlm:h={_log_uniform(random, 1.5, 14):.1f}")],
    "shrink": lambda random: [filtering(f"shrink:t={_log_uniform(random, 1, 20):.1f}")],
    "gaussian": lambda random: [filtering(f"blur:s={random.uniform(0.35, 1.5):.2f}")],
    "bilateral": lambda random: _pooled(
        random, "bilateral", f"s={random.uniform(1, 3):.1f}", f"h={_log_uniform(random, 2, 16):.1f}"
    ),
    "guided": lambda random: _pooled(
        random, "guided", f"s={random.integers(1, 5)}", f"h={_log_uniform(random, 2, 16):.1f}"
    ),
    "chroma": lambda random: _pooled(random, "chroma", f"s={random.uniform(0.5, 3):.2f}"),
    "sharpen": lambda random: _pooled(
        random, "sharpen", f"a={_log_uniform(random, 0.12, 1):.2f}", f"s={random.uniform(0.6, 1.6):.2f}"
    ),
}
"""The pool's quick filters, each at strengths around its default."""


def published(random: Random) -> list[Distortion]:
    """As a camera saves a picture: some noise, and a fine JPEG of it."""
    sigma, grain = _log_uniform(random, 0.6, 7), float(random.choice([0, 0.6, 1.2]))
    return [noise(sigma, grain, int(random.integers(2**31))), compression("jpeg", int(random.integers(70, 96)))]


def _wide(random: Random) -> Distortion:
    return filtering(f"guided:s={round(_log_uniform(random, 3, 24))}:h={_log_uniform(random, 2, 12):.1f}")


def _cleaned(random: Random) -> list[Distortion]:
    """Filters as a preprocessor uses them on a published picture; guided ones of large radius mostly."""
    if random.random() < 0.5:
        return [_wide(random)]
    filters = (_denoising, _smoothing, _thinning, _restoring)
    first = filters[int(random.integers(len(filters)))](random)
    return [first, _wide(random)] if random.random() < 0.2 else [first]


def _mild(random: Random) -> Distortion:
    if random.random() < 0.5:
        return blur(float(random.uniform(0.25, 0.6)))
    return filtering(f"chroma:s={random.uniform(0.5, 3):.2f}")


PUBLISHED: Kinds = {
    "clean": lambda random: [],
    "published": published,
    "published, coded": lambda random: [*published(random), _codec(random)],
    "published, wide": lambda random: [*published(random), _wide(random)],
    "published, cleaned": lambda random: [*published(random), *_cleaned(random)],
    "published, cleaned, coded 1": lambda random: [*published(random), *_cleaned(random), _codec(random)],
    "published, cleaned, coded 2": lambda random: [*published(random), *_cleaned(random), _codec(random)],
    "published, cleaned, coded 3": lambda random: [*published(random), *_cleaned(random), _codec(random)],
    "wide": lambda random: [_wide(random)],
    "wide, coded 1": lambda random: [_wide(random), _codec(random)],
    "wide, coded 2": lambda random: [_wide(random), _codec(random)],
    "coded again": lambda random: [_codec(random)],
    "mild": lambda random: [_mild(random)],
    "mild, coded": lambda random: [_mild(random), _codec(random)],
}
"""Pictures as cameras publish them, and guided filters wider than those of `POOL`, before a codec."""


Steps = Callable[[Random], list[Distortion]]


def _paired(filtered: Steps, finer: bool = False) -> Steps:
    """A filter behind a camera, or none, and before a codec; both are drawn first, so that a seed decides on them."""

    def steps(random: Random) -> list[Distortion]:
        before = published(random) if random.random() < 0.65 else []
        codec = str(random.choice(["jpeg", "webp", "hevc"], p=[0.7, 0.15, 0.15]))
        quality = int(random.integers(18, 37) if codec == "hevc" else random.integers(40, 93))
        better = quality - 4 if codec == "hevc" else quality + 8
        return [*before, *filtered(random), compression(codec, better if finer else quality)]

    return steps


def _guided(random: Random, *radii: int) -> Distortion:
    return filtering(f"guided:s={random.choice(radii)}:h={_log_uniform(random, 3, 14):.1f}")


def _denoised(random: Random) -> Distortion:
    if random.random() < 0.5:
        return filtering(f"nlm:h={_log_uniform(random, 1.5, 7):.1f}")
    return filtering(f"bilateral:h={_log_uniform(random, 3, 14):.1f}")


PAIRED: Kinds = {
    "clean": lambda random: [],
    "coded": _paired(lambda random: []),
    "finer": _paired(lambda random: [], finer=True),
    "thinned 1": _paired(lambda random: [filtering(f"shrink:t={random.uniform(1.2, 3):.1f}")]),
    "thinned 2": _paired(lambda random: [filtering(f"shrink:t={random.uniform(3, 7):.1f}")]),
    "guided 1": _paired(lambda random: [_guided(random, 2)]),
    "guided 2": _paired(lambda random: [_guided(random, 4)]),
    "guided 3": _paired(lambda random: [_guided(random, 8)]),
    "guided 4": _paired(lambda random: [_guided(random, 8, 12, 16)]),
    "half guided": _paired(lambda random: [half(_guided(random, 2, 4, 8))]),
    "a little soft": _paired(lambda random: [blur(float(random.uniform(0.3, 0.7)))]),
    "colours smoothed": _paired(lambda random: [filtering(f"chroma:s={random.uniform(0.8, 3):.1f}")]),
    "noise taken": _paired(lambda random: [_denoised(random)]),
    "artefacts taken": _paired(lambda random: [filtering("ar")]),
}
"""Filters before one codec, after one camera. All kinds of a region are drawn from one seed, so that these two serve
all of them, but for ``finer``. So their scores differ by the filters alone."""
