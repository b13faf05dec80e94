"""Refinement of JPEG's levels: which quantised coefficients of this very picture are worth their bits.

Every nonzero AC level is relaxed to a real number. The numbers start from the decisions of the network ``rdo`` and
descend a cost by Adam. In each step levels are sampled, each the one below or above its number, and a differentiable
JPEG gives the cost: ln(rate) less the gain of metrics, priced by the plain codec's slope on the same pixels. The
gradient is that in the middle of the step, by the diagonal Hessian (`proxies.curvature`). In the end each number is
rounded, and the picture changed so that any libjpeg quantises it to these levels (`networks.rdo.Rdo.pixel_change`).

Large pictures are refined in tiles with halos. Decisions belong to MCUs and tiles are whole MCUs: there are no seams.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from kcompress import workers
from kcompress.codecs.quantisation import scaling
from kcompress.errors import UsageError
from kcompress.images import Pixels
from kcompress.inference.tiling import Tile, batch, tiles
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.condition import condition
from kcompress.networks.rdo import MCU, Decisions, Rdo
from kcompress.proxies.curvature import diagonal_hessian
from kcompress.proxies.jpeg import DifferentiableJpeg, bits_per_pixel, quantiser_steps, unpack_levels
from kcompress.rate_distortion.slope import two_point_slope
from kcompress.setting import Setting

TILE_SIDE = 512
"""Largest side of a tile without its halo, pixels. Larger pictures are cut into equal tiles.

With their halos they are not below 256, where SSIMULACRA2 has fewer scales, with weights of other features."""

HALO = 16
"""Halo of a tile, pixels: one MCU, into which chroma's interpolation reaches."""

RATE = 0.04
"""Initial learning rate of Adam for 100 steps or more, in levels; half a cosine brings it down to a tenth.

With fewer steps it is higher."""

_CHANGES, _STAYS = 0.75, 0.2
"""Initial offsets from the encoder's level towards the decision, in levels.

A level decided to change does so in 75 of 100 samples, another one in 20."""

_MEMORY = 0.9
"""Decay of the running mean of the diagonal Hessian, for each step."""

_FARTHEST = 1.5
"""Largest distance of a level from its coefficient, in quantiser steps."""

_SLOPES = {"ssimulacra2": (0.01, 0.3), "butteraugli": (0.2, 5.0), "vif": (0.01, 0.3), "psnr": (0.03, 0.4)}
"""Clamp of the codec's slope d ln(rate) / d metric. Values outside occur on flat tiles and mean nothing."""


class Levels:
    """The decisions on one picture, at several points of their descent."""

    def __init__(
        self, original: Pixels, picture: Pixels, setting: Setting, network: Rdo,
        trained: tuple[int, int], weights: Mapping[str, float],
    ) -> None:  # fmt: skip
        """Nothing is computed yet.

        Levels are decided on for a picture (H, W, 3): the original, against which scores are held, or what a
        preprocessor made of it. The setting is JPEG's, with tables, 4:2:0. Decisions of the network, which knows the
        lowest and highest quality ``trained``, are where to start. Weights of ``SCORES`` add up to 1.
        """
        self._original, self._picture = original, picture
        self._network = network.eval()
        self._condition = torch.from_numpy(condition(setting, trained))
        self._setting, self._weights = setting, weights
        self._tiles = list(tiles(*original.shape[:2], side=TILE_SIDE, halo=HALO, multiple=MCU))
        self._found: dict[int, dict[int, bytes]] = {}

    def __len__(self) -> int:
        """Tiles."""
        return len(self._tiles)

    def descend(self, steps: Sequence[int], threads: int = 1) -> Iterator[int]:
        """Optimise every tile, some at a time on threads, and tell how many are done.

        Decisions are kept after each of the ascending steps; the last one ends the descent. They do not depend on
        ``threads``.
        """
        tasks = [(number, steps) for number in range(len(self._tiles))]
        with workers.threads(threads) as pool:
            results = workers.completed(pool, self._optimised, tasks, workers.ahead(threads))
            for done, (number, kept) in enumerate(results, 1):
                self._found[number] = kept
                yield done

    def pixels(self, step: int) -> Pixels:
        """(H, W, 3) that encode to the levels decided on after a step."""
        result = np.empty_like(self._picture)
        with torch.inference_mode():
            for number, tile in enumerate(self._tiles):
                shown = _padded(self._picture[tile.inner])
                decisions = self._network.decide(shown, self._condition)
                levels = decisions.levels + _decompressed(self._found[number][step], decisions.levels)
                changed = shown + self._network.pixel_change(decisions.coefficients, levels, self._condition)
                height, width = result[tile.inner].shape[:2]
                pixels = (changed[0, :, :height, :width] * 255).round().clamp(0, 255).byte()
                result[tile.inner] = pixels.permute(1, 2, 0).numpy()
        return result

    def _optimised(self, number: int, steps: Sequence[int]) -> tuple[int, dict[int, bytes]]:
        """Number of the tile, and the compressed changes of its own levels by step."""
        tile = self._tiles[number]
        original, shown = _padded(self._original[tile.outer]), _padded(self._picture[tile.outer])
        with torch.no_grad():
            decisions = self._network.decide(shown, self._condition)
        slopes = _slopes(original, self._setting, self._weights)
        worth = {name: weight * slopes[name] for name, weight in self._weights.items()}
        descent = _Descent(original, decisions, self._setting, worth, steps[-1], number)
        kept = {}
        for step in range(1, steps[-1] + 1):
            descent.step(step)
            if step in steps:
                kept[step] = _compressed((descent.levels() - decisions.levels)[_own(tile)])
        return number, kept


