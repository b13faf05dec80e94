"""The measuring itself: pictures x codecs x preprocessors x qualities -> points."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import lru_cache

from kcompress.codecs import CODECS, decode
from kcompress.dataset import digest
from kcompress.errors import failure_of
from kcompress.evaluation.equal_size import nearest_quality
from kcompress.evaluation.files import Files
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan
from kcompress.evaluation.points import Key, Point
from kcompress.images import bits_per_pixel, read_canonical
from kcompress.metrics import METRICS, Scorer
from kcompress.networks import NONE
from kcompress.workers import completed, one_thread


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
    plan: Plan, pictures: Sequence[str], done: Iterable[Point], executor: Executor, *, ahead: int
) -> Iterator[Measured]:
    """Measure every picture with every codec, in no certain order; what is done already is left out.

    The numbers do not depend on the executor: each worker computes a picture alone, on one thread.
    """
    known: dict[str, dict[Key, int]] = {}
    for point in done:
        known.setdefault(point.picture, {})[point.key] = point.bytes
    tasks = [(plan, picture, codec, known.get(picture, {})) for picture in pictures for codec in plan.qualities]
    return completed(executor, measure, tasks, ahead)


def measure(plan: Plan, picture: str, codec: str, done: Mapping[Key, int]) -> Measured:
    """All points of one picture and one codec but those that are done, of which the bytes are known."""
    one_thread()  # also where the executor is another's
    try:
        data = plan.dataset.read(picture)
        files = Files(plan, original(data, picture), codec)
        source, encoder = (picture, digest(data), codec), (files.backend, files.version)

        def key(name: str, quality: int) -> Key:
            return Key(*source, *((name, PEERS[name].version() or "") if name in PEERS else encoder), name, quality)

        def size(name: str, quality: int) -> int:
            return done.get(key(name, quality)) or len(files.file(name, quality).data)

        keys = []
        for name, qualities in plan.series(codec, files.image).items():
            if plan.match_bpp and name != NONE:
                qualities = _meeting(plan, codec, name, size)
            keys += [key(name, quality) for quality in qualities]
        points = tuple(_points(plan, data, files, [key for key in keys if key not in done]))
        return Measured(picture, codec, tuple(keys), points, notes=files.image.notes)
    except Exception as error:  # one picture ends no bench, whatever happens to it
        return Measured(picture, codec, (), (), str(failure_of(error, picture)))


def _meeting(plan: Plan, codec: str, name: str, size: Callable[[str, int], int]) -> tuple[int, ...]:
    """Qualities, each once, at which a preprocessor's or peer's files are nearest to the plain codec's in bytes."""
    peer = PEERS.get(name)
    scale = CODECS[codec].quality if peer is None else peer.scale
    tried: dict[int, int] = {}

    def measured(quality: int) -> int:
        tried[quality] = size(name, quality)
        return tried[quality]

    return tuple(
        dict.fromkeys(
            nearest_quality(scale, size(NONE, plain), plain if peer is None else scale.default, dict(tried), measured)
            for plain in plan.qualities[codec]
        )
    )


def _points(plan: Plan, data: bytes, files: Files, keys: Sequence[Key]) -> Iterator[Point]:
    image = files.image
    side = min(image.width, image.height)
    metrics = tuple(metric for metric in plan.metrics if side >= METRICS[metric].smallest_side)
    if not keys:
        return
    by_machines = [machine.scorer(image.pixels, keys[0].picture) for machine in plan.machines]
    for key in keys:
        file = files.file(key.preprocessor, key.quality)
        decoded = decode(file.data, key.picture)
        scores = _scorer(data, key.picture, metrics)(decoded.pixels)
        texts: dict[str, str] = {}
        for scorer in by_machines:
            found, evidence = scorer(decoded.pixels)
            scores, texts = scores | found, texts | evidence
        yield Point(
            **vars(key), width=image.width, height=image.height, bytes=len(file.data),
            bpp=bits_per_pixel(len(file.data), image.width, image.height),
            preprocess_seconds=round(file.preprocess_seconds, 4), encode_seconds=round(file.encode_seconds, 4),
            scores=scores, texts=texts,
        )  # fmt: skip


original = lru_cache(maxsize=1)(read_canonical)
"""The picture as it is compared, kept for all its points."""


@lru_cache(maxsize=1)
def _scorer(data: bytes, picture: str, metrics: tuple[str, ...]) -> Scorer:
    """Kept from point to point: the original's part of each metric is computed once a picture."""
    return Scorer(original(data, picture).pixels, metrics)
