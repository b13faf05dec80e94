"""The measuring itself: pictures x codecs x preprocessors x qualities -> points."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from kcompress.codecs import CODECS, Codec, decode
from kcompress.codecs.quantisation import QuantisationTables
from kcompress.dataset import DataSet, digest
from kcompress.encoding import Session, preprocessed, round_trip
from kcompress.errors import MissingProgramError, failure_of
from kcompress.evaluation.machines import Machine
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.points import Key, Point
from kcompress.images import Image, bits_per_pixel, read_canonical
from kcompress.inference.engine import resolve_device
from kcompress.metrics import METRICS, Scorer
from kcompress.networks import NETWORKS, NONE, Preprocessor, default_network
from kcompress.networks.loading import load
from kcompress.networks.tables import with_tables
from kcompress.pool import FilterContext, GuetzliLimits, group_named
from kcompress.setting import Setting
from kcompress.workers import completed, one_thread

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
        backend: of all codecs; ``auto`` takes the first that there is.
        tables: of JPEG; None for those that go with each preprocessor.
        peers: encoders beside a codec, and the qualities of each: codec -> name -> qualities.
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

    def count(self, codec: str) -> int:
        """Points of one picture with a codec and its peers."""
        ours = len(self.qualities[codec]) * len(self.preprocessors_of(codec))
        return ours + sum(map(len, self.peers.get(codec, {}).values()))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of all scores."""
        return (*self.metrics, *(column for machine in self.machines for column in machine.columns))

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the columns of texts."""
        return tuple(column for machine in self.machines for column in machine.texts)


@dataclass(frozen=True)
class Measured:
    """One picture with one codec: the points that were not done before, or why there are none.

    ``keys`` are those of all points that the plan wants, in order, with the picture and the encoder as they are now;
    ``notes`` tell how the picture was read.
    """

    picture: str
    codec: str
    keys: tuple[Key, ...]
    points: tuple[Point, ...]
    error: str | None = None
    notes: tuple[str, ...] = ()


def sweep(
    plan: Plan, pictures: Sequence[str], done: Iterable[Key], executor: Executor, *, ahead: int
) -> Iterator[Measured]:
    """Measure every picture with every codec, in no certain order; what is done already is left out.

    The numbers do not depend on the executor: each worker computes a picture alone, on one thread.
    """
    known = frozenset(done)
    tasks = [(plan, picture, codec, known) for picture in pictures for codec in plan.qualities]
    return completed(executor, measure, tasks, ahead)


def measure(plan: Plan, picture: str, codec: str, done: frozenset[Key]) -> Measured:
    """All points of one picture and one codec that are not done yet."""
    one_thread()  # also where the executor is another's
    try:
        data = plan.dataset.read(picture)
        image, session = Session.of(original(data, picture), CODECS[codec], CODECS[codec].setting(), plan.backend)
        source = (picture, digest(data), codec, session.backend.name, session.backend.version() or "")
        keys = [
            Key(*source, preprocessor, quality)
            for preprocessor in plan.preprocessors_of(codec)
            for quality in plan.qualities[codec]
        ]
        for name, qualities in plan.peers.get(codec, {}).items():
            if PEERS[name].takes(image):
                encoder = (*source[:3], name, PEERS[name].version() or "", name)
                keys += [Key(*encoder, quality) for quality in qualities]
        missing = [key for key in keys if key not in done]
        points = tuple(_points(plan, data, image, missing))
        return Measured(picture, codec, tuple(keys), points, notes=image.notes)
    except Exception as error:  # one picture ends no bench, whatever happens to it
        return Measured(picture, codec, (), (), str(failure_of(error, picture)))


def _points(plan: Plan, data: bytes, image: Image, keys: Sequence[Key]) -> Iterator[Point]:
    side = min(image.width, image.height)
    metrics = tuple(metric for metric in plan.metrics if side >= METRICS[metric].smallest_side)
    if not keys:
        return
    by_machines = [machine.scorer(image.pixels, keys[0].picture) for machine in plan.machines]
    before, prepared, seconds = NONE, image, 0.0
    for key in keys:
        if key.preprocessor in PEERS:
            start = time.perf_counter()
            file, seconds = PEERS[key.preprocessor].encode(image, key.quality), 0.0
            encode_seconds = time.perf_counter() - start
        else:
            codec = plan.codec(key.codec, key.preprocessor)
            _, session = Session.of(image, codec, plan.setting(codec, key.preprocessor, key.quality), plan.backend)
            preprocessor = preprocessor_of(plan, key.preprocessor, key.codec)
            # What does not depend on the setting is prepared once for all qualities.
            if before != key.preprocessor or (preprocessor and preprocessor.conditioned):
                prepared, _, seconds = preprocessed(image, preprocessor, session.setting)
                before = key.preprocessor
            encoded = session.encode(prepared)
            file, encode_seconds = encoded.data, encoded.codec_seconds
        decoded = decode(file, key.picture)
        scores = _scorer(data, key.picture, metrics)(decoded.pixels)
        texts: dict[str, str] = {}
        for scorer in by_machines:
            found, evidence = scorer(decoded.pixels)
            scores, texts = scores | found, texts | evidence
        yield Point(
            **vars(key), width=image.width, height=image.height, bytes=len(file),
            bpp=bits_per_pixel(len(file), image.width, image.height), preprocess_seconds=round(seconds, 4),
            encode_seconds=round(encode_seconds, 4), scores=scores, texts=texts,
        )  # fmt: skip


original = lru_cache(maxsize=1)(read_canonical)
"""The picture as it is compared, kept for all its points."""


@lru_cache(maxsize=1)
def _scorer(data: bytes, picture: str, metrics: tuple[str, ...]) -> Scorer:
    """Kept from point to point: the original's part of each metric is computed once a picture."""
    return Scorer(original(data, picture).pixels, metrics)


@lru_cache(maxsize=8)
def _preprocessor(
    name: str, device: str, codec: str, cache: Path | None, task_weights: Path | None, backend: str
) -> Preprocessor | None:
    if name in NETWORKS:
        weights, loop = task_weights if NETWORKS[name].task else None, round_trip(CODECS[codec], backend)
        return load(name, device=device, codec=codec, weights=weights, round_trip=loop)
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
    return _preprocessor(name, plan.device, codec, plan.cache, plan.task_weights, plan.backend)


def check(plan: Plan) -> None:
    """Refuse a plan that cannot run, before the first picture.

    Raises:
        KcompressError: an unknown or unusable codec, preprocessor, metric, quality or model.
    """
    for machine in plan.machines:
        machine.ready()
    for name, qualities in plan.qualities.items():
        for preprocessor in plan.preprocessors_of(name):
            preprocessor_of(plan, preprocessor, name)
            plan.codec(name, preprocessor)
        codec = CODECS[name]
        codec.backend(plan.backend)
        for quality in qualities:
            codec.setting(quality)
