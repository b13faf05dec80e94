"""Patches of photographs, plain and preprocessed, and what the real encoder makes of them.

A simulator serves the training of preprocessors, so it is asked what *changes* if a picture is changed a little: every
patch is encoded in several versions at one quality.
"""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as serialised
from torch import Tensor

from kcompress import storage
from kcompress.blockdct import strips_shrunk, thresholds
from kcompress.codecs import CODECS
from kcompress.dataset import DataSet, digest
from kcompress.images import Pixels, read_canonical
from kcompress.inference.batches import tensor
from kcompress.proxies.straight_through import encode_decode
from kcompress.training.crops import holds, random_square
from kcompress.training.distortions import Random, blur, noise, sharpening
from kcompress.training.events import Prepared
from kcompress.training.photos import prepared, too_small
from kcompress.training.tasks.proxies.recipe import ProxyRecipe
from kcompress.workers import one_thread, workers

PLACE = "pairs"
"""In the folder of the checkpoints; a file a picture."""


@dataclass(frozen=True)
class CodedPatches:
    """Patches before and after the codec.

    Attributes:
        pictures, decoded: (N, V, side, side, 3) uint8, in V versions of which the first is the patch itself.
        bpp: (N, V), as `proxies.straight_through.encode_decode` counts them.
        qualities: (N,), on the codec's scale.
    """

    pictures: Tensor
    decoded: Tensor
    bpp: Tensor
    qualities: Tensor

    def batch(self, codec: str, chosen: "np.typing.NDArray[np.int64]") -> "Batch":
        """Put some of the patches into a batch."""
        index = torch.from_numpy(chosen)
        versions = self.bpp.shape[1]
        scale = CODECS[codec].quality
        coarseness = torch.tensor([scale.coarseness(int(quality)) for quality in self.qualities[index]])
        pictures, decoded = (tensor(list(part[index].flatten(0, 1).numpy())) for part in (self.pictures, self.decoded))
        return Batch(pictures, decoded, self.bpp[index].flatten(), coarseness.repeat_interleave(versions), versions)


class Batch(NamedTuple):
    """Batch of a step: M = patches times versions, the versions of a patch side by side.

    Attributes:
        pictures, decoded: (M, 3, H, W) 0..1.
        bpp: (M,).
        coarseness: (M,) 0..1.
        versions: number of versions of each patch.
        mimics: whether the target is the real decoder's picture, instead of the original.
    """

    pictures: Tensor
    decoded: Tensor
    bpp: Tensor
    coarseness: Tensor
    versions: int
    mimics: bool = True


def encoded(
    dataset: DataSet, names: Sequence[str], each: int, recipe: ProxyRecipe, folder: Path, jobs: int
) -> Generator[Prepared, None, CodedPatches]:
    """Cut patches, ``each`` from a picture, and encode them; the same whatever ``jobs`` is.

    Those of every picture are kept in a file in the folder, and encoded once.

    Raises:
        InputError: every picture is smaller than a patch.
        ProgramError: the encoder failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with workers(jobs) as executor:
        tasks = [(dataset, name, each, recipe, folder) for name in names]
        paths = yield from prepared(executor, _of_picture, tasks, jobs)
    parts = [part for part in map(load_file, paths) if len(part["bpp"])]
    if not parts:
        raise too_small(dataset, recipe.side)
    return CodedPatches(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _of_picture(dataset: DataSet, name: str, each: int, recipe: ProxyRecipe, folder: Path) -> Path:
    """File of a picture's coded patches."""
    one_thread()
    data = dataset.read(name)
    codec = CODECS[recipe.codec]
    backend = codec.backend("auto")
    decides = (recipe.codec, recipe.lowest, recipe.highest, recipe.side, recipe.versions, recipe.seed, each)
    key = hashlib.sha256(f"{digest(data)} {decides} {backend.name} {backend.version()}".encode()).hexdigest()
    path = folder / f"{key[:24]}.safetensors"
    if path.is_file():
        return path
    pixels = read_canonical(data, name).pixels
    random = np.random.default_rng([recipe.seed, *digest(data)[:8].encode()])
    count = each if holds(pixels, recipe.side) else 0
    pictures = np.empty((count, recipe.versions, recipe.side, recipe.side, 3), np.uint8)
    decoded, bpp = np.empty_like(pictures), np.empty((count, recipe.versions), np.float32)
    qualities = random.integers(recipe.lowest, recipe.highest + 1, size=count)
    for number, quality in enumerate(qualities):
        patch = random_square(pixels, recipe.side, random)
        setting = codec.setting(int(quality))
        for version in range(recipe.versions):
            made = preprocessed(patch, setting.coarseness, random) if version else patch
            pictures[number, version] = made
            decoded[number, version], bpp[number, version] = encode_decode(made, setting)
    kept = {"pictures": pictures, "decoded": decoded, "bpp": bpp, "qualities": qualities.astype(np.int64)}
    storage.write(str(path), serialised({part: torch.from_numpy(values) for part, values in kept.items()}))
    return path


def preprocessed(pixels: Pixels, coarseness: float, random: Random) -> Pixels:
    """A picture (H, W, 3) as some preprocessor might leave it, in half of the cases only here and there."""
    kind = str(random.choice(["threshold", "blur", "sharpening", "noise"], p=[0.6, 0.15, 0.15, 0.1]))
    if kind == "threshold":
        made = _thresholded(pixels, coarseness, random)
    elif kind == "blur":
        made = blur(float(random.uniform(0.25, 0.9))).apply(pixels)
    elif kind == "sharpening":
        made = sharpening(int(random.integers(10, 61)), float(random.uniform(0.5, 2))).apply(pixels)
    else:
        made = noise(float(random.uniform(0.5, 3)), 0, int(random.integers(2**31))).apply(pixels)
    if random.random() < 0.5:
        place = _places(pixels.shape[0], pixels.shape[1], random)[:, :, None]
        made = np.rint(pixels + place * (made.astype(np.float32) - pixels)).astype(np.uint8)
    return made


def _thresholded(pixels: Pixels, coarseness: float, random: Random) -> Pixels:
    """Soft thresholds in the block DCT, as `networks.shrink` has them, of random height for every frequency."""
    height = 10 * max(coarseness, 0.05) * float(np.exp(random.uniform(np.log(0.1), np.log(2))))
    limits = thresholds(height) * np.exp(random.normal(0, 0.6, (8, 8))).astype(np.float32)
    made = np.empty_like(pixels)
    for rows, values in strips_shrunk(pixels, limits):
        made[rows] = np.clip(np.rint(values), 0, 255)
    return made


def _places(height: int, width: int, random: Random) -> "np.typing.NDArray[np.float32]":
    """A smooth random map (H, W), mostly near 0 and near 1."""
    import cv2

    coarse = random.normal(0, 3, (5, 5)).astype(np.float32)
    field = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
    return np.asarray(1 / (1 + np.exp(-field)), np.float32)
