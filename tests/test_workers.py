"""Work shared by processes: the same results, not too much at once, and nothing that goes on after its end."""

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from waiting import alive, wait_until

from kcompress.errors import ProgramError
from kcompress.workers import completed, drained, ordered, threads, workers

# What a worker is to do has to be found by its name in a fresh process: functions of libraries.
PAIRS = [(number, 7) for number in range(20)]


def run(jobs: int, function: Callable[..., Any], tasks: list[tuple[Any, ...]]) -> Generator[Any]:
    """As the callers use it: a generator that may be closed."""
    with workers(jobs) as executor:
        yield from completed(executor, function, tasks, ahead=2 * jobs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_number_of_jobs_changes_nothing(jobs: int) -> None:
    assert sorted(run(jobs, divmod, PAIRS)) == [divmod(*pair) for pair in PAIRS]


def test_one_job_is_this_process() -> None:
    assert set(run(1, os.getpid, [()] * 3)) == {os.getpid()}


def test_one_job_ahead_is_one_by_one_and_in_order() -> None:
    begun: list[int] = []
    with workers(1) as executor:
        for number, _ in enumerate(completed(executor, begun.append, ((n,) for n in itertools.count()), ahead=1)):
            assert begun == list(range(number + 1))
            if number == 5:
                break


def test_workers_are_other_processes_of_one_thread_that_leave_ctrl_c_to_their_parent() -> None:
    with workers(2) as executor:
        assert executor.submit(signal.raise_signal, signal.SIGINT).result() is None
        assert executor.submit(os.getpid).result() != os.getpid()
        assert executor.submit(torch.get_num_threads).result() == 1
        assert executor.submit(cv2.getNumThreads).result() == 1


@pytest.mark.parametrize("ahead", [1, 2, 5, 50])
def test_no_more_is_submitted_than_asked_for(ahead: int) -> None:
    out, most = 0, 0

    class Counting(ThreadPoolExecutor):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
            nonlocal out, most
            out += 1
            most = max(most, out)
            return super().submit(function, *arguments, **named)

    results = []
    with Counting(3) as executor:
        for result in completed(executor, divmod, iter(PAIRS), ahead):
            out -= 1
            results.append(result)
    assert most == min(ahead, len(PAIRS))
    assert sorted(results) == [divmod(*pair) for pair in PAIRS]


def test_nothing_to_do() -> None:
    assert list(run(1, divmod, [])) == list(run(2, divmod, [])) == []
    with threads(2) as pool:
        assert list(ordered(pool, divmod, [], 3)) == []


@pytest.mark.parametrize("count", [1, 3])
def test_results_in_order_are_only_a_few_tasks_ahead(count: int) -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        return number

    with threads(count) as pool:
        results = ordered(pool, work, ((number,) for number in itertools.count()), 4 * count)
        assert next(results) == 0
        time.sleep(0.2)
        assert len(begun) <= 4 * count
        assert list(itertools.islice(results, 49)) == list(range(1, 50))


def test_the_end_of_the_tasks_is_the_end_of_the_results() -> None:
    with threads(2) as pool:
        assert list(ordered(pool, divmod, PAIRS, 5)) == [divmod(*pair) for pair in PAIRS]


def test_threads_are_not_waited_for_after_an_error() -> None:
    over, begun = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return over.wait(20)

    start = time.monotonic()
    with pytest.raises(KeyError), threads(2) as pool:
        running = [pool.submit(work) for _ in range(20)]
        begun.wait(20)
        raise KeyError
    assert time.monotonic() - start < 10
    over.set()
    assert sum(future.cancelled() for future in running) >= 18


def test_one_thread_is_this_one() -> None:
    with threads(1) as pool:
        assert pool.submit(threading.get_ident).result() == threading.get_ident()


def test_a_generator_is_drained_to_what_it_returns() -> None:
    def work() -> Generator[int, None, str]:
        yield 1
        yield 2
        return "done"

    told: list[int] = []
    assert drained(work(), told.append) == drained(work()) == "done"
    assert told == [1, 2]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_a_task_is_raised(jobs: int) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        list(run(jobs, int, [("1",), ("nonsense",), ("3",)]))


def interrupted() -> None:
    raise KeyboardInterrupt


def test_ctrl_c_goes_through() -> None:
    """At once, and not with the result: nothing more is begun."""
    with workers(1) as executor, pytest.raises(KeyboardInterrupt):
        executor.submit(interrupted)


@pytest.mark.parametrize("ending", [GeneratorExit, KeyboardInterrupt, OSError])
def test_an_early_end_ends_the_workers(ending: type[BaseException]) -> None:
    results = run(2, time.sleep, [(0,), (0,), (600,), (600,)])
    next(results), next(results)
    workers_now = [child.pid for child in multiprocessing.active_children()]
    assert workers_now
    with pytest.raises(ending):
        results.throw(ending)
    wait_until(lambda: not any(map(alive, workers_now)))


def test_a_killed_worker_is_told() -> None:
    with pytest.raises(ProgramError, match=r"a worker was killed.*Give fewer --jobs"):
        list(run(2, signal.raise_signal, [(signal.SIGKILL,), (0,)]))


PARENT = """
import os, time
from kcompress.workers import workers
if __name__ == "__main__":
    with workers(2) as executor:
        print(executor.submit(os.getpid).result(), flush=True)
        executor.submit(time.sleep, 600)
        time.sleep(600)
"""


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    argv = [sys.executable, tmp_path / "parent.py"]
    # Its resource tracker will complain of semaphores, which nobody could release.
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(argv, text=True, **pipes) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not alive(worker))
