"""``kcompress encode``: parse, call, show."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import Progress as Bar
from rich.progress import TaskID

from kcompress import storage
from kcompress.cli import encode_options, encoded, files, options, output
from kcompress.cli.files import STREAM, Job
from kcompress.cli.reporting import fail, failure, reported
from kcompress.errors import KcompressError, UsageError, failure_of

if TYPE_CHECKING:
    from kcompress.codecs import Codec
    from kcompress.search.plan import EncodePlan, EncodeResult
    from kcompress.search.refinement import Progress

_AHEAD = 4
"""Pictures a worker may be ahead of the next one to be written: behind a slow one, results do not pile up in memory."""


@reported
def encode(
    inputs: Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, folders of pictures, - for stdin.")],
    out: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="File, folder, or - for stdout. [default: beside the input]"
        ),
    ] = None,
    codec: options.Codec = None,
    quality: options.Quality = None,
    target: encode_options.Target = None,
    target_size: encode_options.TargetSize = None,
    target_bpp: encode_options.TargetBpp = None,
    network: options.Network = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    strength: options.Strength = 1.0,
    refine: options.Refine = 0,
    chroma: options.Chroma = None,
    bits: options.Bits = None,
    effort: options.Effort = None,
    sharp_yuv: options.SharpYuv = None,
    parameters: options.Parameters = None,
    tables: options.Tables = "auto",
    min_saving: encode_options.MinSaving = "2",
    max_side: encode_options.MaxSide = None,
    scale: encode_options.Scale = None,
    metadata: options.Metadata = options.MetadataName.icc,
    background: options.Background = None,
    frame: options.Frame = None,
    jobs: options.Jobs = None,
    weights: options.WeightsFile = None,
    task_weights: options.TaskWeights = None,
    as_json: options.Json = False,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Preprocess pictures and compress them into standard files.

    \b
    kcompress encode photo.png --codec webp -q 60
    kcompress encode photos/ -o small/ --codec hevc --target 80
    cat photo.png | kcompress encode - --codec jpeg > photo.jpg
    """  # noqa: D301 (Click wants a real backspace)
    from kcompress.codecs.quantisation import tables_named
    from kcompress.images import SUFFIXES
    from kcompress.networks import default_network
    from kcompress.search.plan import plan as planned_encode
    from kcompress.workers import one_thread

    chosen, raw = _codec(codec, out)
    setting = chosen.setting(
        quality, chroma, effort, sharp_yuv=sharp_yuv, raw=raw, bits=bits,
        parameters=options.pairs("--param", parameters or []),
    )  # fmt: skip
    goal = encode_options.target(target, target_size, target_bpp, quality)
    resize, saving = encode_options.resize(max_side, scale), encode_options.min_saving(min_saving)
    # Everything that can be refused is refused before the first picture is read.
    chosen.backend(backend, setting=setting)
    known_tables = tables_named(tables)
    network = network or default_network(chosen.name, backend)
    if task_weights is not None:
        weights = _for_task(task_weights, network, weights)
    suffix = chosen.raw_suffixes[0] if raw else chosen.suffixes[0]
    every = files.plan(inputs, out, suffix, SUFFIXES, force=force, skip_existing=skip_existing)
    planned = files.unfinished(every, force=force, skip_existing=skip_existing)
    if not planned:
        return
    jobs = jobs or options.cores()
    plan = planned_encode(
        chosen, setting, network, device=device, strength=strength, weights=weights, backend=backend,
        metadata=metadata.value, background=_colour(background), frame=frame, refine=refine,
        threads=max(1, jobs // len(planned)), tables=known_tables, target=goal, resize=resize,
        min_saving=saving,
    )  # fmt: skip
    if plan.refine or plan.auto or (goal and goal.metric):
        one_thread()  # pictures and tiles run in parallel, and scores are the same on every machine
    if planned[0].target == STREAM:
        if as_json:
            raise UsageError("--json and the picture cannot both go to stdout. Give -o FILE.")
        _to_stdout(plan, planned[0], verbose=verbose)
    else:
        _to_files(plan, planned, jobs, as_json, force=force, verbose=verbose)


def _for_task(task: str, network: str, weights: Path | None) -> Path:
    """The file of a task's weights.

    Raises:
        UsageError: the network serves no task, there are other weights too, or none of this task.
    """
    from kcompress.networks import NETWORKS
    from kcompress.networks.loading import task_weights as found

    if network not in NETWORKS or not NETWORKS[network].task:
        raise UsageError(f"--task-weights {task} has no meaning for --network {network}. Take --network npp.")
    if weights is not None:
        raise UsageError(f"--task-weights {task} and --weights exclude each other. Leave one out.")
    return found(task)


def _done(plan: "EncodePlan", job: Job, tell: "Callable[[Progress], None] | None") -> "EncodeResult | KcompressError":
    """The compressed picture, or why there is none."""
    from kcompress.search.pipeline import run

    try:
        if job.refusal is not None:
            raise job.refusal
        return run(plan, files.read(job.source), output.name(job.source), tell)
    except Exception as error:  # one picture ends no batch, whatever happens to it
        return failure_of(error, output.name(job.source))


def _to_stdout(plan: "EncodePlan", job: Job, *, verbose: bool) -> None:
    with output.guarded_stdout() as stdout, output.progress(1, always=True) as bar:
        bar.add_task("encoding", total=1)
        result = _done(plan, job, _telling(job, bar) if plan.refine else None)
        if isinstance(result, KcompressError):
            raise result
        stdout.write(result.encoded.data)
    encoded.report(job, result, output.Notes(), verbose=verbose)


def _to_files(plan: "EncodePlan", planned: list[Job], jobs: int, as_json: bool, *, force: bool, verbose: bool) -> None:
    from kcompress.workers import ordered, threads

    start = time.perf_counter()
    failures: list[KcompressError] = []
    read = written = 0
    notes = output.Notes(every=verbose)
    workers = min(jobs, len(planned))
    with (
        output.progress(len(planned), always=True) as bar,
        # Threads do: decoders, encoders, NumPy and ONNX Runtime all work outside Python's lock.
        threads(workers) as pool,
    ):
        task = bar.add_task("encoding", total=len(planned))
        work = ((plan, job, _telling(job, bar) if plan.refine else None) for job in planned)
        results = ordered(pool, _done, work, 1 if workers == 1 else _AHEAD * workers)
        for job, result in zip(planned, results, strict=True):
            if not isinstance(result, KcompressError):
                try:
                    storage.write(job.target, result.encoded.data, replace=force)
                except KcompressError as error:
                    result = error
            if isinstance(result, KcompressError):
                failures.append(result)
                if as_json:
                    output.line(failure(result, job.source))
            else:
                read, written = read + result.length, written + len(result.encoded.data)
                if as_json:
                    output.line(encoded.success(job, result))
                encoded.report(job, result, notes, verbose=verbose)
            bar.advance(task)
    notes.close()
    if len(planned) == 1 and failures:
        fail(failures[0])
    if len(planned) > 1:
        encoded.summarise(len(planned), failures, read, written, time.perf_counter() - start, as_json)


def _telling(job: Job, bar: Bar) -> "Callable[[Progress], None]":
    """Shows how far a picture's refinement is, in a line of its own."""
    tasks: list[TaskID] = []

    def tell(progress: "Progress") -> None:
        if not tasks:
            tasks.append(bar.add_task(output.visible(f"refining {output.name(job.source)}"), total=progress.total))
        bar.update(tasks[0], completed=progress.done, visible=progress.done < progress.total)

    return tell


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
