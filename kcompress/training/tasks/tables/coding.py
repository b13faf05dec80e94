"""Crops through a network, the real encoder and the judges: in processes on the CPU, judges and network on a GPU."""

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kcompress.codecs import CODECS, decode
from kcompress.images import Image, Pixels
from kcompress.inference.batches import tensor
from kcompress.inference.weights import open_weights
from kcompress.metrics.differentiable import SCORES, Score
from kcompress.networks.condition import TrainingDomain, condition
from kcompress.networks.loading import load
from kcompress.networks.rdo import Rdo
from kcompress.setting import Setting
from kcompress.workers import ahead, one_thread, ordered

AT_ONCE = 44_000_000
"""Pixels that a GPU judges at a time: kernels are launched for all of them at once."""

_AHEAD = 4
"""Trials whose files the processes write while a GPU judges one."""

_TOGETHER = 20
"""Trials of a crop that a process measures in one task."""

Measures = NDArray[np.float64]
"""(trials, crops, 1 + scores): ln of the bytes, then the scores, higher is better."""


@dataclass(frozen=True)
class Trial:
    """A setting of JPEG at which all crops are encoded, with or without the network before it."""

    setting: Setting
    preprocessed: bool


class Coder:
    """Crops of equal size, and what comes of them; the same for any number of processes of the executor.

    Args:
        crops: (side, side, 3) each, the side a multiple of 16.
        weights: of rdo, or None for no network.
        device: of the network and the judges, ``cpu`` or ``cuda:N``.
        executor: processes that encode.
        jobs: their number.
    """

    def __init__(
        self, crops: Sequence[Pixels], weights: Path | None, device: str, executor: Executor, jobs: int
    ) -> None:
        self.crops = tuple(crops)
        self._weights, self._device, self._executor, self._jobs = weights, device, executor, jobs

    def measure(self, trials: Sequence[Trial], scores: Sequence[str]) -> Measures:
        """Encode all crops in all trials and judge what comes back, by scores that ``SCORES`` names.

        Raises:
            ProgramError: the encoder failed.
        """
        rows = self._on_gpu(trials, scores) if self._device != "cpu" else self._on_cpu(trials, scores)
        return np.concatenate(list(rows), axis=1).reshape(len(trials), len(self.crops), 1 + len(scores))

    def _on_cpu(self, trials: Sequence[Trial], scores: Sequence[str]) -> Iterator[Measures]:
        """Measures crop by crop, each of which is prepared for the judges once for some trials."""
        some = [tuple(trials[first : first + _TOGETHER]) for first in range(0, len(trials), _TOGETHER)]
        tasks = [(crop, each, self._weights, tuple(scores)) for crop in self.crops for each in some]
        found = ordered(self._executor, _measured, tasks, ahead(self._jobs))
        for _ in self.crops:
            yield np.concatenate([next(found) for _ in some])[:, None]

    def _on_gpu(self, trials: Sequence[Trial], scores: Sequence[str]) -> Iterator[Measures]:
        """Measures of as many crops as fit; the processes encode for some trials while another is judged."""
        size = max(1, AT_ONCE // self.crops[0][..., 0].size)
        for first in range(0, len(self.crops), size):
            originals = tensor(self.crops[first : first + size]).contiguous().to(self._device)
            judges = _judges(originals, scores)
            waiting: deque[list[Future[tuple[int, Pixels]]]] = deque()
            found: list[Measures] = []
            for trial in trials:
                changed = self._preprocessed(originals, trial)
                waiting.append([self._executor.submit(_coded, pixels, trial.setting) for pixels in changed])
                if len(waiting) > _AHEAD:
                    found.append(self._judged(waiting.popleft(), judges))
            found.extend(self._judged(coded, judges) for coded in waiting)
            yield np.stack(found)

    def _judged(self, coded: Sequence[Future[tuple[int, Pixels]]], judges: Sequence[Score]) -> Measures:
        results = [future.result() for future in coded]
        decoded = tensor([pixels for _, pixels in results]).contiguous().to(self._device)
        return _rows([size for size, _ in results], judges, decoded)

    @torch.inference_mode()
    def _preprocessed(self, originals: Tensor, trial: Trial) -> NDArray[np.uint8]:
        """Pixels (N, H, W, 3) for the encoder."""
        if trial.preprocessed and self._weights is not None:
            network, domain = _network(self._weights, self._device)
            conditions = condition(trial.setting, domain.qualities).repeat(len(originals), 0)
            originals = network(originals, torch.from_numpy(conditions).to(self._device))
        pixels = (originals * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
        found: NDArray[np.uint8] = pixels.cpu().numpy()
        return found


@functools.cache
def _network(weights: Path, device: str) -> tuple[Rdo, TrainingDomain]:
    found = open_weights(weights, "rdo")
    network = Rdo(**found.arguments)
    network.load_state_dict(found.tensors())
    return network.to(device).eval(), TrainingDomain.from_weights(found)


_preprocessor = functools.cache(functools.partial(load, "rdo", device="cpu", codec="jpeg"))


def _measured(crop: Pixels, trials: Sequence[Trial], weights: Path | None, scores: Sequence[str]) -> Measures:
    """Measures (trials, 1 + scores) of a crop, all on the CPU."""
    one_thread()
    judges = _judges(tensor([crop]).contiguous(), scores)
    found = []
    for trial in trials:
        image = Image(crop)
        if trial.preprocessed and weights is not None:
            preprocessor = _preprocessor(weights=weights)
            assert preprocessor is not None
            image = preprocessor(image, trial.setting)
        size, decoded = _coded(image.pixels, trial.setting)
        found.append(_rows([size], judges, tensor([decoded]).contiguous()))
    return np.concatenate(found)


def _coded(pixels: Pixels, setting: Setting) -> tuple[int, Pixels]:
    """Bytes of the file, and what a decoder makes of it."""
    data = CODECS["jpeg"].backend("pillow").encode(Image(pixels), setting)
    return len(data), decode(data).pixels


@torch.inference_mode()
def _judges(originals: Tensor, scores: Sequence[str]) -> list[Score]:
    """Scores of pictures like these, the originals' part of which is computed now."""
    return [SCORES[name](originals) for name in scores]


@torch.inference_mode()
def _rows(sizes: Sequence[int], judges: Sequence[Score], decoded: Tensor) -> Measures:
    """Logarithm of the bytes, and scores (N, 1 + judges)."""
    columns = [torch.tensor(sizes).double().log()]
    columns += [judge(decoded).double().cpu() for judge in judges]
    found: Measures = torch.stack(columns, 1).numpy()
    return found
