"""Pictures that were encoded, for people and as JSON lines."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from kcompress.cli import output
from kcompress.cli.files import Job
from kcompress.cli.places import STREAM
from kcompress.errors import KcompressError, OutputError

if TYPE_CHECKING:
    from kcompress.encoding import Encoded
    from kcompress.search.plan import EncodeResult

_LARGER = (
    "the result is larger than the input; a coarser -q makes it smaller, and --codec webp takes drawings without loss"
)


def report(job: Job, done: "EncodeResult", notes: output.Notes, *, verbose: bool) -> None:
    """Show what became of a picture, in lines for people: short, or with bits per pixel, versions and times."""
    encoded, length = done.encoded, done.length
    target = "stdout" if job.target == STREAM else output.name(job.target)
    saving = f"{100 * (len(encoded.data) / length - 1):+.1f} %"
    sizes = f"{output.size(length)} -> {output.size(len(encoded.data))} ({saving})"
    if done.kept is not None:
        output.say(f"{target}  {sizes}, {done.kept}{' kept' if done.kept == 'original' else ''}")
    elif verbose:
        output.say(
            f"{output.name(job.source)} -> {target}  {sizes}, {encoded.bpp:.3f} bpp, {_setting(encoded)}, "
            f"{encoded.network} {encoded.network_seconds:.2f} s, "
            f"{encoded.backend} ({encoded.version}) {encoded.codec_seconds:.2f} s"
        )
    else:
        output.say(f"{target}  {sizes}, q {encoded.setting.quality}, {encoded.network}")
    if done.target is not None and done.reached is not None:
        reached = done.target.shown(done.reached)
        output.say(f"  {done.target.of} {reached}, in {done.tries} {'try' if done.tries == 1 else 'tries'}")
    if done.rivals:
        rivals = (
            f"{each.codec} {output.size(each.size)}{'' if each.holds else ', not reached'}" for each in done.rivals
        )
        output.say(f"  best: {encoded.setting.codec}; others: {'; '.join(rivals)}")
    for line, seconds in _searches(done):
        output.say(f"  {line}{f', {seconds:.1f} s' if verbose else ''}")
    notes.add(_notes(encoded, length))


def _setting(encoded: "Encoded") -> str:
    """Quality of a file, and a JPEG's quantisation tables, for people."""
    quality, tables = encoded.setting.quality, encoded.setting.tables_name
    return f"q {quality}" if tables is None else f"q {quality}, tables {output.name(tables)}"


def _searches(done: "EncodeResult") -> Iterator[tuple[str, float]]:
    """Gain of a search, and its seconds: never the change of the file, which may be larger and better."""
    selection, refinement = done.selection, done.refinement
    if selection is not None and selection.candidates:
        best = selection.candidates[0]
        against = f"{_percent(best.cost)} bytes at equal SSIMULACRA2 against none" if best.cost else "none gains on it"
        yield f"auto: {best.network}, {against}", selection.seconds
    if refinement is not None and refinement.of is not None:
        against = f"{_percent(refinement.cost)} bytes at equal scores against the same file unrefined"
        yield f"refined: {against if refinement.kept else 'nothing better was found'}", refinement.seconds


def _percent(cost: float) -> str:
    """A cost, which is a logarithm, as what it comes to in bytes."""
    return f"{100 * math.expm1(cost):+.1f} %"


def _notes(encoded: "Encoded", length: int) -> list[str]:
    larger = len(encoded.data) > length
    return [*encoded.notes, *([_LARGER] if larger else [])]


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
        "bits": encoded.setting.bits,
        "effort": encoded.setting.effort,
        "sharp_yuv": encoded.setting.sharp_yuv,
        "parameters": dict(encoded.setting.parameters),
        "tables": encoded.setting.tables_name,
        "width": encoded.width,
        "height": encoded.height,
        "input_bytes": length,
        "output_bytes": len(encoded.data),
        "saving": round(1 - len(encoded.data) / length, 6),
        "bpp": round(encoded.bpp, 6),
        "network_seconds": round(encoded.network_seconds, 4),
        "codec_seconds": round(encoded.codec_seconds, 4),
        "kept": done.kept,
        "notes": _notes(encoded, length),
        **_searched(done),
    }


def _searched(done: "EncodeResult") -> dict[str, object]:
    """Fields that a target, ``--network auto`` and ``--refine`` add to it."""
    fields: dict[str, object] = {}
    if done.target is not None and done.reached is not None:
        fields |= {"target": str(done.target), "reached": round(done.reached, 4), "tries": done.tries}
    if done.rivals:
        fields["rivals"] = [
            {"codec": each.codec, "bytes": each.size, "reached": each.reached, "holds": each.holds}
            for each in done.rivals
        ]
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


def summarise(
    count: int, failures: list[tuple[str, KcompressError]], read: int, written: int, seconds: float, as_json: bool
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
    for source, error in failures:
        named = isinstance(error, OutputError) or output.name(source) in str(error)
        output.complain(f"failed: {error}" if named else f"failed: {output.name(source)}: {error}")
    if failures:
        raise typer.Exit(KcompressError.exit_code)
