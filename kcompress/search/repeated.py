"""Work that is repeated many times on the same tensors: on CUDA a graph, which starts all kernels at once."""

from collections.abc import Callable

import torch

_WARM_UP = 2
"""Calls before a graph is captured: libraries set themselves up in the first ones."""


class Repeated:
    """Runs one piece of work again and again, and captures it as a CUDA graph if asked to.

    The work is in place on tensors of one device. It must not wait for the device, and the shapes and places of its
    tensors must not change from call to call.
    """

    def __init__(self, *, graph: bool) -> None:
        self._graphed, self._calls = graph, 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, work: Callable[[], None]) -> None:
        """Do the work, which is the same in each call."""
        self._calls += 1
        if not self._graphed:
            work()
        elif self._calls <= _WARM_UP:
            _beside(work)
        else:
            self._graph = self._graph or _captured(work)
            self._graph.replay()


def _beside(work: Callable[[], None]) -> None:
    """Work on a stream beside the current one, as is asked for before a capture."""
    current, beside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    beside.wait_stream(current)
    with torch.cuda.stream(beside):
        work()
    current.wait_stream(beside)


def _captured(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    # Other pictures' threads may use the device meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph
