"""``--dry-run``: what would be done, and about how large it would be."""

from collections.abc import Iterator, Mapping, Sequence

from kcompress.cli import output, places
from kcompress.cli.encode_picture import Result, done
from kcompress.cli.encode_tasks import Task
from kcompress.errors import KcompressError

_SAMPLE = 8
"""Pictures that are encoded for an estimate, spread evenly over all."""


def tell(tasks: Sequence[Task], jobs: int, *, as_json: bool) -> None:
    """Show each file that would be written, with its size: measured for a sample, estimated by it for the others.

    Inputs are estimated by the share of bytes that is left of the sample, codec by codec. Nothing is written.
    """
    from kcompress.workers import ordered, threads

    able = [number for number, task in enumerate(tasks) if all(job.refusal is None for _, job in task.choices)]
    sample = sorted({able[(2 * place + 1) * len(able) // (2 * _SAMPLE)] for place in range(_SAMPLE)}) if able else []
    with threads(min(jobs, max(1, len(sample)))) as pool:
        found = list(ordered(pool, done, ((tasks[number], None) for number in sample), jobs))
    measured = dict(zip(sample, found, strict=True))
    share = _shares(measured)
    read = written = 0.0
    for number, task in enumerate(tasks):
        for source, target, length, size, message in _lines(task, measured.get(number), share):
            read, written = read + (length if size is not None else 0), written + (size or 0)
            sign = "" if number in measured else "about "
            sizes = f"{output.size(length)} -> {sign}{output.size(round(size))}" if size is not None else message
            output.say(f"{output.name(source)} -> {output.name(target)}  {sizes}")
            if as_json:
                output.line({
                    "type": "planned", "input": source, "output": target, "input_bytes": length,
                    "output_bytes": None if size is None else round(size), "measured": number in measured,
                    "message": message,
                })  # fmt: skip
    saving = f" ({100 * (written / read - 1):+.1f} %)" if read else ""
    pictures = "1 picture" if len(tasks) == 1 else f"{len(tasks)} pictures"
    output.say(
        f"{pictures}: {output.size(round(read))} -> about {output.size(round(written))}{saving}, by "
        f"{len(sample)} of them; nothing was written"
    )


def _shares(measured: Mapping[int, list[Result]]) -> dict[int, float]:
    """Share of the input's bytes that is left, by the number of the choice."""
    before: dict[int, int] = {}
    after: dict[int, int] = {}
    for results in measured.values():
        for place, (_, result, _) in enumerate(results):
            if not isinstance(result, KcompressError):
                before[place] = before.get(place, 0) + result.length
                after[place] = after.get(place, 0) + len(result.encoded.data)
    return {place: after[place] / before[place] for place in before}


def _lines(
    task: Task, measured: list[Result] | None, share: Mapping[int, float]
) -> Iterator[tuple[str, str, int, float | None, str | None]]:
    """Input, output, bytes of both, and what stands in the way, of each file of a task."""
    if measured is not None:
        for job, result, _ in measured:
            if isinstance(result, KcompressError):
                yield job.source, job.target, places.size(job.source), None, f"would fail: {result}"
            else:
                yield job.source, job.target, result.length, len(result.encoded.data), None
        return
    length = places.size(task.source)
    for place, (_, job) in enumerate(task.choices[:1] if task.best else task.choices):
        target = places.with_suffix(job.target, ".*") if task.best else job.target
        if job.refusal is not None:
            yield job.source, target, length, None, f"would fail: {job.refusal}"
        elif place in share:
            yield job.source, target, length, share[place] * length, None
        else:
            yield job.source, target, length, None, "size unknown: the sample failed"
