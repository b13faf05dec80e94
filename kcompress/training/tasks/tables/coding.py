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
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.condition import TrainingDomain, condition
from kcompress.networks.loading import load
from kcompress.networks.rdo import Rdo
from kcompress.setting import Setting
from kcompress.workers import ahead, one_thread, ordered

AT_ONCE = 44_000_000
"""Pixels that a GPU judges at a time: kernels are launched for all of them at once."""

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
        pairs = [(trial, number) for trial in trials for number in range(len(self.crops))]
        rows = self._on_gpu(pairs, scores) if self._device != "cpu" else self._on_cpu(pairs, scores)
        return np.concatenate(list(rows)).reshape(len(trials), len(self.crops), 1 + len(scores))

    def _on_cpu(self, pairs: Sequence[tuple[Trial, int]], scores: Sequence[str]) -> Iterator[Measures]:
        tasks = [(self.crops[number], trial, self._weights, tuple(scores)) for trial, number in pairs]
        yield from ordered(self._executor, _measured, tasks, ahead(self._jobs))

    def _on_gpu(self, pairs: Sequence[tuple[Trial, int]], scores: Sequence[str]) -> Iterator[Measures]:
        """Batches; the processes encode one while another is judged."""
        size = max(1, AT_ONCE // self.crops[0][..., 0].size)
        waiting: deque[tuple[Tensor, list[Future[tuple[int, Pixels]]]]] = deque()
        for first in range(0, len(pairs), size):
            some = pairs[first : first + size]
            originals = tensor([self.crops[number] for _, number in some]).contiguous().to(self._device)
            changed = self._preprocessed(originals, [trial for trial, _ in some])
            coded = [
                self._executor.submit(_coded, pixels, trial.setting)
                for pixels, (trial, _) in zip(changed, some, strict=True)
            ]
            waiting.append((originals, coded))
            if len(waiting) > 1:
                yield self._judged(*waiting.popleft(), scores)
        while waiting:
            yield self._judged(*waiting.popleft(), scores)

    def _judged(
        self, originals: Tensor, coded: Sequence[Future[tuple[int, Pixels]]], scores: Sequence[str]
    ) -> Measures:
        results = [future.result() for future in coded]
        decoded = tensor([pixels for _, pixels in results]).contiguous().to(self._device)
        return _rows([size for size, _ in results], originals, decoded, scores)

    @torch.inference_mode()
    def _preprocessed(self, originals: Tensor, trials: Sequence[Trial]) -> NDArray[np.uint8]:
        """Pixels (N, H, W, 3) for the encoder."""
        if self._weights is not None:
            network, domain = _network(self._weights, self._device)
            conditions = np.concatenate([condition(trial.setting, domain.qualities) for trial in trials])
            changed = network(originals, torch.from_numpy(conditions).to(self._device))
            wanted = torch.tensor([trial.preprocessed for trial in trials], device=self._device)
            originals = torch.where(wanted[:, None, None, None], changed, originals)
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


def _measured(crop: Pixels, trial: Trial, weights: Path | None, scores: Sequence[str]) -> Measures:
    """Measures (1, 1 + scores) of a crop, all on the CPU."""
    one_thread()
    image = Image(crop)
    if trial.preprocessed and weights is not None:
        preprocessor = _preprocessor(weights=weights)
        assert preprocessor is not None
        image = preprocessor(image, trial.setting)
    size, decoded = _coded(image.pixels, trial.setting)
    return _rows([size], tensor([crop]).contiguous(), tensor([decoded]).contiguous(), scores)


def _coded(pixels: Pixels, setting: Setting) -> tuple[int, Pixels]:
    """Bytes of the file, and what a decoder makes of it."""
    data = CODECS["jpeg"].backend("pillow").encode(Image(pixels), setting)
    return len(data), decode(data).pixels


@torch.inference_mode()
def _rows(sizes: Sequence[int], originals: Tensor, decoded: Tensor, scores: Sequence[str]) -> Measures:
    columns = [torch.tensor(sizes).double().log()]
    columns += [SCORES[name](originals)(decoded).double().cpu() for name in scores]
    found: Measures = torch.stack(columns, 1).numpy()
    return found
