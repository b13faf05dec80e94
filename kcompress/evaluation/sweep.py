"""The measuring itself: pictures x codecs x preprocessors x qualities -> points."""

import hashlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from kcompress import networks
from kcompress.codecs import CODECS, decode
from kcompress.encoding import encode
from kcompress.errors import KcompressError, ProgramError
from kcompress.evaluation.points import Key, Point
from kcompress.images import Image, read
from kcompress.metrics import METRICS, Scorer
from kcompress.networks import Preprocessor
from kcompress.pool import filter_named
from kcompress.programs import stop_all


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        folder: of the data set.
        qualities: by name of the codec, in order.
        preprocessors: networks and filters by name; ``none`` is among them, to compare with.
        metrics: names.
        device: for networks.
    """

    folder: Path
    qualities: Mapping[str, tuple[int, ...]]
    preprocessors: tuple[str, ...]
    metrics: tuple[str, ...]
    device: str = "auto"


@dataclass(frozen=True)
class Measured:
    """One picture with one codec.

    Attributes:
        picture: path below the data set's folder.
        codec: name.
        keys: of all points that the plan wants, with the picture and the encoder as they are now, in order.
        points: those that were not done before.
        error: why there are none.
    """

    picture: str
    codec: str
    keys: tuple[Key, ...]
    points: tuple[Point, ...]
    error: str | None = None


def sweep(plan: Plan, pictures: Sequence[str], done: Iterable[Key], jobs: int) -> Generator[Measured]:
    """Measure every picture with every codec, in no certain order; what is done already is left out.

    The numbers do not depend on ``jobs``: each worker computes a picture alone, on one thread.
    """
    known = frozenset(done)
    tasks = [(picture, codec) for picture in pictures for codec in plan.qualities]
    if jobs == 1:
        one_thread()
        for picture, codec in tasks:
            yield measure(plan, picture, codec, known)
        return
    context = multiprocessing.get_context("spawn")  # threads of torch and ONNX Runtime do not survive a fork
    pool = ProcessPoolExecutor(jobs, context, _start_worker)
    try:
        for future in as_completed([pool.submit(measure, plan, *task, known) for task in tasks]):
            yield future.result()
    except BrokenProcessPool as error:
        raise ProgramError(
            "a worker was killed, perhaps for want of memory. Give fewer --jobs, and --resume to go on."
        ) from error
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def measure(plan: Plan, picture: str, codec: str, done: frozenset[Key]) -> Measured:
    """All points of one picture and one codec that are not done yet."""
    try:
        data = (plan.folder / picture).read_bytes()
        image = CODECS[codec].accepted(original(data, picture))
        encoder = CODECS[codec].backend("auto", image)
        source = (picture, hashlib.sha256(data).hexdigest(), codec, encoder.name, encoder.version() or "")
        keys = [
            Key(*source, preprocessor, quality)
            for preprocessor in plan.preprocessors
            for quality in plan.qualities[codec]
        ]
        missing = [key for key in keys if key not in done]
        return Measured(picture, codec, tuple(keys), tuple(_points(plan, data, image, missing)))
    except KcompressError as error:
        return Measured(picture, codec, (), (), str(error))
    except OSError as error:
        return Measured(picture, codec, (), (), f"{picture} cannot be read: {error.strerror}")


def _points(plan: Plan, data: bytes, image: Image, keys: Sequence[Key]) -> Iterator[Point]:
    side = min(image.width, image.height)
    metrics = tuple(metric for metric in plan.metrics if side >= METRICS[metric].smallest_side)
    prepared: tuple[str, Image, float] | None = None
    for key in keys:
        codec = CODECS[key.codec]
        setting = codec.setting(key.quality)
        preprocessor = preprocessor_named(key.preprocessor, plan.device)
        # What does not depend on the setting is prepared once for all qualities.
        if prepared is None or prepared[0] != key.preprocessor or (preprocessor and preprocessor.conditioned):
            start = time.perf_counter()
            result = image if preprocessor is None else preprocessor(image, setting)
            prepared = key.preprocessor, result, time.perf_counter() - start
        encoded = encode(prepared[1], codec, setting, None, key.backend)
        decoded = decode(encoded.data, key.picture)
        yield Point(
            **key._asdict(),
            width=image.width,
            height=image.height,
            bytes=len(encoded.data),
            bpp=encoded.bpp,
            preprocess_seconds=round(prepared[2], 4),
            encode_seconds=round(encoded.codec_seconds, 4),
            scores=_scorer(data, key.picture, metrics)(decoded.pixels),
        )


@lru_cache(maxsize=1)
def original(data: bytes, picture: str) -> Image:
    """The picture as it is compared: sRGB, no alpha (over white), no metadata that would count as bytes."""
    return replace(read(data, name=picture, metadata="none", background=(255, 255, 255)), notes=())


@lru_cache(maxsize=1)
def _scorer(data: bytes, picture: str, metrics: tuple[str, ...]) -> Scorer:
    """Kept from point to point: the original's part of each metric is computed once a picture."""
    return Scorer(original(data, picture).pixels, metrics)


@lru_cache(maxsize=8)
def preprocessor_named(name: str, device: str) -> Preprocessor | None:
    """A network or a filter by its name; None for ``none``."""
    if name in networks.NETWORKS:
        return networks.load(name, device=device)
    return filter_named(name)


def check(plan: Plan) -> None:
    """Refuse a plan that cannot run, before the first picture.

    Raises:
        KcompressError: an unknown or unusable codec, preprocessor, metric or quality.
    """
    for name in plan.preprocessors:
        preprocessor_named(name, plan.device)
    for name, qualities in plan.qualities.items():
        codec = CODECS[name]
        codec.backend("auto")
        for quality in qualities:
            codec.setting(quality)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, _end_worker)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread()


def _end_worker(number: int, frame: object) -> None:
    stop_all()
    os._exit(1)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers; they notice."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop_all()
        os._exit(1)


def one_thread() -> None:
    """Let torch use one thread: sums are then the same on every machine, and workers do not get in each other's way."""
    import torch  # the metrics need it

    torch.set_num_threads(1)
