"""``kcompress decode``: any file that encode writes, back to pixels."""

from pathlib import Path
from typing import Annotated

import typer

from kcompress import storage
from kcompress.cli import files, options, output, places
from kcompress.cli.files import Job
from kcompress.cli.places import STREAM
from kcompress.cli.reporting import reported
from kcompress.errors import KcompressError, UsageError, failure_of, work_on

_FORMATS = {".png": "PNG", ".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


@reported
def decode(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="FILE", help="JPEG, WebP, HEIC, HEVC streams, BPG, AVIF, folders; - for stdin."),
    ],
    target: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="PNG, PPM, TIFF or BMP by suffix, a folder, or - for PNG on "
                     "stdout. [default: a PNG beside the file]"),
    ] = None,
    metadata: options.Metadata = options.MetadataName.icc,
    frame: options.Frame = None,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Decode compressed pictures to lossless files.

    \b
    kcompress decode photo.bpg
    kcompress decode photo.heic -o photo.ppm
    kcompress decode small/ -o back/
    """  # noqa: D301 (Click wants a real backspace)
    from kcompress.codecs import CODECS

    known = frozenset(suffix for codec in CODECS.values() for suffix in (*codec.suffixes, *codec.raw_suffixes))
    planned = files.plan(sources, target, [".png"], known, force=force, skip_existing=skip_existing)
    wrong = next((job.target for job in planned if _suffix(job) not in _FORMATS), None)
    if wrong is not None:
        allowed = " ".join(_FORMATS)
        raise UsageError(f"-o {output.name(wrong)}: the suffix says no format that is known. Take {allowed}.")
    planned = files.unfinished(planned, force=force, skip_existing=skip_existing)
    notes, failures = output.Notes(), []
    with output.progress(len(planned), always=True) as bar:
        task = bar.add_task("decoding", total=len(planned))
        for job in planned:
            error = _done(job, metadata.value, frame, notes, force=force)
            if error is not None:
                failures.append(error)
            bar.advance(task)
    notes.close()
    if len(planned) == 1 and failures:
        raise failures[0]
    if len(planned) > 1:
        output.say(f"{len(planned) - len(failures)} of {len(planned)} pictures are decoded")
    for error in failures:
        output.complain(f"failed: {error}")
    if failures:
        raise typer.Exit(KcompressError.exit_code)


def _suffix(job: Job) -> str:
    return ".png" if job.target == STREAM else Path(job.target).suffix.lower()


def _done(job: Job, metadata: str, frame: int | None, notes: output.Notes, *, force: bool) -> KcompressError | None:
    """Decode one picture; the reason where that fails."""
    try:
        if job.refusal is not None:
            raise job.refusal
        if job.target == STREAM:
            with output.guarded_stdout() as stdout:
                stdout.write(_decoded(job, metadata, frame, notes))
        else:
            storage.write(job.target, _decoded(job, metadata, frame, notes), replace=force)
    except BrokenPipeError:
        raise
    except Exception as error:  # one picture ends no batch
        return failure_of(error, output.name(job.source))
    return None


def _decoded(job: Job, metadata: str, frame: int | None, notes: output.Notes) -> bytes:
    from kcompress.codecs import decode as expand
    from kcompress.images import fitted, write

    name, suffix = output.name(job.source), _suffix(job)
    with work_on(name):
        image = expand(places.read(job.source), name, metadata, frame, strict=True)  # type: ignore[arg-type]
        image = fitted(image, _FORMATS[suffix])  # type: ignore[arg-type]
        notes.add(image.notes, f"note: {name}")
        if image.alpha is not None and suffix in (".ppm", ".bmp"):
            raise UsageError(f"{suffix} has no alpha channel and the picture is partly transparent. Write .png.")
        return write(image, _FORMATS[suffix])  # type: ignore[arg-type]
