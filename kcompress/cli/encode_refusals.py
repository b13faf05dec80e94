"""Options of ``encode`` that have no meaning beside others. Each function raises a `UsageError` where one is given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kcompress import urls
from kcompress.errors import UsageError

if TYPE_CHECKING:
    from kcompress.search.target import Target


def _given(options: Mapping[str, object]) -> list[str]:
    return [option for option, value in options.items() if value is not None and value is not False]


def excluded(by: str, options: Mapping[str, object], why: str = "") -> None:
    """Options that exclude another one."""
    for option in _given(options):
        raise UsageError(f"{by} and {option} exclude each other{why}. Leave one out.")


def far(options: Mapping[str, object], names: Sequence[str]) -> None:
    """Options that take files of this machine, where some of ``names`` are behind URLs."""
    url = next((name for name in names if urls.is_url(urls.local(name))), None)
    for option in _given(options) if url is not None else ():
        raise UsageError(f"{option} has no meaning for {url}, which is not on this machine. Leave it out.")


def of_one_codec(options: Mapping[str, object]) -> None:
    """Options that mean another thing to each codec, where there are several."""
    for option in _given(options):
        raise UsageError(
            f"{option} {options[option]} means another thing to each codec. Leave it out; --target 80 is one quality "
            "for all."
        )


def best_without_score(target: "Target | None") -> None:
    """A choice of the best codec without a score that all files have."""
    if target is None or target.metric is None:
        raise UsageError("--codec best compares files of one quality: give it, such as --target 80.")


def strength_of_nothing(strength: float | None, networks: Sequence[str]) -> None:
    """A share of the change by networks, where there is none."""
    from kcompress.networks import NONE

    if strength is not None and all(network == NONE for network in networks):
        raise UsageError(
            f"--strength {strength:g} has no meaning for --network {NONE}. Name another network, or leave it out."
        )


def report_of_nothing(reports: Sequence[str], *, dry_run: bool, streamed: bool) -> None:
    """Reports where no files are written."""
    if reports and (dry_run or streamed):
        raise UsageError(f"--report {reports[0]}: {'--dry-run' if dry_run else 'stdout'} has none. Leave it out.")


def task_weights(task: str, network: str, weights: Path | None) -> None:
    """Weights of a task for a network that serves none, or beside others."""
    from kcompress.networks import NETWORKS

    if network not in NETWORKS or not NETWORKS[network].task:
        raise UsageError(f"--task-weights {task} has no meaning for --network {network}. Take --network npp.")
    if weights is not None:
        raise UsageError(f"--task-weights {task} and --weights exclude each other. Leave one out.")
