"""Refinement of JPEG's levels: which quantised coefficients of this very picture are worth their bits.

Every nonzero AC level is optimised, and every DC level (`search.descent`), from the decisions of the network ``rdo``
on. In the end the picture is changed so that any libjpeg quantises it to the levels that were found
(`networks.rdo.Rdo.pixel_change`).

Large pictures are refined in tiles with halos. Decisions belong to MCUs and tiles are whole MCUs: there are no seams.
All tiles have one size, so that on CUDA they are optimised in batches.
"""

import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kcompress import workers
from kcompress.errors import UsageError
from kcompress.images import Pixels
from kcompress.inference.batches import tensor
from kcompress.inference.tiling import Slices, tiles
from kcompress.networks.condition import condition
from kcompress.networks.rdo import MCU, Rdo
from kcompress.proxies.jpeg import DifferentiableJpeg, quantiser_steps
from kcompress.search.descent import Descent
from kcompress.setting import Setting

TILE_SIDE = 512
"""Largest side of a tile without its halo, pixels. Larger pictures are cut into equal tiles.

With their halos they are not below 256, where SSIMULACRA2 has fewer scales, with weights of other features."""

HALO = 16
"""Halo of a tile, pixels: one MCU, into which chroma's interpolation reaches."""

BATCH = 8
"""Tiles that are optimised at a time on CUDA."""

_CUDA = threading.Lock()
"""Held by the one batch that is at work on CUDA: several would not fit into its memory."""


