"""The preprocessors by name."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress.errors import UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import Engine, resolve_device
from kcompress.inference.models import engine
from kcompress.networks.closed_loop import ClosedLoop, Shown
from kcompress.networks.condition import TrainingDomain, coarseness, condition
from kcompress.networks.preprocessor import NetworkPreprocessor, Preprocessor
from kcompress.networks.shrink import Shrink

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "DEFAULTS",
    "NETWORKS",
    "NONE",
    "Network",
    "Preprocessor",
    "Shown",
    "Shrink",
    "closed_loop",
    "load",
    "serving",
    "shipped_weights",
    "task_weights",
    "trained_for",
]

NONE = "none"
DEFAULTS = {"jpeg": "rdo", "webp": "feedback", "hevc": "feedback", "bpg": "feedback"}
"""Taken by codec unless another is asked for: what measured best, see weights/README.md."""


@dataclass(frozen=True)
class Network:
    """One kind of preprocessor.

    Attributes:
        name: as the user types it.
        about: one line for people.
        learned: whether it needs weights.
        halo: pixels around a tile that its output can depend on, rounded up to a multiple of ``multiple``.
        multiple: its input sizes are multiples of it.
        conditioned: whether it is told the codec's setting.
        bound: whether its weights serve one codec alone.
        closed: whether it watches the encoder, and so needs it before the encode.
        task: whether it serves a machine's task instead of eyes; its weights are chosen by it.
        banded: whether bands of a picture go through it side by side, on a thread each.
    """

    name: str
    about: str
    learned: bool = False
    halo: int = 0
    multiple: int = 1
    conditioned: bool = False
    bound: bool = False
    closed: bool = False
    task: bool = False
    banded: bool = False


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(NONE, "the plain codec"),
        Network("shrink", "soft threshold in the block DCT, in proportion to the quantiser; no weights"),
        # The U-Net reaches 45 pixels far (a test measures it).
        Network("kuchen", "U-Net that imitates the best filter of a pool", learned=True, halo=48, multiple=8),
        # A block of depth 4 reaches 4 MCUs of 16 pixels.
        Network(
            "rdo",
            "decides which of JPEG's coefficients are worth their bits",
            learned=True,
            halo=64,
            multiple=16,
            conditioned=True,
            bound=True,
            banded=True,
        ),
        # Its pyramid reaches 26 pixels (a test measures it).
        Network(
            "feedback",
            "watches what the encoder makes of the picture, and hands it more or less of each scale",
            learned=True,
            halo=32,
            multiple=16,
            conditioned=True,
            bound=True,
            closed=True,
        ),
        # It reaches 52 pixels.
        Network(
            "npp",
            "keeps what a machine needs of a picture, and drops the rest",
            learned=True,
            halo=56,
            multiple=8,
            conditioned=True,
            task=True,
        ),
    )
}


_ALIKE = {"bpg": "hevc"}
"""Codecs that compress as another does, and take its weights."""


def load(
    name: str, *, device: str = "auto", strength: float = 1.0, weights: Path | None = None, codec: str | None = None,
    shown: Shown | None = None, threads: int = 1,
) -> Preprocessor | None:  # fmt: skip
    """A preprocessor that is ready to run, or None for ``none``.

    Args:
        name: of ``NETWORKS``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; resolved here and nowhere else.
        strength: 0 leaves the picture as it is, 1 takes the network's word.
        weights: a file to take in place of the shipped ones.
        codec: that comes after it; weights that were trained for it go before those for any codec.
        shown: what it makes of a picture; for networks that watch it.
        threads: of the processor, for one picture; the result does not depend on it.

    Raises:
        UsageError: unknown network or device, strength out of range, weights for a network that has none or for
            another codec, no encoder for a network that watches one.
        WeightsError: missing or unfit weights.
    """
    if name not in NETWORKS:
        raise UsageError(f"--network {name} is not known. Allowed: {', '.join(NETWORKS)}.")
    network = NETWORKS[name]
    if not 0 <= strength <= 1:
        raise UsageError(f"--strength {strength:g} is out of range. Allowed: 0..1.")
    if weights is not None and not network.learned:
        raise UsageError(f"--weights: the network {name} has none. Leave it out, or choose another --network.")
    place = resolve_device(device)
    if name == NONE:
        return None
    if not network.learned:
        return Shrink(strength)
    found = weight_files.open_weights(weights or shipped_weights(name, codec), name)
    learned_for = found.metadata.get("codec", "any")
    if network.bound and codec is not None and learned_for not in (codec, _ALIKE.get(codec)):
        raise UsageError(f"--weights: {found.path} are for {learned_for}, not for {codec}. Give others, or --codec.")
    banded = network.banded and place == "cpu"
    ready = engine(found, place, partial(_module, name), 1 if banded else threads)
    trained = trained_for(found)
    if network.closed:
        if shown is None:
            raise UsageError(f"--network {name} watches an encoder, and there is none here. Take another --network.")
        return closed_loop(ready, trained, shown, strength)
    make = partial(
        NetworkPreprocessor, found.name, ready, strength=strength, halo=network.halo, multiple=network.multiple,
        threads=threads if banded else None,
    )  # fmt: skip
    if not network.conditioned:
        return make()
    if network.bound:
        return make(condition=partial(condition, trained=trained.qualities), warning=trained.range_warning)
    return make(condition=partial(coarseness, trained=trained), warning=trained.codec_warning)


def closed_loop(engine: Engine, trained: TrainingDomain, shown: Shown, strength: float = 1.0) -> ClosedLoop:
    """The feedback network around an encoder, after `Shrink`.

    Args:
        engine: the network.
        trained: what it was trained for.
        shown: what the encoder makes of a picture.
        strength: of the whole change.
    """
    kind = NETWORKS["feedback"]
    return ClosedLoop(
        trained.name, engine, shown, Shrink(), passes=trained.passes, strength=strength, halo=kind.halo,
        multiple=kind.multiple, condition=partial(coarseness, trained=trained), warning=trained.chroma_warning,
    )  # fmt: skip


def trained_for(weights: weight_files.Weights) -> TrainingDomain:
    """Training domain of a conditioned network.

    Raises:
        WeightsError: its recipe makes no sense.
    """
    recipe, codec = weights.recipe, weights.metadata.get("codec", "any")
    try:
        finest, coarsest = recipe.get("coarseness", (0, 1))
        qualities = recipe.get("lowest", 0), recipe.get("highest", 100)
        return TrainingDomain(weights.name, codec, qualities, (finest, coarsest), recipe.get("passes", 1))
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{weights.path}: its recipe makes no sense ({error}). Give other weights.") from error


def task_weights(task: str) -> Path:
    """The file of weights for a machine's task: those that came along for one, or a file of one's own.

    Args:
        task: its name, or the path of the file.

    Raises:
        UsageError: neither.
    """
    if Path(task).suffix:
        return Path(task)
    stem = f"npp-{task}"
    if not weight_files.is_shipped(stem):
        raise UsageError(f"--task-weights {task} is not known. Allowed: {_tasks()}.")
    return weight_files.folder() / f"{stem}.safetensors"


def _tasks() -> str:
    came = [path.stem.partition("-")[2] for path in sorted(weight_files.folder().glob("npp-*.safetensors"))]
    return ", ".join([*came, "or a .safetensors file of npp"])


def shipped_weights(name: str, codec: str | None = None) -> Path:
    """The file of a network's shipped weights: those for the codec, ``NAME-CODEC``, or those for any, ``NAME``.

    Raises:
        UsageError: there are none for this codec.
        WeightsError: there are none at all.
    """
    if NETWORKS[name].task:
        raise UsageError(f"--network {name} keeps what a certain task needs: --task-weights says which: {_tasks()}.")
    for stem in (f"{name}-{codec}", f"{name}-{_ALIKE.get(codec or '', codec)}", name):
        if weight_files.is_shipped(stem):
            return weight_files.folder() / f"{stem}.safetensors"
    others = [path.stem for path in sorted(weight_files.folder().glob(f"{name}-*.safetensors"))]
    if not others:
        raise WeightsError(f"no weights of {name} came along. Train some (kcompress train), and give --weights.")
    raise UsageError(
        f"--network {name} has no weights for {codec or 'no certain codec'}: there are {', '.join(others)}. "
        f"Take another --codec or --network{'' if NETWORKS[name].bound else ', or give --weights'}."
    )


def serving(codec: str) -> tuple[str, ...]:
    """Networks that can stand before a codec as they came along, ``none`` included, in the order of the table.

    Those that serve machines are not among them: what they drop, eyes miss.
    """
    return tuple(
        name
        for name, network in NETWORKS.items()
        if not network.task and (not network.learned or _is_shipped(network, codec))
    )


def _is_shipped(network: Network, codec: str) -> bool:
    try:
        path = shipped_weights(network.name, codec)
    except (UsageError, WeightsError):
        return False
    return not network.bound or weight_files.open_weights(path).metadata.get("codec") in (codec, _ALIKE.get(codec))


def _module(name: str) -> "type[nn.Module]":
    # All import torch.
    from kcompress.networks.feedback import Feedback
    from kcompress.networks.kuchen import Kuchen
    from kcompress.networks.npp import Npp
    from kcompress.networks.rdo import Rdo

    return {"kuchen": Kuchen, "rdo": Rdo, "feedback": Feedback, "npp": Npp}[name]
