"""``kcompress encode``: parse, call, show."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kcompress import storage
from kcompress.cli import files, options, output
from kcompress.cli.files import STREAM, Job
from kcompress.cli.reporting import reported
from kcompress.errors import InputError, KcompressError, UsageError

if TYPE_CHECKING:
    from kcompress.codecs import Codec
    from kcompress.encoding import Encoded
    from kcompress.networks import Preprocessor
    from kcompress.setting import Setting

_AHEAD = 4
"""Pictures a worker may be ahead of the next one to be written: behind a slow one, results do not pile up in memory."""


@reported
def encode(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders of pictures, - for stdin.")],
    target: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="File, folder, or - for stdout. [default: beside the input]"
        ),
    ] = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    network: options.Network = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    strength: options.Strength = 1.0,
    chroma: options.Chroma = None,
    effort: options.Effort = None,
    metadata: options.Metadata = options.MetadataName.icc,
    background: options.Background = None,
    frame: options.Frame = None,
    jobs: options.Jobs = None,
    weights: options.WeightsFile = None,
    as_json: options.Json = False,
    force: options.Force = False,
) -> None:
    """Preprocess pictures and compress them into standard files.

    \b
    kcompress encode photo.png --codec webp -q 60
    kcompress encode photos/ -o small/ --codec hevc
    cat photo.png | kcompress encode - --codec jpeg > photo.jpg
    """  # noqa: D301 (Click wants a real backspace)
    from kcompress.encoding import default_network
    from kcompress.images import SUFFIXES
    from kcompress.networks import load

    chosen, raw = _codec(codec, target)
    setting = chosen.setting(quality, chroma, effort, raw=raw)
    # Everything that can be refused is refused before the first picture is read.
    encoder = chosen.backend(backend)
    preprocessor = load(
        network or default_network(encoder), device=device, strength=strength, weights=weights, codec=chosen.name
    )
    work = _Work(chosen, setting, preprocessor, backend, metadata.value, _colour(background), frame)
    suffix = chosen.raw_suffixes[0] if raw else chosen.suffixes[0]
    planned = files.plan(inputs, target, suffix, SUFFIXES, force=force)
    if planned[0].target == STREAM:
        if as_json:
            raise UsageError("--json and the picture cannot both go to stdout. Give -o FILE.")
        _to_stdout(work, planned[0])
    else:
        _to_files(work, planned, jobs or options.cores(), as_json)


@dataclass(frozen=True)
class _Work:
    """What is done to every picture."""

    codec: "Codec"
    setting: "Setting"
    preprocessor: "Preprocessor | None"
    backend: str
    metadata: str
    background: tuple[int, int, int] | None
    frame: int | None

    def do(self, job: Job) -> "tuple[Encoded, int] | KcompressError":
        """The compressed picture and its input's size in bytes, or why there is none."""
        from kcompress.encoding import encode as compress
        from kcompress.images import read

        try:
            if job.refusal is not None:
                raise job.refusal
            data = files.read(job.source)
            # Handed on without a name: nothing here keeps the pixels when the preprocessor has made new ones.
            encoded = compress(
                read(
                    data, name=output.name(job.source), frame=self.frame, background=self.background,
                    check_sides=self.codec.check_sides, metadata=self.metadata,  # type: ignore[arg-type]
                ),
                self.codec, self.setting, self.preprocessor, self.backend,
            )  # fmt: skip
            return encoded, len(data)
        except KcompressError as error:
            return error
        except MemoryError:
            return InputError(f"{output.name(job.source)} needs more memory than there is. Make it smaller.")


def _to_stdout(work: _Work, job: Job) -> None:
    with output.guarded_stdout() as stdout:
        result = work.do(job)
        if isinstance(result, KcompressError):
            raise result
        encoded, length = result
        stdout.write(encoded.data)
    _report(job, encoded, length)


def _to_files(work: _Work, planned: list[Job], jobs: int, as_json: bool) -> None:
    start = time.perf_counter()
    failures: list[tuple[Job, KcompressError]] = []
    read = written = 0
    with output.progress(len(planned)) as bar:
        task = bar.add_task("encoding", total=len(planned))
        for job, result in _results(work, planned, jobs):
            if not isinstance(result, KcompressError):
                try:
                    storage.write(job.target, result[0].data)
                except KcompressError as error:
                    result = error
            if isinstance(result, KcompressError):
                failures.append((job, result))
                if as_json:
                    output.line(_failure(job, result))
            else:
                encoded, length = result
                read, written = read + length, written + len(encoded.data)
                if as_json:
                    output.line(_success(job, encoded, length))
                _report(job, encoded, length)
            bar.advance(task)
    if len(planned) == 1 and failures:
        raise failures[0][1]
    if len(planned) > 1:
        _summarise(len(planned), failures, read, written, time.perf_counter() - start, as_json)


