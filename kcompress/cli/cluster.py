"""``--cluster``: the executor that gives work to other machines, by dask."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kcompress.errors import KcompressError, MissingProgramError, ProgramError, UsageError

if TYPE_CHECKING:
    from concurrent.futures import Executor


@contextlib.contextmanager
def executor(address: str, go_on: str) -> "Iterator[tuple[Executor, int]]":
    """Executor of a scheduler's workers, and how many tasks they do at a time; the work of a lost one is done again.

    Args:
        address: ``tcp://HOST:PORT``.
        go_on: the option with which the command goes on after it failed.

    Raises:
        MissingProgramError: dask is not installed.
        UsageError: nobody answers, or there are no workers.
        ProgramError: the cluster failed.
    """
    import logging

    try:
        from distributed import Client
    except ImportError:
        raise MissingProgramError("--cluster needs dask. pip install 'kcompress[cluster]'.") from None
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it would log, the messages below say
    try:
        client: Any = Client(address, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"--cluster {address} does not answer ({error}). Start dask scheduler, or give tcp://HOST:PORT."
        ) from error
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise UsageError(f"--cluster {address} has no workers. Start dask worker {address}.")
        workers = client.get_executor(pure=False)  # a picture may have changed since another run asked for it
        try:
            yield workers, threads
        except (KcompressError, OSError, MemoryError):
            raise
        # Other people's machines: workers vanish, are cancelled, or have no kcompress.
        except Exception as error:
            reason = (str(error) or type(error).__name__).partition("\n")[0].rstrip(".")
            raise ProgramError(
                f"--cluster {address} failed: {reason}. Check that its workers run and have this kcompress, "
                f"then go on with {go_on}."
            ) from error
        finally:
            workers.shutdown(wait=False)  # of an interrupted run; otherwise nothing is under way


@contextlib.contextmanager
def processes(jobs: int, address: str | None) -> "Iterator[tuple[Executor, int]]":
    """Executor of processes here, or of the cluster of that address; and how many tasks are given out at a time."""
    if address is not None:
        with executor(address, "--resume") as (workers, threads):
            yield workers, 2 * threads
        return
    from kcompress.workers import ahead
    from kcompress.workers import workers as pool

    with pool(jobs) as here:
        yield here, ahead(jobs)
