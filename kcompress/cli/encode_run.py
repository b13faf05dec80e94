"""Tasks of ``encode`` done: on threads or a cluster, written in order, shown."""

import contextlib
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress import storage
from kcompress.cli import cluster, encoded, output
from kcompress.cli.encode_picture import done, done_elsewhere, parcel
from kcompress.cli.encode_report import Report
from kcompress.cli.encode_tasks import Task
from kcompress.cli.files import Job
from kcompress.cli.places import STREAM
from kcompress.cli.reporting import fail, failure
from kcompress.errors import KcompressError, OutputError, UsageError, failure_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from kcompress.search.refinement import Progress


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
        status = Path(job.source).stat() if job.in_place or (self.keep_times and job.source != STREAM) else None
        times = (status.st_atime_ns, status.st_mtime_ns) if status is not None else None
        kept = times if self.keep_times else None
        if not job.in_place or status is None:
            storage.write(job.target, data, replace=self.force, times=kept)
            return
        before, rights = Path(job.source).read_bytes(), stat.S_IMODE(status.st_mode)
        owner = status.st_uid, status.st_gid
        if before == data:
            return
        if len(before) != length:
            raise OutputError(f"{output.name(job.source)} was changed meanwhile and is left as it is. Start again.")
        if job.backup is not None and not _holds(job.backup, before):
            storage.write(job.backup, before, replace=False, rights=rights, times=times, owner=owner)
        storage.write(job.target, data, rights=rights, times=kept, owner=owner)


def _holds(path: str, data: bytes) -> bool:
    return Path(path).is_file() and Path(path).read_bytes() == data


def to_files(
    tasks: Sequence[Task], jobs: int, writing: Writing = Writing(), reports: Sequence[Report] = (),
    address: str | None = None,
) -> None:  # fmt: skip
    """Write all results, and show them as they come, from threads here or from the cluster of that address."""
    from kcompress.workers import ordered

    start = time.perf_counter()
    failures: list[tuple[str, KcompressError]] = []
    read = written = count = 0
    notes = output.Notes(every=writing.verbose)
    shots = any(each.has_pictures for each in reports)
    with (
        output.progress(len(tasks), always=True) as bar,
        _executor(min(jobs, len(tasks)), address) as (pool, ahead),
    ):
        shown = bar.add_task("encoding", total=len(tasks))
        if address is None:
            found = ordered(pool, done, ((task, _telling(task, bar), shots) for task in tasks), ahead)
        else:
            found = ordered(pool, done_elsewhere, (parcel(task, shots) for task in tasks), ahead)
        for results in found:
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
                    failures.append((job.source, result))
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
        fail(failures[0][1])
    if count > 1:
        encoded.summarise(count, failures, read, written, time.perf_counter() - start, writing.as_json)


@contextlib.contextmanager
def _executor(jobs: int, address: str | None) -> "Iterator[tuple[Executor, int]]":
    """Executor that does the tasks, and how many are given out before the first one is written."""
    if address is not None:
        with cluster.executor(address, "--skip-existing") as (executor, count):
            yield executor, _AHEAD * count
        return
    from kcompress.workers import threads

    # Threads do: decoders, encoders, NumPy and ONNX Runtime all work outside Python's lock.
    with threads(jobs) as executor:
        yield executor, 1 if jobs == 1 else _AHEAD * jobs


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