class Levels:
    """The decisions on one picture, at several points of their descent."""

    def __init__(
        self, original: Pixels, picture: Pixels, settings: Sequence[Setting], network: Rdo,
        trained: tuple[int, int], weights: Mapping[str, float], device: str = "cpu",
    ) -> None:  # fmt: skip
        """Nothing is computed yet.

        Args:
            original: (H, W, 3), against which scores are held.
            picture: on whose levels is decided: the original, or what a preprocessor made of it.
            settings: of JPEG, 4:2:0: a coarser one, the one in use, and a finer one.
            network: whose decisions are where to start.
            trained: lowest and highest quality that it knows.
            weights: of `metrics.differentiable.SCORES`; they add up to 1.
            device: ``cpu`` or ``cuda:N``.
        """
        self._size, self._device = original.shape[:2], torch.device(device)
        self._original, self._picture = _filled(original), _filled(picture)
        self._network = deepcopy(network).eval().to(self._device)
        self._condition = torch.from_numpy(condition(settings[1], trained)).to(self._device)
        self._codecs = [_codec(setting, self._device) for setting in settings]
        self._weights = weights
        self._tiles = _tiles(*self._original.shape[:2])
        size = BATCH if self._device.type == "cuda" else 1
        self._batches = [self._tiles[first : first + size] for first in range(0, len(self._tiles), size)]
        self._found: dict[int, dict[int, bytes]] = {}

    def __len__(self) -> int:
        """Batches of tiles."""
        return len(self._batches)

    def descend(self, steps: Sequence[int], threads: int = 1, *, graph: bool = True) -> Iterator[int]:
        """Optimise every batch, some at a time on threads where they are on the CPU, and tell how many are done.

        Decisions are kept after each of the ascending steps; the last one ends the descent. They do not depend on
        ``threads``. ``graph`` captures steps on CUDA.
        """
        threads = 1 if self._device.type == "cuda" else threads
        tasks = [(number, steps, graph) for number in range(len(self._batches))]
        with workers.threads(threads) as pool:
            results = workers.completed(pool, self._optimised, tasks, workers.ahead(threads))
            for done, (number, kept) in enumerate(results, 1):
                self._found[number] = kept
                yield done

    def pixels(self, step: int) -> Pixels:
        """(H, W, 3) that encode to the levels decided on after a step."""
        result = np.empty_like(self._picture)
        with torch.inference_mode(), _exact(self._device):
            for number, batch in enumerate(self._batches):
                shown = self._shown(self._picture, batch)
                coefficients = self._network.coefficients(shown, self._condition)
                levels = coefficients.round() + _decompressed(self._found[number][step], coefficients)
                changed = shown + self._network.pixel_change(coefficients, levels, self._condition, dc=True)
                pixels = (changed * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
                for tile, part in zip(batch, pixels, strict=True):
                    result[tile.inner] = part[tile.within]
        height, width = self._size
        return np.ascontiguousarray(result[:height, :width])

    def _optimised(self, number: int, steps: Sequence[int], graph: bool) -> tuple[int, dict[int, bytes]]:
        """Number of the batch, and the compressed changes of its levels by step."""
        batch = self._batches[number]
        with _exact(self._device):
            original, shown = self._shown(self._original, batch), self._shown(self._picture, batch)
            with torch.no_grad():
                decisions = self._network.decide(shown, self._condition)
            dc = self._network.is_dc & (self._network.allowed(self._condition, dc=True) > 0)
            descent = Descent(original, decisions, dc, self._codecs, self._weights, steps[-1], number, graph=graph)
            kept = {}
            for step in range(1, steps[-1] + 1):
                descent.step(step)
                if step in steps:
                    kept[step] = _compressed(descent.levels() - decisions.levels)
        return number, kept

    def _shown(self, picture: Pixels, batch: "Sequence[_Tile]") -> Tensor:
        """(N, 3, h, w) 0..1 of a batch with its halos."""
        return tensor([picture[tile.outer] for tile in batch]).contiguous().to(self._device)


class _Tile(NamedTuple):
    """Rows and columns of what is optimised, of what of it is kept, and of that within the outer part."""

    outer: Slices
    inner: Slices
    within: Slices


def _tiles(height: int, width: int) -> list[_Tile]:
    """Tiles with halos, all of one size: at the edges of the picture the halo lies inside."""
    inner = [tile.inner for tile in tiles(height, width, side=TILE_SIDE, halo=0, multiple=MCU)]
    sizes = [
        min(length, 2 * HALO + max(part[axis].stop - part[axis].start for part in inner))
        for axis, length in enumerate((height, width))
    ]
    found = []
    for part in inner:
        starts = [
            min(max(0, own.start - HALO), length - size)
            for own, length, size in zip(part, (height, width), sizes, strict=True)
        ]
        rows, columns = (slice(start, start + size) for start, size in zip(starts, sizes, strict=True))
        down, across = (slice(own.start - start, own.stop - start) for own, start in zip(part, starts, strict=True))
        found.append(_Tile((rows, columns), part, (down, across)))
    return found


def _codec(setting: Setting, device: torch.device) -> DifferentiableJpeg:
    """JPEG with the setting's tables, coded as it says.

    Raises:
        UsageError: the setting has no tables.
    """
    if setting.tables is None:
        raise UsageError(f"levels are those of JPEG alone; {setting.codec} has none.")
    steps = quantiser_steps([setting.tables]).to(device, torch.float64)
    return DifferentiableJpeg(steps, progressive=setting.effort > 0)


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """On CUDA convolutions are the same in every run, in single precision."""
    if device.type == "cpu":
        yield
    else:
        with _CUDA, torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield


def _compressed(changes: Tensor) -> bytes:
    """Level changes compressed (int8, zlib): as floats those of a large picture would not fit into memory."""
    return zlib.compress(changes.to(torch.int8).cpu().numpy().tobytes(), 1)


def _decompressed(kept: bytes, like: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(zlib.decompress(kept)), dtype=torch.int8).view(like.shape).to(like)


def _filled(pixels: Pixels) -> Pixels:
    """(H, W, 3) of whole MCUs; the last row and column fill it up, as libjpeg does."""
    height, width = pixels.shape[:2]
    return np.pad(pixels, [(0, -height % MCU), (0, -width % MCU), (0, 0)], mode="edge")
