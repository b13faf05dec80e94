"""``kcompress encode``: parse, call, show."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress as Bar
from rich.progress import TaskID

from kcompress import storage
from kcompress.cli import files, options, output
from kcompress.cli.files import STREAM, Job
from kcompress.cli.reporting import reported
from kcompress.errors import InputError, KcompressError, UsageError

if TYPE_CHECKING:
    from kcompress.codecs import Backend, Codec
    from kcompress.encoding import Encoded
    from kcompress.images import Image
    from kcompress.networks import Preprocessor
    from kcompress.search.refinement import Progress, Refinement
    from kcompress.search.selection import Selection
    from kcompress.setting import Setting

_AUTO = "auto"

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
    refine: options.Refine = 0,
    chroma: options.Chroma = None,
    effort: options.Effort = None,
    metadata: options.Metadata = options.MetadataName.icc,
    background: options.Background = None,
    frame: options.Frame = None,
    jobs: options.Jobs = None,
    weights: options.WeightsFile = None,
    task_weights: options.TaskWeights = None,
    as_json: options.Json = False,
    force: options.Force = False,
) -> None:
    """Preprocess pictures and compress them into standard files.

    \b
    kcompress encode photo.png --codec webp -q 60
    kcompress encode photos/ -o small/ --codec hevc
    cat photo.png | kcompress encode - --codec jpeg > photo.jpg
    """  # noqa: D301 (Click wants a real backspace)
    from kcompress.images import SUFFIXES
    from kcompress.networks import DEFAULTS

    chosen, raw = _codec(codec, target)
    setting = chosen.setting(quality, chroma, effort, raw=raw)
    # Everything that can be refused is refused before the first picture is read.
    encoder = chosen.backend(backend)
    network = network or DEFAULTS[chosen.name]
    if task_weights is not None:
        weights = _for_task(task_weights, network, weights)
    if refine:
        _check_refine(refine, network, setting, encoder)
    suffix = chosen.raw_suffixes[0] if raw else chosen.suffixes[0]
    planned = files.plan(inputs, target, suffix, SUFFIXES, force=force)
    jobs = jobs or options.cores()
    threads = max(1, jobs // len(planned))
    preprocessors = _preprocessors(network, device, strength, weights, chosen, backend, threads)
    work = _Work(
        chosen, setting, preprocessors, backend, metadata.value, _colour(background), frame, network == _AUTO, refine,
        weights if network == "rdo" else None, threads,
    )  # fmt: skip
    if refine or network == _AUTO:
        from kcompress.workers import one_thread

        one_thread()  # pictures and tiles run in parallel, and scores are the same on every machine
    if planned[0].target == STREAM:
        if as_json:
            raise UsageError("--json and the picture cannot both go to stdout. Give -o FILE.")
        _to_stdout(work, planned[0])
    else:
        _to_files(work, planned, jobs, as_json)


@dataclass(frozen=True)
class _Done:
    """A picture that was compressed.

    Attributes:
        encoded: the file.
        length: of the input, bytes.
        selection: how its network was chosen, by ``--network auto``.
        refinement: how it was refined, by ``--refine``.
    """

    encoded: "Encoded"
    length: int
    selection: "Selection | None" = None
    refinement: "Refinement | None" = None


_Tell = Callable[[Job, "Progress"], None]
"""Is told how far a picture's refinement is."""


@dataclass(frozen=True)
class _Work:
    """What is done to every picture."""

    codec: "Codec"
    setting: "Setting"
    preprocessors: "tuple[Preprocessor | None, ...]"
    backend: str
    metadata: str
    background: tuple[int, int, int] | None
    frame: int | None
    auto: bool = False
    refine: int = 0
    weights: Path | None = None
    threads: int = 1
    tell: _Tell | None = None

    def do(self, job: Job) -> "_Done | KcompressError":
        """The compressed picture, or why there is none."""
        from kcompress.encoding import encode as compress

        try:
            if job.refusal is not None:
                raise job.refusal
            data = files.read(job.source)
            if self.auto or self.refine:
                return self._best(job, self._picture(job, data), len(data))
            # Handed on without a name: nothing here keeps the pixels when the preprocessor has made new ones.
            (preprocessor,) = self.preprocessors
            encoded = compress(self._picture(job, data), self.codec, self.setting, preprocessor, self.backend)
            return _Done(encoded, len(data))
        except KcompressError as error:
            return error
        except MemoryError:
            return InputError(f"{output.name(job.source)} needs more memory than there is. Make it smaller.")

    def _picture(self, job: Job, data: bytes) -> "Image":
        from kcompress.images import read

        return read(
            data, name=output.name(job.source), frame=self.frame, background=self.background,
            check_sides=self.codec.check_sides, metadata=self.metadata,  # type: ignore[arg-type]
        )  # fmt: skip

    def _best(self, job: Job, image: "Image", length: int) -> _Done:
        """What ``--network auto`` and ``--refine`` find."""
        from kcompress.encoding import encode as compress
        from kcompress.search.refinement import refinable, refined
        from kcompress.search.selection import select

        selection = None
        if self.auto:
            selection = select(image, self.codec, self.setting, self.preprocessors, self.backend)
            encoded = selection.encoded
            preprocessor = refinable(selection, self.setting)
        else:
            (preprocessor,) = self.preprocessors
            encoded = compress(image, self.codec, self.setting, preprocessor, self.backend)
        if not self.refine:
            return _Done(encoded, length, selection)
        steps = refined(
            image, self.codec, self.setting, preprocessor, encoded, steps=self.refine, weights=self.weights,
            backend=self.backend, threads=self.threads,
        )  # fmt: skip
        while True:
            try:
                progress = next(steps)
            except StopIteration as end:
                return _Done(end.value[0], length, selection, end.value[1])
            if self.tell is not None:
                self.tell(job, progress)


