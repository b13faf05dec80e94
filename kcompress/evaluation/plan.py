"""Plan of a bench: everything that a worker has to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from kcompress.codecs import CODECS, Codec
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.dataset import DataSet
from kcompress.encoding import round_trip
from kcompress.errors import MissingProgramError, UsageError
from kcompress.evaluation.machines import Machine
from kcompress.evaluation.peers import PEERS
from kcompress.images import Image
from kcompress.inference.engine import resolve_device
from kcompress.inference.weights import open_weights
from kcompress.networks import NETWORKS, NONE, Preprocessor, default_network
from kcompress.networks.loading import load
from kcompress.networks.tables import with_tables
from kcompress.pool import FilterContext, GuetzliLimits, group_named
from kcompress.setting import Setting

DEFAULT = "default"
"""Among preprocessors: the network that ``encode`` takes for the codec."""


@dataclass(frozen=True)
class Plan:
    """Everything that a bench measures.

    Attributes:
        qualities: by name of the codec, in order.
        preprocessors: networks, filters and series of filters by name; ``none`` is among them, to compare with, and
            ``DEFAULT`` stands for each codec's own.
        cache: folder that keeps guetzli's results from run to run; None for none.
        machines: models that score decoded pictures beside the metrics.
        task_weights: of npp.
        weights: files of one's own, each for its network and, where it names one, its codec.
        backend: of all codecs; ``auto`` takes the first that there is.
        tables: of JPEG; None for those that go with each preprocessor.
        peers: encoders beside a codec, and the qualities of each: codec -> name -> qualities.
        match_bpp: whether preprocessors and peers are measured at the qualities, searched picture by picture, at which
            they take the plain codec's bytes at ``qualities``.
        strength: share of each network's change; None for each one's own.
    """

    dataset: DataSet
    qualities: Mapping[str, tuple[int, ...]]
    preprocessors: tuple[str, ...]
    metrics: tuple[str, ...]
    device: str = "auto"
    cache: Path | None = None
    machines: tuple[Machine, ...] = ()
    task_weights: Path | None = None
    backend: str = "auto"
    tables: QuantisationTables | None = None
    peers: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    match_bpp: bool = False
    weights: tuple[Path, ...] = ()
    strength: float | None = None

    def codec(self, name: str, preprocessor: str) -> Codec:
        """A codec with the tables that it has behind a preprocessor.

        Raises:
            KcompressError: it has none of these, or no encoder.
        """
        codec = CODECS[name]
        return with_tables(codec, self.tables if codec.tables else None, [preprocessor], codec.backend(self.backend))

    def setting(self, codec: Codec, preprocessor: str, quality: int) -> Setting:
        """Setting behind a preprocessor; without any it is the plain encoder's."""
        return codec.setting(quality, effort=codec.plain_effort if preprocessor == NONE else None)

    def preprocessors_of(self, codec: str) -> tuple[str, ...]:
        """Names of the preprocessors before a codec, each once."""
        default = default_network(codec, self.backend)
        return tuple(dict.fromkeys(default if name == DEFAULT else name for name in self.preprocessors))

    def weights_of(self, network: str, codec: str) -> Path | None:
        """File of weights of one's own before a codec; None where those that came along are taken."""
        for path in self.weights:
            known = open_weights(path).metadata
            if known["network"] == network and known.get("codec", "any") in ("any", codec, CODECS[codec].kin):
                return path
        return self.task_weights if NETWORKS[network].task else None

    def count(self, codec: str) -> int:
        """Points of one picture with a codec and its peers; fewer where two sizes are met by one."""
        ours = len(self.qualities[codec]) * len(self.preprocessors_of(codec))
        return ours + sum(map(len, self.peers.get(codec, {}).values()))

    def series(self, codec: str, image: Image) -> dict[str, tuple[int, ...]]:
        """Qualities by name of each preprocessor, and of each peer that can take the picture; ``none`` is the first."""
        peers = {name: listed for name, listed in self.peers.get(codec, {}).items() if PEERS[name].takes(image)}
        return dict.fromkeys(self.preprocessors_of(codec), self.qualities[codec]) | peers

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of all scores."""
        return (*self.metrics, *(column for machine in self.machines for column in machine.columns))

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the columns of texts."""
        return tuple(column for machine in self.machines for column in machine.texts)


@lru_cache(maxsize=8)
def _preprocessor(
    name: str, device: str, codec: str, cache: Path | None, weights: Path | None, backend: str, strength: float | None
) -> Preprocessor | None:
    if name in NETWORKS:
        loop = round_trip(CODECS[codec], backend)
        return load(name, device=device, strength=strength, codec=codec, weights=weights, round_trip=loop)
    found = group_named(name, FilterContext(resolve_device(device), GuetzliLimits(cache=cache)))
    for filter in found.filters:
        if not filter.kind.available():
            raise MissingProgramError(f"the filter {filter.name} is not installed. {filter.kind.install}")
    return found


def preprocessor_of(plan: Plan, name: str, codec: str) -> Preprocessor | None:
    """One of the plan's: a network, with its weights for the codec, or filters in series; None for ``none``.

    Raises:
        UsageError: neither is known by this name.
        MissingProgramError: the filter is not installed.
    """
    weights = plan.weights_of(name, codec) if name in NETWORKS else None
    return _preprocessor(name, plan.device, codec, plan.cache, weights, plan.backend, plan.strength)


def check(plan: Plan) -> None:
    """Refuse a plan that cannot run, before the first picture.

    Raises:
        KcompressError: an unknown or unusable codec, preprocessor, metric, quality or model.
    """
    for machine in plan.machines:
        machine.ready()
    networks = [(name, codec) for codec in plan.qualities for name in plan.preprocessors_of(codec) if name in NETWORKS]
    used = {plan.weights_of(*pair) for pair in networks}
    for path in plan.weights:
        if path not in used:
            known = open_weights(path).metadata
            raise UsageError(
                f"--weights {path} are of {known['network']} for {known.get('codec', 'any')}, which is not among "
                "--network and --codec, or has others before them. Leave them out, or name it there."
            )
    for name, qualities in plan.qualities.items():
        for preprocessor in plan.preprocessors_of(name):
            preprocessor_of(plan, preprocessor, name)
            plan.codec(name, preprocessor)
        codec = CODECS[name]
        codec.backend(plan.backend)
        for quality in qualities:
            codec.setting(quality)
