"""Pictures of every quality with their scores by a full-reference metric, from which VQscore learns."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kcompress.images import Pixels, read
from kcompress.metrics import METRICS
from kcompress.training.distortions import (
    Distortion,
    Random,
    blur,
    compression,
    filtering,
    noise,
    random_compression,
    resampling,
    sharpening,
    through,
)
from kcompress.training.photos import REGION

SIDE = REGION
"""Side of a region, pixels."""

KNEE = 20.0
"""SSIMULACRA2 below which targets are pressed together, towards 0."""


def target(ssimulacra2: NDArray[np.float64]) -> NDArray[np.float64]:
    """SSIMULACRA2 (100 down to minus hundreds) on a scale 0..100: the same above 20, exponential below, smooth."""
    low = np.minimum(ssimulacra2, KNEE)
    return np.where(ssimulacra2 >= KNEE, ssimulacra2, KNEE * np.exp(low / KNEE - 1))


def _filter(random: Random) -> Distortion:
    """One of the pool's; ``nlm`` at most as strong as anybody would want it."""
    weak, strong = random.uniform(2, 6), random.uniform(3, 10)
    return filtering(str(random.choice(["detail", f"nlm:h={weak:.1f}", f"nlm:h={strong:.1f}"])))


def _noise(random: Random) -> Distortion:
    return _grain(float(np.exp(random.uniform(0.3, 3.0))), random)


def _grain(sigma: float, random: Random) -> Distortion:
    return noise(sigma, float(random.choice([0, 0.6, 1.2])), int(random.integers(2**31)))


def _blur(random: Random) -> Distortion:
    """Out of focus, or made smaller and large again."""
    if random.random() < 0.5:
        return blur(float(random.uniform(0.4, 3)))
    return resampling(float(random.uniform(1.2, 4)))


def _sharpening(random: Random) -> Distortion:
    return sharpening(int(random.integers(30, 200)), float(random.uniform(0.5, 2.2)))


def _camera(random: Random) -> Distortion:
    """A distortion that comes before any codec."""
    kinds = [_noise, _blur, _sharpening]
    return kinds[int(random.integers(len(kinds)))](random)


def source(random: Random) -> list[Distortion]:
    """Steps that make a sharp, downscaled photograph like any other: a few get a little soft, a few a little noisy.

    Weakly, for what cannot be told from damage would teach the network to forgive damage.
    """
    steps = []
    if random.random() < 0.15:
        soft = random.random() < 0.5
        steps.append(blur(float(random.uniform(0.35, 0.6))) if soft else resampling(float(random.uniform(1.1, 1.4))))
    if random.random() < 0.1:
        steps.append(_grain(float(random.uniform(0.5, 1.5)), random))
    return steps


def _twice(random: Random) -> list[Distortion]:
    return [random_compression(random), random_compression(random)]


def _mixture(random: Random) -> list[Distortion]:
    steps = [_camera(random) if random.random() < 0.6 else _filter(random)]
    steps.append(random_compression(random))
    if random.random() < 0.3:
        steps.append(_filter(random))
    return steps


KINDS: dict[str, Callable[[Random], list[Distortion]]] = {
    "clean": lambda random: [],
    "jpeg 1": lambda random: [compression("jpeg", int(random.integers(5, 40)))],
    "jpeg 2": lambda random: [compression("jpeg", int(random.integers(40, 75)))],
    "jpeg 3": lambda random: [compression("jpeg", int(random.integers(75, 98)))],
    "jpeg 4": lambda random: [random_compression(random, "jpeg")],
    "webp": lambda random: [random_compression(random, "webp")],
    "hevc": lambda random: [random_compression(random, "hevc")],
    "twice": _twice,
    "filter": lambda random: [_filter(random)],
    "noise": lambda random: [_noise(random)],
    "mixture 1": _mixture,
    "mixture 2": _mixture,
    "restored": lambda random: [random_compression(random), filtering("ar")],
    "filtered": lambda random: [filtering("ar"), _filter(random), random_compression(random)],
    "blur": lambda random: [_blur(random)],
    "sharpening": lambda random: [_sharpening(random)],
}
"""Distortions of each region, once each; a number that the filters know is drawn anew every time."""


@dataclass(frozen=True)
class QualityData:
    """Distorted regions on disk.

    Attributes:
        pixels: (regions, kinds, SIDE, SIDE, 3) uint8.
        scores: (regions, kinds) SSIMULACRA2; NaN where a region is not made yet.
        pictures: (regions,) index of the photograph each comes from.
    """

    pixels: NDArray[np.uint8]
    scores: NDArray[np.float64]
    pictures: NDArray[np.int64]


def prepare(
    photos: Sequence[Path], folder: Path, regions: int, seed: int, kinds: Sequence[str] = tuple(KINDS)
) -> Iterator[tuple[int, QualityData]]:
    """Make what is missing of the data, region by region; yields the number of regions that are done.

    ``regions`` are cut from each photograph. An interrupted preparation goes on in the folder; kinds that are left out
    are made another time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (len(photos) * regions, len(KINDS))
    data = QualityData(
        _array(folder / "pixels.npy", np.uint8, (*shape, SIDE, SIDE, 3)),
        _array(folder / "scores.npy", np.float64, shape),
        np.repeat(np.arange(len(photos)), regions),
    )
    columns = [[*KINDS].index(kind) for kind in kinds]
    for number, photo in enumerate(photos):
        own = range(number * regions, (number + 1) * regions)
        if not np.isnan(data.scores[own.start : own.stop, columns]).any():
            continue
        picture = read(photo.read_bytes(), name=str(photo)).pixels
        for region in own:
            random = np.random.default_rng([seed, region])
            top, left = (8 * int(random.integers((length - SIDE) // 8 + 1)) for length in picture.shape[:2])
            clean = through(np.ascontiguousarray(picture[top : top + SIDE, left : left + SIDE]), source(random))
            versions = distorted(clean, [seed, region], kinds)
            for column, (_, pixels, score) in zip(columns, versions, strict=True):
                data.pixels[region, column] = pixels
                data.scores[region, column] = score
        yield own.stop, data
    yield shape[0], data


def _array(path: Path, kind: type, shape: tuple[int, ...]) -> NDArray[Any]:
    """An array in a file; a new one is full of NaN, or of black."""
    if path.exists():
        return np.lib.format.open_memmap(path, "r+")
    array = np.lib.format.open_memmap(path, "w+", kind, shape)
    if kind is np.float64:
        array[:] = np.nan
    return array


def distorted(clean: Pixels, seed: Sequence[int], kinds: Sequence[str]) -> Iterator[tuple[str, Pixels, float]]:
    """A region in several ways: (kind, pixels, SSIMULACRA2); the seed and the kind alone decide."""
    scorer = METRICS["ssimulacra2"].scorer(clean)
    for kind in kinds:
        random = np.random.default_rng([*seed, [*KINDS].index(kind)])
        pixels = through(clean, KINDS[kind](random))
        yield kind, pixels, scorer(pixels)
