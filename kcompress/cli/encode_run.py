"""Tasks of ``encode`` done: on threads, written in order, shown."""

import functools
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.progress import Progress as Bar
from rich.progress import TaskID

from kcompress import storage
from kcompress.cli import encoded, files, output
from kcompress.cli.encode_tasks import Task
from kcompress.cli.files import Job
from kcompress.cli.reporting import fail, failure
from kcompress.errors import KcompressError, UsageError, failure_of

if TYPE_CHECKING:
    from kcompress.images import Image
    from kcompress.search.plan import EncodePlan, EncodeResult
    from kcompress.search.refinement import Progress

Result = tuple[Job, "EncodeResult | KcompressError"]

_AHEAD = 4
"""Pictures a worker may be ahead of the next one to be written: behind a slow one, results do not pile up in memory."""


def to_stdout(task: Task, *, as_json: bool, verbose: bool) -> None:
    """Write the one result to stdout.

    Raises:
        KcompressError: there is none.
    """
    if as_json:
        raise UsageError("--json and the picture cannot both go to stdout. Give -o FILE.")
    with output.guarded_stdout() as stdout, output.progress(1, always=True) as bar:
        bar.add_task("encoding", total=1)
        ((job, result),) = done(task, _telling(task, bar))
        if isinstance(result, KcompressError):
            raise result
        stdout.write(result.encoded.data)
    encoded.report(job, result, output.Notes(), verbose=verbose)


def to_files(tasks: Sequence[Task], jobs: int, *, as_json: bool, force: bool, verbose: bool) -> None:
    """Write all results, and show them as they come."""
    from kcompress.workers import ordered, threads

    start = time.perf_counter()
    failures: list[KcompressError] = []
    read = written = count = 0
    notes = output.Notes(every=verbose)
    workers = min(jobs, len(tasks))
    with (
        output.progress(len(tasks), always=True) as bar,
        # Threads do: decoders, encoders, NumPy and ONNX Runtime all work outside Python's lock.
        threads(workers) as pool,
    ):
        shown = bar.add_task("encoding", total=len(tasks))
        work = ((task, _telling(task, bar)) for task in tasks)
        for results in ordered(pool, done, work, 1 if workers == 1 else _AHEAD * workers):
            for job, result in results:
                count += 1
                if not isinstance(result, KcompressError):
                    try:
                        storage.write(job.target, result.encoded.data, replace=force)
                    except KcompressError as error:
                        result = error
                if isinstance(result, KcompressError):
                    failures.append(result)
                    if as_json:
                        output.line(failure(result, job.source))
                else:
                    read, written = read + result.length, written + len(result.encoded.data)
                    if as_json:
                        output.line(encoded.success(job, result))
                    encoded.report(job, result, notes, verbose=verbose)
            bar.advance(shown)
    notes.close()
    if count == 1 and failures:
        fail(failures[0])
    if count > 1:
        encoded.summarise(count, failures, read, written, time.perf_counter() - start, as_json)


def done(task: Task, tell: "Callable[[Progress], None] | None") -> list[Result]:
    """The compressed pictures of a task, or why there are none."""
    from kcompress.search.pipeline import picture_of

    name = output.name(task.source)
    refusal = next((job.refusal for _, job in task.choices if job.refusal is not None), None)
    if task.best and refusal is not None:
        return [(task.choices[0][1], refusal)]
    try:
        data = files.read(task.source)
    except Exception as error:
        return [(job, job.refusal or failure_of(error, name)) for _, job in task.choices]
    picture = None
    if len(task.choices) > 1:  # decoded once
        codecs = [plan.codec for plan, _ in task.choices]
        picture = functools.cache(lambda: picture_of(task.choices[0][0], data, name, *codecs))
    results = [(job, _one(plan, job, data, tell, picture)) for plan, job in task.choices]
    return [_best(task, results)] if task.best else results


def _one(
    plan: "EncodePlan", job: Job, data: bytes, tell: "Callable[[Progress], None] | None",
    picture: "Callable[[], Image] | None",
) -> "EncodeResult | KcompressError":  # fmt: skip
    from kcompress.search.pipeline import run

    try:
        if job.refusal is not None:
            raise job.refusal
        return run(plan, data, output.name(job.source), tell, picture)
    except Exception as error:  # one picture ends no batch, whatever happens to it
        return failure_of(error, output.name(job.source))


def _best(task: Task, results: list[Result]) -> Result:
    """The result of the best codec; what kept others from being tried is noted, unless it kept all."""
    from kcompress.search.best_codec import best_codec

    found = [result for _, result in results if not isinstance(result, KcompressError)]
    target = task.choices[0][0].target
    if not found or target is None:
        return results[0]
    best = best_codec(found, target)
    for (plan, _), (_, result) in zip(task.choices, results, strict=True):
        if isinstance(result, KcompressError):
            best = best.noted(f"{plan.codec.name} was not possible: {result}")
    job = next(job for plan, job in task.choices if plan.codec.name == best.encoded.setting.codec)
    return job, best


def _telling(task: Task, bar: Bar) -> "Callable[[Progress], None] | None":
    """Shows how far a picture's refinement is, in a line of its own."""
    if not any(plan.refine for plan, _ in task.choices):
        return None
    shown: list[TaskID] = []

    def tell(progress: "Progress") -> None:
        if not shown:
            shown.append(bar.add_task(output.visible(f"refining {output.name(task.source)}"), total=progress.total))
        bar.update(shown[0], completed=progress.done, visible=progress.done < progress.total)

    return tell
