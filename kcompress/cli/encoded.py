"""Pictures that were encoded, for people and as JSON lines."""

import math
from typing import TYPE_CHECKING

import typer

from kcompress.cli import output
from kcompress.cli.files import STREAM, Job
from kcompress.errors import KcompressError

if TYPE_CHECKING:
    from kcompress.encoding import Encoded
    from kcompress.search.pipeline import EncodeResult


def report(job: Job, done: "EncodeResult") -> None:
    """Show one line for people, and the notes below it."""
    encoded, length = done.encoded, done.length
    target = "stdout" if job.target == STREAM else output.name(job.target)
    saving = f"{100 * (len(encoded.data) / length - 1):+.1f} %"
    output.say(
        f"{output.name(job.source)} -> {target}  {output.size(length)} -> {output.size(len(encoded.data))} ({saving}), "
        f"{encoded.bpp:.3f} bpp, q {encoded.setting.quality}, {_how(done)}, "
        f"{encoded.backend} ({encoded.version}) {encoded.codec_seconds:.2f} s"
    )
    for note in _notes(encoded, length):
        output.say(f"  note: {note}", style="yellow")


def _how(done: "EncodeResult") -> str:
    """Preprocessing of a file and its time, for people."""
    encoded, selection, refinement = done.encoded, done.selection, done.refinement
    how = f"{encoded.network} {encoded.network_seconds:.2f} s"
    if selection is not None and selection.candidates:
        first = selection.candidates[0]
        how = f"auto: {first.network} ({_percent(first.cost)}) {selection.seconds:.2f} s"
    if refinement is not None and refinement.of is not None:
        how += f", refined ({_percent(refinement.cost)}) {refinement.seconds:.1f} s"
    return how


def _percent(cost: float) -> str:
    """A cost, which is a logarithm, as what it comes to in bytes at equal score."""
    return f"{100 * math.expm1(cost):+.1f} %"


def _notes(encoded: "Encoded", length: int) -> list[str]:
    larger = len(encoded.data) > length
    return [*encoded.notes, *(["the result is larger than the input; a coarser -q makes it smaller"] if larger else [])]


def success(job: Job, done: "EncodeResult") -> dict[str, object]:
    """The line of one picture; kcompress/README.md documents the fields."""
    encoded, length = done.encoded, done.length
    return {
        "type": "encoded",
        "input": job.source,
        "output": job.target,
        "codec": encoded.setting.codec,
        "backend": encoded.backend,
        "version": encoded.version,
        "network": encoded.network,
        "quality": encoded.setting.quality,
        "chroma": encoded.setting.chroma,
        "effort": encoded.setting.effort,
        "width": encoded.width,
        "height": encoded.height,
        "input_bytes": length,
        "output_bytes": len(encoded.data),
        "saving": round(1 - len(encoded.data) / length, 6),
        "bpp": round(encoded.bpp, 6),
        "network_seconds": round(encoded.network_seconds, 4),
        "codec_seconds": round(encoded.codec_seconds, 4),
        "notes": _notes(encoded, length),
        **_searched(done),
    }


def _searched(done: "EncodeResult") -> dict[str, object]:
    """Fields that ``--network auto`` and ``--refine`` add to it."""
    fields: dict[str, object] = {}
    if done.selection is not None:
        fields["candidates"] = [
            {
                "network": each.network,
                "bytes": each.size,
                "ssimulacra2": round(each.score, 4),
                "cost": round(each.cost, 6),
                "eligible": each.eligible,
            }
            for each in done.selection.candidates
        ]
        fields["auto_seconds"] = round(done.selection.seconds, 4)
    if done.refinement is not None:
        found = done.refinement
        fields["refined"] = {
            "of": found.of,
            "steps": found.steps,
            "kept": found.kept,
            "strength": found.strength,
            "cost": round(found.cost, 6),
            "scores": {name: round(score, 4) for name, score in found.scores.items()},
            "seconds": round(found.seconds, 3),
        }
    return fields


def failure(job: Job, error: KcompressError) -> dict[str, object]:
    """The line of a picture that failed."""
    return {"type": "error", "input": job.source, "message": str(error), "exit_code": error.exit_code}


def summarise(
    count: int, failures: list[KcompressError], read: int, written: int, seconds: float, as_json: bool
) -> None:
    """Show what became of a batch, and end with exit code 1 where pictures failed."""
    done = count - len(failures)
    saving = f" ({100 * (written / read - 1):+.1f} %)" if read else ""
    output.say(f"{done} of {count} pictures: {output.size(read)} -> {output.size(written)}{saving} in {seconds:.1f} s")
    if as_json:
        output.line({
            "type": "summary", "pictures": count, "failed": len(failures), "input_bytes": read,
            "output_bytes": written, "seconds": round(seconds, 3),
        })  # fmt: skip
    for error in failures:
        output.say(f"failed: {error}", style="red")
    if failures:
        raise typer.Exit(KcompressError.exit_code)