def _results(
    work: _Work, planned: Sequence[Job], jobs: int
) -> "Iterator[tuple[Job, tuple[Encoded, int] | KcompressError]]":
    """Results in the order of the jobs, a few pictures ahead."""
    workers = min(jobs, len(planned))
    if workers == 1:
        for job in planned:
            yield job, work.do(job)
        return
    # Threads do: decoders, encoders, NumPy and ONNX Runtime all work outside Python's lock.
    pool = ThreadPoolExecutor(workers)
    ahead: deque[tuple[Job, Future[tuple[Encoded, int] | KcompressError]]] = deque()
    try:
        for job in planned:
            ahead.append((job, pool.submit(work.do, job)))
            if len(ahead) > _AHEAD * workers:
                first, result = ahead.popleft()
                yield first, result.result()
        for first, result in ahead:
            yield first, result.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _codec(name: "options.CodecName | None", target: str | None) -> "tuple[Codec, bool]":
    """The codec, and whether its bare stream is wanted: by name, by the output's suffix, or JPEG."""
    from kcompress.codecs import CODECS
    from kcompress.images import SUFFIXES

    names_file = target is not None and target != STREAM and not files.names_folder(target)
    # A name that is nothing but a suffix, .webp, says what it wants too.
    suffix = Path("x" + Path(target or "").name).suffix.lower() if names_file else ""
    by_suffix = next(
        (codec for codec in CODECS.values() if suffix in (*codec.suffixes, *codec.raw_suffixes)), None
    )  # fmt: skip
    if name is None:
        if suffix and by_suffix is None:
            known = " ".join(known for codec in CODECS.values() for known in (*codec.suffixes, *codec.raw_suffixes))
            raise UsageError(
                f"-o {output.name(target or '')}: no codec writes {suffix} files. Take one of {known}, or --codec."
            )
        chosen = by_suffix or CODECS["jpeg"]
    else:
        chosen = CODECS[name.value]
        if by_suffix is not chosen and (by_suffix is not None or suffix in SUFFIXES):
            other = f", or take --codec {by_suffix.name}" if by_suffix else ""
            raise UsageError(
                f"--codec {name.value} does not write {suffix} files. Give -o a name in {chosen.suffixes[0]}{other}."
            )
    return chosen, suffix in chosen.raw_suffixes


def _colour(text: str | None) -> tuple[int, int, int] | None:
    if text is None:
        return None
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(text)  # type: ignore[misc]
    except ValueError:  # no colour, or one with an alpha of its own
        raise UsageError(f"--background {text} is no colour. Give a name (white), #rrggbb or rgb(r,g,b).") from None
    return red, green, blue


def _report(job: Job, encoded: "Encoded", length: int) -> None:
    """One line for people, and the notes below it."""
    target = "stdout" if job.target == STREAM else output.name(job.target)
    saving = f"{100 * (len(encoded.data) / length - 1):+.1f} %"
    output.say(
        f"{output.name(job.source)} -> {target}  {output.size(length)} -> {output.size(len(encoded.data))} ({saving}), "
        f"{encoded.bpp:.3f} bpp, q {encoded.setting.quality}, {encoded.network} {encoded.network_seconds:.2f} s, "
        f"{encoded.backend} ({encoded.version}) {encoded.codec_seconds:.2f} s"
    )
    for note in _notes(encoded, length):
        output.say(f"  note: {note}", style="yellow")


def _notes(encoded: "Encoded", length: int) -> list[str]:
    larger = len(encoded.data) > length
    return [*encoded.notes, *(["the result is larger than the input; a coarser -q makes it smaller"] if larger else [])]


def _success(job: Job, encoded: "Encoded", length: int) -> dict[str, object]:
    """The line of one picture; README documents the fields."""
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
    }


def _failure(job: Job, error: KcompressError) -> dict[str, object]:
    return {"type": "error", "input": job.source, "message": str(error), "exit_code": error.exit_code}


def _summarise(
    count: int, failures: list[tuple[Job, KcompressError]], read: int, written: int, seconds: float, as_json: bool
) -> None:
    done = count - len(failures)
    saving = f" ({100 * (written / read - 1):+.1f} %)" if read else ""
    output.say(f"{done} of {count} pictures: {output.size(read)} -> {output.size(written)}{saving} in {seconds:.1f} s")
    if as_json:
        output.line({
            "type": "summary", "pictures": count, "failed": len(failures), "input_bytes": read,
            "output_bytes": written, "seconds": round(seconds, 3),
        })  # fmt: skip
    for _, error in failures:
        output.say(f"failed: {error}", style="red")
    if failures:
        raise typer.Exit(KcompressError.exit_code)
