"""Work on many pictures at a time: processes or threads, and how far they may run ahead."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar, cast

from kcompress.errors import ProgramError
from kcompress.programs import stop_all
from kcompress.storage import drop_unfinished

Result = TypeVar("Result")
Event = TypeVar("Event")


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[Executor]:
    """An executor of ``jobs`` processes, or for one job of this process; work that is under way ends with the block.

    Raises:
        ProgramError: a worker was killed.
    """
    if jobs == 1:
        one_thread()
        yield _Here()
        return
    context = multiprocessing.get_context("spawn")  # threads of torch and ONNX Runtime do not survive a fork
    pool = ProcessPoolExecutor(jobs, context, _start)
    try:
        yield pool
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


@contextlib.contextmanager
def threads(count: int) -> Iterator[Executor]:
    """An executor of ``count`` threads, or for one of the calling thread; nobody waits for work after an error."""
    if count == 1:
        yield _Here()
        return
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _Here(Executor):
    """Does the work at once, where it is submitted."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future


def ahead(jobs: int) -> int:
    """Number of tasks to submit before the first is done.

    One worker writes each result before it begins the next task; several have their next task at hand.
    """
    return 1 if jobs == 1 else 2 * jobs


def completed(
    executor: Executor, function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], ahead: int
) -> Iterator[Result]:
    """Results in the order in which they come; no more than ``ahead`` tasks are submitted and not yet yielded."""
    running: set[Future[Result]] = set()
    for task in tasks:
        running.add(executor.submit(function, *task))
        while len(running) >= ahead:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    for future in as_completed(running):
        yield future.result()


def ordered(
    executor: Executor, function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], ahead: int
) -> Iterator[Result]:
    """The same in the order of the tasks, which may be endless."""
    waiting: deque[Future[Result]] = deque()
    for task in tasks:
        waiting.append(executor.submit(function, *task))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def drained(events: Generator[Event, None, Result], tell: Callable[[Event], None] | None = None) -> Result:
    """Return value of a generator; ``tell`` is called with everything that it yields."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return cast(Result, end.value)
        if tell is not None:
            tell(event)


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    one_thread()


def _end(number: int, frame: object) -> None:
    stop_all()
    drop_unfinished()
    os._exit(1)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers; they notice."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stop_all()
        drop_unfinished()
        os._exit(1)


def one_thread() -> None:
    """Let torch and OpenCV use one thread each.

    Sums are then the same on every machine, and workers do not get in each other's way.
    """
    import cv2
    import torch  # the metrics need it

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
