"""Preprocessors that are ready to run: weights are found, checked and wrapped."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress.codecs import CODECS
from kcompress.errors import UsageError, WeightsError
from kcompress.inference import weights as weight_files
from kcompress.inference.engine import Engine, resolve_device
from kcompress.inference.models import engine
from kcompress.networks import NETWORKS, NONE, Network
from kcompress.networks.closed_loop import ClosedLoop, RoundTrip
from kcompress.networks.condition import TrainingDomain, coarseness, condition
from kcompress.networks.mosaic import mosaic
from kcompress.networks.preprocessor import NetworkPreprocessor, Preprocessor
from kcompress.networks.shrink import Shrink
from kcompress.setting import Setting

if TYPE_CHECKING:
    from torch import nn


def load(
    name: str, *, device: str = "auto", strength: float | None = None, weights: Path | None = None,
    codec: str | None = None, round_trip: RoundTrip | None = None, threads: int = 1,
) -> Preprocessor | None:  # fmt: skip
    """A preprocessor of ``NETWORKS`` that is ready to run, or None for ``none``.

    The weights are a file, or those that came along: of them, those that were trained for the codec go before those
    for any. Strength is the share of the network's whole change: 0 leaves the picture as it is, 1 takes the network's
    word, and None is the share that its weights tell. The round trip is for networks that watch the encoder. The
    result does not depend on the processor's threads for one picture.

    Raises:
        UsageError: unknown network or device, strength out of range, weights for a network that has none or for
            another codec, no encoder for a network that watches one.
        WeightsError: missing or unfit weights.
    """
    if name not in NETWORKS:
        raise UsageError(f"--network {name} is not known. Allowed: {', '.join(NETWORKS)}.")
    network = NETWORKS[name]
    if strength is not None and not 0 <= strength <= 1:
        raise UsageError(f"--strength {strength:g} is out of range. Allowed: 0..1.")
    if weights is not None and not network.learned:
        raise UsageError(f"--weights: the network {name} has none. Leave it out, or choose another --network.")
    place = resolve_device(device)
    if name == NONE:
        return None
    if not network.learned:
        return Shrink(network.strength if strength is None else strength)
    found = weight_files.open_weights(weights or shipped_weights(name, codec), name)
    learned_for = found.metadata.get("codec", "any")
    if network.bound and codec is not None and learned_for not in (codec, CODECS[codec].kin):
        raise UsageError(f"--weights: {found.path} are for {learned_for}, not for {codec}. Give others, or --codec.")
    banded = network.banded and place == "cpu"
    ready = engine(found, place, partial(_module, name), 1 if banded else threads)
    return wrapped(
        name, ready, TrainingDomain.from_weights(found), strength=strength, round_trip=round_trip,
        threads=threads if banded else None,
    )  # fmt: skip


def wrapped(
    network: str, engine: Engine, trained: TrainingDomain, *, strength: float | None = None,
    round_trip: RoundTrip | None = None, threads: int | None = None,
) -> Preprocessor:  # fmt: skip
    """A learned network, from a file or under training, as a preprocessor; otherwise as `load`.

    The depth of its training domain decides how far its output reaches. ``threads`` are bands of a picture that go
    through an engine of one thread side by side; None cuts tiles instead.

    Raises:
        UsageError: the network watches an encoder, and there is none.
    """
    kind = NETWORKS[network]
    strength = trained.strength if strength is None else strength
    make = partial(
        NetworkPreprocessor, trained.name, engine, network=network, strength=strength,
        halo=kind.halo + kind.halo_per_block * trained.depth, multiple=kind.multiple, threads=threads,
    )  # fmt: skip
    if kind.closed:
        if round_trip is None:
            raise UsageError(f"--network {network} watches an encoder, and there is none here. Take another --network.")
        return ClosedLoop(
            trained.name, engine, round_trip, Shrink(), network=network, passes=trained.passes,
            strength=strength, sharp=trained.sharp_chroma, halo=kind.halo, multiple=kind.multiple,
            condition=partial(coarseness, trained=trained),
            warning=partial(_bound_warning, trained),
        )  # fmt: skip
    if not kind.conditioned:
        return make()
    if kind.told_tables:
        return make(condition=partial(condition, trained=trained.qualities), warning=trained.range_warning)
    overview = mosaic if kind.overview else None
    warning = partial(_bound_warning, trained) if kind.bound else trained.codec_warning
    return make(condition=partial(coarseness, trained=trained), overview=overview, warning=warning)


def _bound_warning(trained: TrainingDomain, setting: Setting) -> str | None:
    """Warning of weights for one codec; one with another scale than that one has no qualities of it."""
    same = trained.codec not in CODECS or CODECS[trained.codec].quality.ends == CODECS[setting.codec].quality.ends
    return trained.chroma_warning(setting) if same else trained.codec_warning(setting)


def task_weights(task: str) -> Path:
    """The file of weights for a machine's task: those that came along for its name, or a file of one's own.

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
    kin = CODECS[codec].kin if codec else None
    for stem in (f"{name}-{codec}", f"{name}-{kin}", name):
        if weight_files.is_shipped(stem):
            return weight_files.folder() / f"{stem}.safetensors"
    others = [path.stem for path in sorted(weight_files.folder().glob(f"{name}-*.safetensors"))]
    if not others:
        raise WeightsError(f"no weights of {name} came along. Train some (kcompress train), and give --weights.")
    if codec is None:
        raise UsageError(
            f"the network {name} needs a codec, or weights: there are {', '.join(others)}. Give codec or weights."
        )
    raise UsageError(
        f"--network {name} has no weights for {codec}: there are {', '.join(others)}. "
        f"Take another --codec or --network{'' if NETWORKS[name].bound else ', or give --weights'}."
    )


def serving(codec: str) -> tuple[str, ...]:
    """Networks that can stand before a codec as they came along, ``none`` included, in the order of the table.

    Those that serve machines are not among them: what they drop, eyes miss. Nor are those that are only named.
    """
    return tuple(
        name
        for name, network in NETWORKS.items()
        if not (network.task or network.named) and (not network.learned or _is_shipped(network, codec))
    )


def _is_shipped(network: Network, codec: str) -> bool:
    try:
        path = shipped_weights(network.name, codec)
    except (UsageError, WeightsError):
        return False
    return not network.bound or weight_files.open_weights(path).metadata.get("codec") in (codec, CODECS[codec].kin)


def _module(name: str) -> "type[nn.Module]":
    # All import torch.
    from kcompress.networks.artefacts import Artefacts
    from kcompress.networks.blend import Blend
    from kcompress.networks.feedback import Feedback
    from kcompress.networks.kuchen import Kuchen
    from kcompress.networks.npp import Npp
    from kcompress.networks.rdo import Rdo

    modules: dict[str, type[nn.Module]] = {
        "kuchen": Kuchen, "blend": Blend, "rdo": Rdo, "feedback": Feedback, "npp": Npp, "artefacts": Artefacts,
    }  # fmt: skip
    return modules[name]
