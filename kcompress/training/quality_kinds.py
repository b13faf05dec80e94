"""Kinds of distortions by which VQscore learns what is damage, and what a photograph may be like before."""

from collections.abc import Callable, Mapping

import numpy as np

from kcompress.training.distortions import (
    Distortion,
    Random,
    blur,
    compression,
    darkening,
    filtering,
    grey,
    median,
    noise,
    preprocessing,
    random_compression,
    resampling,
    sharpening,
)

Kinds = Mapping[str, Callable[[Random], list[Distortion]]]
"""Steps by name of the distortion, drawn anew every time."""


def _filter(random: Random) -> Distortion:
    """One of the pool's that are quick, at a strength that anybody would want, or one of its kin."""
    return (
        lambda: filtering("detail"),
        lambda: filtering(f"ar:n={random.integers(1, 3)}"),
        lambda: filtering(f"shrink:t={np.exp(random.uniform(0, 3.5)):.1f}"),
        lambda: filtering(f"blur:s={random.uniform(0.35, 1.3):.2f}"),
        lambda: _smoothing(random),
        lambda: _smoothing(random),
    )[int(random.integers(6))]()


def _smoothing(random: Random) -> Distortion:
    """Denoising that keeps edges."""
    kind = random.random()
    if kind < 0.6:
        return filtering(f"nlm:h={np.exp(random.uniform(0.7, 2.4)):.1f}")
    if kind < 0.9:
        return filtering(f"bilateral:s={random.uniform(1, 3):.1f}:h={random.uniform(2.7, 13.3):.1f}")
    return median(3)


def _gentle(random: Random) -> Distortion:
    """One of the pool's filters that change little."""
    return filtering((
        f"guided:s={random.integers(1, 5)}:h={random.uniform(2, 14):.1f}",
        f"bilateral:s={random.uniform(1, 3):.1f}:h={random.uniform(2, 10):.1f}",
        f"chroma:s={random.uniform(0.6, 3):.2f}",
        f"sharpen:a={random.uniform(0.15, 0.8):.2f}:s={random.uniform(0.6, 1.6):.2f}",
    )[int(random.integers(4))])  # fmt: skip


def _noise(random: Random) -> Distortion:
    return _grain(float(np.exp(random.uniform(0.3, 3.0))), random)


def _grain(sigma: float, random: Random) -> Distortion:
    return noise(sigma, float(random.choice([0, 0.6, 1.2])), int(random.integers(2**31)))


def _blur(random: Random) -> Distortion:
    """Out of focus, or made smaller and large again."""
    if random.random() < 0.5:
        return blur(float(random.uniform(0.4, 3)))
    return resampling(float(random.uniform(1.2, 4)))


def _softness(random: Random) -> Distortion:
    """Softening, by which a preprocessor might please a score."""
    return blur(float(random.uniform(0.4, 1.3))) if random.random() < 0.6 else _smoothing(random)


def _sharpening(random: Random) -> Distortion:
    return sharpening(int(random.integers(30, 200)), float(random.uniform(0.5, 2.2)))


def _camera(random: Random) -> Distortion:
    """A distortion that comes before any codec."""
    kinds = [_noise, _blur, _sharpening]
    return kinds[int(random.integers(len(kinds)))](random)


def source(random: Random) -> list[Distortion]:
    """Steps that make a sharp photograph like any other: a few get a little soft, noisy or dark, a few lose all colour.

    Weakly, for what cannot be told from damage would teach the network to forgive damage.
    """
    steps = []
    if random.random() < 0.06:
        soft = random.random() < 0.5
        steps.append(blur(float(random.uniform(0.35, 0.6))) if soft else resampling(float(random.uniform(1.1, 1.4))))
    if random.random() < 0.08:
        steps.append(darkening(float(random.uniform(1.3, 2.5))))
    if random.random() < 0.1:
        steps.append(_grain(float(random.uniform(0.5, 2)), random))
    if random.random() < 0.06:
        steps.append(grey())
    return steps


def _twice(random: Random) -> list[Distortion]:
    return [random_compression(random), random_compression(random)]


def _mixture(random: Random) -> list[Distortion]:
    steps = [_camera(random) if random.random() < 0.6 else _filter(random)]
    steps.append(random_compression(random))
    if random.random() < 0.3:
        steps.append(_filter(random))
    return steps


def _kuchen(random: Random) -> list[Distortion]:
    """The network that learned to please a score: alone, or before its codec."""
    codec = str(random.choice(["jpeg", "webp", "hevc"]))
    if random.random() < 0.3:
        return [preprocessing("kuchen", codec)]
    quality = random.integers(16, 36) if codec == "hevc" else random.integers(40, 94)
    return [preprocessing("kuchen", codec, int(quality))]


def _preprocessed(random: Random) -> list[Distortion]:
    """The preprocessors that ship, before the codecs that they are for."""
    network, codec = (("rdo", "jpeg"), ("rdo", "jpeg"), ("feedback", "webp"), ("feedback", "hevc"), ("shrink", "webp"))[
        int(random.integers(5))
    ]
    quality = random.integers(20, 42) if codec == "hevc" else random.integers(15, 95)
    return [preprocessing(network, codec, int(quality))]


KINDS: Kinds = {
    "clean": lambda random: [],
    "jpeg 1": lambda random: [compression("jpeg", int(random.integers(5, 40)))],
    "jpeg 2": lambda random: [compression("jpeg", int(random.integers(40, 75)))],
    "jpeg 3": lambda random: [compression("jpeg", int(random.integers(75, 98)))],
    "webp": lambda random: [random_compression(random, "webp")],
    "hevc": lambda random: [random_compression(random, str(random.choice(["hevc", "bpg"])))],
    "avif": lambda random: [random_compression(random, "avif")],
    "twice": _twice,
    "filter 1": lambda random: [_filter(random)],
    "filter 2": lambda random: [_filter(random)],
    "noise": lambda random: [_noise(random)],
    "mixture 1": _mixture,
    "mixture 2": _mixture,
    "restored": lambda random: [random_compression(random), filtering("ar")],
    "filtered": lambda random: [filtering("ar"), _filter(random), random_compression(random)],
    "soft": lambda random: [blur(float(random.uniform(0.4, 1.3)))],
    "blur": lambda random: [_blur(random)],
    "softened 1": lambda random: [_softness(random), random_compression(random)],
    "softened 2": lambda random: [_softness(random), random_compression(random)],
    "sharpening": lambda random: [_sharpening(random)],
    "kuchen 1": _kuchen,
    "kuchen 2": _kuchen,
    "preprocessed": _preprocessed,
    "filter 3": lambda random: [_gentle(random)],
}
"""Distortions of each region, once each; a number that the filters know is drawn anew every time."""

SOFTENING = (
    "soft", "kuchen 1", "kuchen 2", "soft, coded", "soft, restored", "kuchen, jpeg", "gaussian", "nlm", "wide",
    "wide, coded 1", "wide, coded 2", "mild", "mild, coded",
)  # fmt: skip
"""Kinds that a score without reference is easily pleased by."""
