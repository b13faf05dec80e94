"""Choice of the proxy that stands in for a codec: its own, or that of a codec which compresses alike."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from kcompress.codecs import CODECS
from kcompress.errors import UsageError
from kcompress.inference import weights as weight_files
from kcompress.inference.models import torch_module
from kcompress.proxies.minnen import Minnen
from kcompress.proxies.sampled import Sample, sample
from kcompress.proxies.simulator import Simulator

KINDS: dict[str, type[nn.Module]] = {"minnen": Minnen, "simulator": Simulator}

_BPG_IS_FINER = 3 / 51
"""Shift of coarseness: BPG's quality codes three steps of QP finer than HEVC's."""


@dataclass(frozen=True)
class FrozenProxy:
    """Proxy with frozen weights, whose name and digest are for recipes; shapes as in `proxies.simulator.Simulator`.

    The shift is subtracted from the coarseness.
    """

    module: nn.Module
    about: str
    shift: float = 0.0

    def __call__(self, pictures: Tensor, coarseness: Tensor) -> tuple[Tensor, Tensor]:
        still = {"still": True} if isinstance(self.module, Simulator) else {}
        decoded, bpp = self.module(pictures, self._own(coarseness), **still)
        return decoded, bpp

    @property
    def draws(self) -> bool:
        """Whether it has samples."""
        return isinstance(self.module, Simulator)

    def sample(self, pictures: Tensor, coarseness: Tensor) -> Sample | None:
        """Draw a sample of a simulator; None of other proxies."""
        return sample(self.module, pictures, self._own(coarseness)) if isinstance(self.module, Simulator) else None

    def _own(self, coarseness: Tensor) -> Tensor:
        return (coarseness - self.shift).clamp(0, 1)


def load_proxy(text: str, codec: str, device: str = "cpu") -> FrozenProxy:
    """Proxy of a codec, frozen: ``minnen`` or ``simulator`` for shipped weights, or the path of weights of either.

    Raises:
        UsageError: no such kind, none shipped for this codec, or weights for another codec.
        WeightsError: the weights are missing or do not fit.
    """
    path = Path(text)
    if not path.suffix:
        if text not in KINDS:
            raise UsageError(f"--proxy {text} is not known. Allowed: {', '.join(KINDS)}, or a .safetensors file.")
        path = _shipped(text, codec)
    weights = weight_files.open_weights(path)
    kind, learned = weights.metadata["network"], weights.metadata.get("codec", "any")
    if kind not in KINDS:
        raise UsageError(f"--proxy {text} are {kind} weights. Give those of {' or '.join(KINDS)}.")
    if learned not in _serving(codec):
        raise UsageError(f"--proxy {text} is a proxy of {learned}, not of {codec}. Give another, or --codec {learned}.")
    module = torch_module(weights, KINDS[kind]).eval().requires_grad_(False).to(device)
    shift = _BPG_IS_FINER if codec != learned else 0.0
    return FrozenProxy(module, f"{weights.name} {weights.digest()}", shift if codec == "bpg" else -shift)


def _serving(codec: str) -> tuple[str, ...]:
    """Codecs whose proxies serve this one: itself, and those that compress alike on the same scale of qualities."""
    own = CODECS[codec]
    alike = (other for other in CODECS.values() if other.kin == codec or own.kin == other.name)
    return (codec, *(other.name for other in alike if other.quality.ends == own.quality.ends))


def _shipped(kind: str, codec: str) -> Path:
    for served in _serving(codec):
        if weight_files.is_shipped(f"{kind}-{served}"):
            return weight_files.folder() / f"{kind}-{served}.safetensors"
    others = [path.stem for each in KINDS for path in sorted(weight_files.folder().glob(f"{each}-*.safetensors"))]
    raise UsageError(
        f"--proxy {kind}: none came along for {codec}, only {', '.join(others)}. Train one (kcompress train PHOTOS "
        f"--network {kind} --codec {codec}) and give its file, or take another --proxy."
    )