def _preprocessors(
    network: str, device: str, strength: float, weights: Path | None, codec: "Codec", backend: str, threads: int
) -> "tuple[Preprocessor | None, ...]":
    """Those to try: one, or for ``auto`` all that came along for the codec."""
    from kcompress.encoding import round_trip
    from kcompress.networks import NETWORKS, load, serving

    if network not in (*NETWORKS, _AUTO):
        raise UsageError(f"--network {network} is not known. Allowed: {', '.join(NETWORKS)}, {_AUTO}.")
    if network == _AUTO and weights is not None:
        raise UsageError(
            f"--weights {output.name(str(weights))}: --network auto tries the weights that came along. "
            "Leave one of the two out."
        )
    names = serving(codec.name) if network == _AUTO else (network,)
    shown = round_trip(codec, backend)
    return tuple(
        load(name, device=device, strength=strength, weights=weights, codec=codec.name, shown=shown, threads=threads)
        for name in names
    )


def _for_task(task: str, network: str, weights: Path | None) -> Path:
    """The file of a task's weights.

    Raises:
        UsageError: the network serves no task, there are other weights too, or none of this task.
    """
    from kcompress.networks import NETWORKS
    from kcompress.networks import task_weights as found

    if network not in NETWORKS or not NETWORKS[network].task:
        raise UsageError(f"--task-weights {task} has no meaning for --network {network}. Take --network npp.")
    if weights is not None:
        raise UsageError(f"--task-weights {task} and --weights exclude each other. Leave one out.")
    return found(task)


def _check_refine(steps: int, network: str, setting: "Setting", encoder: "Backend") -> None:
    from kcompress.networks import NONE
    from kcompress.search.refinement import decides_on_levels

    if network == NONE and not decides_on_levels(setting):
        raise UsageError(
            f"--refine {steps}: without a network there is nothing to refine before {encoder.name}, {setting.codec} "
            f"{setting.chroma}. Give a --network, or leave --refine out."
        )


def _to_stdout(work: _Work, job: Job) -> None:
    with output.guarded_stdout() as stdout, output.progress(1, always=work.refine > 0) as bar:
        result = _telling(work, bar).do(job)
        if isinstance(result, KcompressError):
            raise result
        stdout.write(result.encoded.data)
    _report(job, result)


def _to_files(work: _Work, planned: list[Job], jobs: int, as_json: bool) -> None:
    start = time.perf_counter()
    failures: list[tuple[Job, KcompressError]] = []
    read = written = 0
    with output.progress(len(planned), always=work.refine > 0) as bar:
        task = bar.add_task("encoding", total=len(planned))
        for job, result in _results(_telling(work, bar), planned, jobs):
            if not isinstance(result, KcompressError):
                try:
                    storage.write(job.target, result.encoded.data)
                except KcompressError as error:
                    result = error
            if isinstance(result, KcompressError):
                failures.append((job, result))
                if as_json:
                    output.line(_failure(job, result))
            else:
                read, written = read + result.length, written + len(result.encoded.data)
                if as_json:
                    output.line(_success(job, result))
                _report(job, result)
            bar.advance(task)
    if len(planned) == 1 and failures:
        raise failures[0][1]
    if len(planned) > 1:
        _summarise(len(planned), failures, read, written, time.perf_counter() - start, as_json)


def _telling(work: _Work, bar: Bar) -> _Work:
    """The same work, with a line of progress for every picture that is being refined."""
    tasks: dict[str, TaskID] = {}

    def tell(job: Job, progress: "Progress") -> None:
        if job.source not in tasks:
            tasks[job.source] = bar.add_task(
                output.visible(f"refining {output.name(job.source)}"), total=progress.total
            )
        bar.update(tasks[job.source], completed=progress.done, visible=progress.done < progress.total)

    return replace(work, tell=tell) if work.refine else work


def _results(work: _Work, planned: Sequence[Job], jobs: int) -> Iterator[tuple[Job, _Done | KcompressError]]:
    """Results in the order of the jobs, a few pictures ahead."""
    workers = min(jobs, len(planned))
    if workers == 1:
        for job in planned:
            yield job, work.do(job)
        return
    # Threads do: decoders, encoders, NumPy and ONNX Runtime all work outside Python's lock.
    pool = ThreadPoolExecutor(workers)
    ahead: deque[tuple[Job, Future[_Done | KcompressError]]] = deque()
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


def _report(job: Job, done: _Done) -> None:
    """One line for people, and the notes below it."""
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


def _how(done: _Done) -> str:
    """What was before the encoder."""
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


def _success(job: Job, done: _Done) -> dict[str, object]:
    """The line of one picture; README documents the fields."""
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


def _searched(done: _Done) -> dict[str, object]:
    """What ``--network auto`` and ``--refine`` add to it."""
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
