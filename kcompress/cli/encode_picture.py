"""One task of ``encode`` done, on this machine or on another."""

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kcompress import urls
from kcompress.cli import output, places
from kcompress.cli.encode_tasks import Task
from kcompress.cli.files import Job
from kcompress.errors import KcompressError, UnsupportedError, failure_of

if TYPE_CHECKING:
    from kcompress.evaluation.contact import Shot
    from kcompress.images import Image
    from kcompress.search.plan import EncodePlan, EncodeResult
    from kcompress.search.refinement import Progress


class Result(NamedTuple):
    """Outcome for one file, and how it looks where that is wanted."""

    job: Job
    outcome: "EncodeResult | KcompressError"
    shot: "Shot | None" = None


def done(task: Task, tell: "Callable[[Progress], None] | None", shots: bool = False) -> list[Result]:
    """The compressed pictures of a task, or why there are none; with ``shots`` also how they look."""
    from kcompress.search.pipeline import picture_of

    name = output.name(task.choices[0][1].source)
    refusal = next((job.refusal for _, job in task.choices if job.refusal is not None), None)
    if task.best and refusal is not None:
        return [Result(task.choices[0][1], refusal)]
    try:
        data = places.read(task.source)
    except Exception as error:
        return [Result(job, job.refusal or failure_of(error, name)) for _, job in task.choices]
    picture = None
    if len(task.choices) > 1:  # decoded once
        codecs = [plan.codec for plan, _ in task.choices]
        picture = functools.cache(lambda: picture_of(task.choices[0][0], data, name, *codecs))
    results = [Result(job, _one(plan, job, data, tell, picture)) for plan, job in task.choices]
    results = [_best(task, results)] if task.best else results
    return [_with_shot(task, each, data) for each in results] if shots else results


Parcel = tuple[str, tuple[tuple[bytes, Job], ...], bool, bool]
"""Arguments of `done_elsewhere`."""


def parcel(task: Task, shots: bool) -> Parcel:
    """A task as it travels to another machine, which has to know its source by the same name."""
    source = task.source if urls.is_url(task.source) else str(Path(task.source).absolute())
    choices = tuple((pickle.dumps(plan.order and plan.order.anywhere()), job) for plan, job in task.choices)
    return source, choices, task.best, shots


def done_elsewhere(source: str, choices: tuple[tuple[bytes, Job], ...], best: bool, shots: bool) -> list[Result]:
    """The same on another machine, which may do several tasks at a time.

    Raises:
        KcompressError: the order cannot be carried out there: a network or an encoder is missing.
    """
    from kcompress.workers import one_thread

    one_thread()
    return done(Task(source, tuple((_plan(order), job) for order, job in choices), best), None, shots)


@functools.lru_cache(maxsize=8)
def _plan(order: bytes) -> "EncodePlan":
    """Plan of a pickled order: made once, as networks take their time to load."""
    made: EncodePlan = pickle.loads(order).plan()
    return made


def _with_shot(task: Task, result: Result, data: bytes) -> Result:
    from kcompress.evaluation.contact import shot
    from kcompress.search.pipeline import picture_of

    if isinstance(result.outcome, KcompressError):
        return result
    plan = next(plan for plan, job in task.choices if job is result.job)
    image = plan.codec.conformed(picture_of(plan, data, result.job.source, plan.codec))
    return result._replace(shot=shot(image, result.outcome.encoded.data))


def _one(
    plan: "EncodePlan", job: Job, data: bytes, tell: "Callable[[Progress], None] | None",
    picture: "Callable[[], Image] | None",
) -> "EncodeResult | KcompressError":  # fmt: skip
    from kcompress.codecs.originals import codec_of
    from kcompress.search.keep_original import left_alone
    from kcompress.search.pipeline import run

    try:
        if job.refusal is not None:
            raise job.refusal
        if job.in_place and codec_of(data) != plan.codec.name:
            raise UnsupportedError(
                f"{output.name(job.source)} is no {plan.codec.name} file, though its name says so, and is left as it "
                "is. Rename it, or give -o."
            )
        alone = left_alone(plan, data, output.name(job.source)) if job.in_place else None
        return alone or run(plan, data, output.name(job.source), tell, picture)
    except Exception as error:  # one picture ends no batch, whatever happens to it
        return failure_of(error, output.name(job.source))


def _best(task: Task, results: list[Result]) -> Result:
    """The result of the best codec; what kept others from being tried is noted, unless it kept all."""
    from kcompress.search.best_codec import best_codec

    found = [result for _, result, _ in results if not isinstance(result, KcompressError)]
    target = task.choices[0][0].target
    if not found or target is None:
        return results[0]
    best = best_codec(found, target)
    for (plan, _), (_, result, _) in zip(task.choices, results, strict=True):
        if isinstance(result, KcompressError):
            best = best.noted(f"{plan.codec.name} was not possible: {result}")
    job = next(job for plan, job in task.choices if plan.codec.name == best.encoded.setting.codec)
    return Result(job, best)
