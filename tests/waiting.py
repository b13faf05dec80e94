"""Waits for what other processes do."""

import os
import time
from collections.abc import Callable
from pathlib import Path

LONGEST_SECONDS = 120
"""Far more than it takes, for machines that are busy."""


def wait_until(true: Callable[[], bool]) -> None:
    """Look again and again; fail where it never comes to that."""
    end = time.monotonic() + LONGEST_SECONDS
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    return _status(pid)[:1] not in ([], ["Z"])


def cpu_seconds(pid: int) -> float:
    """What a process and its threads have used; 0 where it has ended."""
    return sum(map(int, _status(pid)[11:13])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int) -> list[str]:
    """Linux's words on a process from its state on; none where it has been collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