class _Descent:
    """The optimisation of one tile."""

    def __init__(
        self, original: Tensor, decisions: Decisions, setting: Setting, worth: Mapping[str, float], last: int, seed: int
    ) -> None:
        self._original, self._size = original, original.shape[-2:]
        self._levels, self._free = decisions.levels, decisions.allowed
        self._coefficients, self._bend = decisions.coefficients, torch.zeros(1)
        decided, sign = decisions.new_levels - self._levels, self._levels.sign()
        start = self._levels + torch.where(decided != 0, _CHANGES * decided, -_STAYS * sign)
        coefficients = decisions.coefficients[self._free]
        self._lowest, self._highest = (coefficients - _FARTHEST).ceil(), (coefficients + _FARTHEST).floor()
        self._places = start[self._free].requires_grad_()
        self._optimiser = torch.optim.Adam([self._places], betas=(0.9, 0.99))
        self._random = torch.Generator().manual_seed(seed)
        self._codec = _codec(setting, 0)
        self._worth, self._last = worth, last
        self._rate = RATE * max(1.0, math.sqrt(100 / last))

    def step(self, number: int) -> None:
        """One step, from number 1 on."""
        cosine = math.cos(math.pi * (number - 1) / self._last)
        self._optimiser.param_groups[0]["lr"] = self._rate * (0.55 + 0.45 * cosine)
        places = self._places.detach()
        drawn = torch.rand(places.shape, generator=self._random).add(places).floor()
        levels, path = self._with(drawn).requires_grad_(), self._with(self._places)
        decoded = self._codec.reconstruct(unpack_levels(levels, self._size))
        cost = torch.zeros(1)
        for name, worth in self._worth.items():
            cost = cost - worth * SCORES[name](self._original, decoded)
        (slopes,) = torch.autograd.grad(cost.sum(), levels)
        levels = levels.detach()
        bend = diagonal_hessian(slopes, levels - self._coefficients)
        self._bend = bend if number == 1 else torch.lerp(bend, self._bend, _MEMORY)
        slopes = slopes + self._bend * (self._with(places.floor() + 0.5) - levels)
        whole, between = unpack_levels(levels, self._size), unpack_levels(path, self._size)
        rate = bits_per_pixel(whole, between, progressive=self._codec.progressive).log()
        self._optimiser.zero_grad()
        torch.autograd.backward(rate.sum() + (slopes * path).sum(), inputs=[self._places])
        self._optimiser.step()
        with torch.no_grad():
            self._places.copy_(torch.minimum(torch.maximum(self._places, self._lowest), self._highest))

    def levels(self) -> Tensor:
        """(1, 384, H / 16, W / 16): those next to their places."""
        return self._with(self._places.detach().round())

    def _with(self, places: Tensor) -> Tensor:
        """All levels, of which those that are free lie at these places."""
        return self._levels.masked_scatter(self._free, places)


def _codec(setting: Setting, *finer: int) -> DifferentiableJpeg:
    """With the setting's tables, scaled as libjpeg does for so many units of quality more, and coded as it says.

    Raises:
        UsageError: the setting has no tables.
    """
    if setting.tables is None:
        raise UsageError(f"levels are those of JPEG alone; {setting.codec} has none.")
    at = max(1, scaling(setting.quality))
    share = [scaling(min(100, max(1, setting.quality + more))) / at for more in finer]
    found = torch.cat([quantiser_steps([setting.tables]) * each for each in share]).round().clamp(1, 255)
    return DifferentiableJpeg(found, progressive=setting.effort > 0)


@torch.no_grad()
def _slopes(original: Tensor, setting: Setting, names: Iterable[str]) -> dict[str, float]:
    """Slope d ln(rate) / d score of the plain codec on one tile, by score: between a coarser and a finer quality."""
    twice = original.expand(2, -1, -1, -1)
    decoded, rates = _codec(setting, -8, 6)(twice)
    paid = float((rates[1] / rates[0]).log())
    found = {}
    for name in names:
        scores = SCORES[name](twice, decoded)
        found[name] = two_point_slope(paid, float(scores[1] - scores[0]), _SLOPES[name])
    return found


def _own(tile: Tile) -> tuple[slice, ...]:
    """Index of a tile's own MCUs within its halo."""
    rows, columns = (slice(part.start // MCU, -(-part.stop // MCU)) for part in tile.within)
    return slice(None), slice(None), rows, columns


def _compressed(changes: Tensor) -> bytes:
    """Level changes compressed (int8, zlib): as floats those of a large picture would not fit into memory."""
    return zlib.compress(changes.to(torch.int8).numpy().tobytes(), 1)


def _decompressed(kept: bytes, like: Tensor) -> Tensor:
    return torch.frombuffer(bytearray(zlib.decompress(kept)), dtype=torch.int8).float().view_as(like)


def _padded(pixels: Pixels) -> Tensor:
    """(H, W, 3) 0..255 as (1, 3, ...) 0..1 of whole MCUs; the last row and column fill it up, as libjpeg does."""
    height, width = pixels.shape[:2]
    return torch.from_numpy(batch(np.pad(pixels, [(0, -height % MCU), (0, -width % MCU), (0, 0)], mode="edge")))
