"""Tasks of ``encode`` done: on threads, written in order, shown."""

import functools
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kcompress import storage
from kcompress.cli import encoded, files, output
from kcompress.cli.encode_report import Report
from kcompress.cli.encode_tasks import Task
from kcompress.cli.files import STREAM, Job
from kcompress.cli.reporting import fail, failure
from kcompress.errors import KcompressError, OutputError, UnsupportedError, UsageError, failure_of

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from kcompress.evaluation.contact import Shot
    from kcompress.images import Image
    from kcompress.search.plan import EncodePlan, EncodeResult
    from kcompress.search.refinement import Progress


class Result(NamedTuple):
    """Outcome for one file, and how it looks where that is wanted."""

    job: Job
    outcome: "EncodeResult | KcompressError"
    shot: "Shot | None" = None


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
        ((job, result, _),) = done(task, _telling(task, bar))
        if isinstance(result, KcompressError):
            raise result
        stdout.write(result.encoded.data)
    encoded.report(job, result, output.Notes(), verbose=verbose)


@dataclass(frozen=True)
class Writing:
    """Way in which results are written and shown.

    Attributes:
        force: existing files are replaced.
        keep_times: results have the times of their inputs.
        as_json: a line of JSON a file.
        verbose: more for people.
    """

    force: bool = False
    keep_times: bool = False
    as_json: bool = False
    verbose: bool = False

    def write(self, job: Job, data: bytes, length: int) -> None:
        """Write one result, after its backup where there is one; a file that would stay the same is left alone.

        Raises:
            OutputError: it cannot be written or is there already, or what it replaces has no longer its ``length``.
        """
        status = Path(job.source).stat() if job.source != STREAM else None
        times = (status.st_atime_ns, status.st_mtime_ns) if status is not None else None
        kept = times if self.keep_times else None
        if not job.in_place or status is None:
            storage.write(job.target, data, replace=self.force, times=kept)
            return
        before, rights = Path(job.source).read_bytes(), stat.S_IMODE(status.st_mode)
        if before == data:
            return
        if len(before) != length:
            raise OutputError(f"{output.name(job.source)} was changed meanwhile and is left as it is. Start again.")
        if job.backup is not None and not _holds(job.backup, before):
            storage.write(job.backup, before, replace=False, rights=rights, times=times)
        storage.write(job.target, data, rights=rights, times=kept)


def _holds(path: str, data: bytes) -> bool:
    return Path(path).is_file() and Path(path).read_bytes() == data


def to_files(tasks: Sequence[Task], jobs: int, writing: Writing = Writing(), reports: Sequence[Report] = ()) -> None:
    """Write all results, and show them as they come."""
    from kcompress.workers import ordered, threads

    start = time.perf_counter()
    failures: list[KcompressError] = []
    read = written = count = 0
    notes = output.Notes(every=writing.verbose)
    workers = min(jobs, len(tasks))
    with (
        output.progress(len(tasks), always=True) as bar,
        # Threads do: decoders, encoders, NumPy and ONNX Runtime all work outside Python's lock.
        threads(workers) as pool,
    ):
        shown = bar.add_task("encoding", total=len(tasks))
        shots = any(each.has_pictures for each in reports)
        work = ((task, _telling(task, bar), shots) for task in tasks)
        for results in ordered(pool, done, work, 1 if workers == 1 else _AHEAD * workers):
            for job, result, shot in results:
                count += 1
                if not isinstance(result, KcompressError):
                    try:
                        writing.write(job, result.encoded.data, result.length)
                    except (KcompressError, OSError) as error:
                        result = failure_of(error, output.name(job.source))
                for each in reports:
                    each.add(job, result, shot)
                if isinstance(result, KcompressError):
                    failures.append(result)
                    if writing.as_json:
                        output.line(failure(result, job.source))
                else:
                    read, written = read + result.length, written + len(result.encoded.data)
                    if writing.as_json:
                        output.line(encoded.success(job, result))
                    encoded.report(job, result, notes, verbose=writing.verbose)
            bar.advance(shown)
    notes.close()
    for each in reports:
        each.write()
    if count == 1 and failures:
        fail(failures[0])
    if count > 1:
        encoded.summarise(count, failures, read, written, time.perf_counter() - start, writing.as_json)


def done(task: Task, tell: "Callable[[Progress], None] | None", shots: bool = False) -> list[Result]:
    """The compressed pictures of a task, or why there are none; with ``shots`` also how they look."""
    from kcompress.search.pipeline import picture_of

    name = output.name(task.source)
    refusal = next((job.refusal for _, job in task.choices if job.refusal is not None), None)
    if task.best and refusal is not None:
        return [Result(task.choices[0][1], refusal)]
    try:
        data = files.read(task.source)
    except Exception as error:
        return [Result(job, job.refusal or failure_of(error, name)) for _, job in task.choices]
    picture = None
    if len(task.choices) > 1:  # decoded once
        codecs = [plan.codec for plan, _ in task.choices]
        picture = functools.cache(lambda: picture_of(task.choices[0][0], data, name, *codecs))
    results = [Result(job, _one(plan, job, data, tell, picture)) for plan, job in task.choices]
    results = [_best(task, results)] if task.best else results
    return [_with_shot(task, each, data) for each in results] if shots else results


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


def _telling(task: Task, bar: "Bar | output.Hidden") -> "Callable[[Progress], None] | None":
    """Shows how far a picture's refinement is, in a line of its own."""
    if not any(plan.refine for plan, _ in task.choices):
        return None
    shown: list[TaskID] = []

    def tell(progress: "Progress") -> None:
        if not shown:
            shown.append(bar.add_task(output.visible(f"refining {output.name(task.source)}"), total=progress.total))
        bar.update(shown[0], completed=progress.done, visible=progress.done < progress.total)

    return tell
