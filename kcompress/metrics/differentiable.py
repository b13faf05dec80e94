"""Differentiable metrics as objectives of trainings and searches: finite everywhere, higher is better."""

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from kcompress.inference.models import torch_module
from kcompress.inference.weights import open_shipped
from kcompress.metrics import butteraugli, iw_ssim, ms_ssim, psnr_hvs_m, ssimulacra2, vif
from kcompress.metrics.vqscore import groups, spans
from kcompress.metrics.vqscore_network import VQscoreNetwork

Score = Callable[[Tensor], Tensor]
"""Distorted batch (N, 3, H, W) 0..1 -> scores (N,)."""


def _ssimulacra2(original: Tensor) -> Score:
    return ssimulacra2.Reference(original).score


def _butteraugli(original: Tensor) -> Score:
    """Negative Butteraugli."""
    reference = butteraugli.Reference(original)
    return lambda distorted: -reference.score(distorted)


def _psnr_hvs_m(original: Tensor) -> Score:
    """PSNR-HVS-M, dB, finite for invisible differences."""
    reference = psnr_hvs_m.Reference(original)
    return lambda distorted: -10 * torch.log10(reference.masked_error(distorted) / 255**2 + 1e-7)


def _psnr(original: Tensor) -> Score:
    """PSNR over RGB, dB, finite for equal pictures."""
    return lambda distorted: -10 * torch.log10((original - distorted).square().flatten(1).mean(1) + 1e-7)


def _vif(original: Tensor) -> Score:
    reference = vif.Reference(original)
    return lambda distorted: 100 * reference.score(distorted)


def _ms_ssim(original: Tensor) -> Score:
    """-ln(1 - MS-SSIM): the score itself hardly moves where quality is high."""
    reference = ms_ssim.Reference(original)
    return lambda distorted: -torch.log(1 - reference.score(distorted) + 1e-5)


def _iw_ssim(original: Tensor) -> Score:
    """-ln(1 - IW-SSIM)."""
    reference = iw_ssim.Reference(original)
    return lambda distorted: -torch.log(1 - reference.score(distorted) + 1e-5)


def _vqscore(original: Tensor) -> Score:
    """VQscore, which needs no original: of windows of whole tokens, at least 64 pixels a side."""
    network = _vqscore_network(original.device)
    rows, columns = (spans(side) for side in original.shape[2:])
    places = [(row, column) for row in rows for column in columns]
    parts = groups(places, original[0, 0][places[0]].shape)

    def part_of(distorted: Tensor, part: Sequence[tuple[slice, slice]]) -> Tensor:
        tokens = torch.cat([network.run_window(distorted[..., row, column]) for row, column in part], dim=1)
        return network.run_picture(tokens)[:, 0]

    def score(distorted: Tensor) -> Tensor:
        weighted = [len(part) * part_of(distorted, part) for part in parts]
        return torch.stack(weighted).sum(0) / len(places)

    return score


@lru_cache
def _vqscore_network(device: torch.device) -> VQscoreNetwork:
    return torch_module(open_shipped("vqscore"), VQscoreNetwork).eval().requires_grad_(False).to(device)


SCORES: dict[str, Callable[[Tensor], Score]] = {
    "ssimulacra2": _ssimulacra2, "butteraugli": _butteraugli, "psnr-hvs-m": _psnr_hvs_m, "psnr": _psnr, "vif": _vif,
    "ms-ssim": _ms_ssim, "iw-ssim": _iw_ssim, "vqscore": _vqscore,
}  # fmt: skip
"""By name: original batch (N, 3, H, W) 0..1, whose part is computed once -> score function of distorted ones.

VIF is in per cent; MS-SSIM and IW-SSIM are logarithms and need 161 pixels a side."""

WAITING = frozenset({"iw-ssim"})
"""Scores whose original's part waits for the device, for the decomposition of matrices: no CUDA graph can hold it."""
