"""``kcompress encode``: parse, call, show."""

from typing import Annotated

import typer

from kcompress.cli import encode_dry_run, encode_options, encode_report, encode_run, files, options
from kcompress.cli import encode_refusals as refusals
from kcompress.cli.encode_tasks import Task, codecs_for, in_place_jobs, unfinished
from kcompress.cli.places import STREAM
from kcompress.cli.reporting import reported
from kcompress.errors import UsageError
from kcompress.presets import PresetName, resolved


@reported
def encode(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="Pictures, folders of pictures, URLs, - for stdin.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="File, folder, URL, or - for stdout. [default: beside the input]"
        ),
    ] = None,
    codec: encode_options.Codec = None,
    quality: options.Quality = None,
    target: encode_options.Target = None,
    target_size: encode_options.TargetSize = None,
    target_bpp: encode_options.TargetBpp = None,
    preset: encode_options.Preset = PresetName.default,
    network: options.Network = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    strength: options.Strength = None,
    refine: options.Refine = None,
    chroma: options.Chroma = None,
    bits: options.Bits = None,
    effort: options.Effort = None,
    sharp_yuv: options.SharpYuv = None,
    parameters: options.Parameters = None,
    tables: options.Tables = "auto",
    min_saving: encode_options.MinSaving = "2",
    max_side: encode_options.MaxSide = None,
    scale: encode_options.Scale = None,
    metadata: encode_options.Metadata = None,
    background: options.Background = None,
    frame: options.Frame = None,
    jobs: options.Jobs = None,
    cluster: options.Cluster = None,
    weights: options.WeightsFile = None,
    task_weights: options.TaskWeights = None,
    as_json: options.Json = False,
    force: options.Force = False,
    skip_existing: options.SkipExisting = False,
    in_place: encode_options.InPlace = False,
    backup: encode_options.Backup = None,
    keep_times: encode_options.KeepTimes = False,
    files_from: encode_options.FilesFrom = None,
    null: encode_options.Null = False,
    include: encode_options.Include = None,
    exclude: encode_options.Exclude = None,
    dry_run: encode_options.DryRun = False,
    report: encode_options.Report = None,
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
    from kcompress.networks.loading import task_weights as weights_of_task
    from kcompress.search.plan import Order
    from kcompress.workers import one_thread

    sources = encode_options.sources(inputs or [], files_from, null)
    wanted = encode_options.wanted(include, exclude)
    refusals.far({"--keep-times": keep_times}, [*sources, out or ""])
    if cluster is not None:
        refusals.excluded(f"--cluster {cluster}", {"-": STREAM in (*sources, out), "--dry-run": dry_run})
    if in_place:
        of_results = {"-o": out, "--skip-existing": skip_existing, "--frame": frame}
        refusals.excluded("--in-place", of_results, why=": results replace their inputs")
        chosen, left = in_place_jobs(codec, sources, backup, wanted)
        raw = False
    elif backup is not None:
        raise UsageError(f"--backup {backup} belongs to --in-place. Leave it out: inputs are never replaced without.")
    else:
        chosen, raw = codecs_for(codec, out)
    best = codec is not None and codec.best
    goal = encode_options.target(target, target_size, target_bpp, quality)
    resize, saving = encode_options.resize(max_side, scale), encode_options.min_saving(min_saving)
    if best:
        refusals.best_without_score(goal)
    if len(chosen) > 1:
        refusals.of_one_codec({"--quality": quality, "--effort": effort, "--weights": weights, "--param": parameters})
    # Everything that can be refused is refused before the first picture is read.
    told = options.pairs("--param", parameters or [])
    choices = [resolved(preset, each.name, backend, network, effort, refine) for each in chosen]
    refusals.strength_of_nothing(strength, [its.network for its in choices])
    settings = [
        each.setting(quality, chroma, its.effort, sharp_yuv=sharp_yuv, raw=raw, bits=bits, parameters=told)
        for each, its in zip(chosen, choices, strict=True)
    ]  # fmt: skip
    for each, setting in zip(chosen, settings, strict=True):
        each.backend(backend, setting=setting)
    known_tables = tables_named(tables)
    if task_weights is not None:
        refusals.task_weights(task_weights, choices[0].network, weights)
        weights = weights_of_task(task_weights)
    if not in_place:
        suffixes = [each.raw_suffixes[0] if raw else each.suffixes[0] for each in chosen]
        every = files.plan(
            sources, out, suffixes, SUFFIXES, force=force, skip_existing=skip_existing, wanted=wanted,
            otherwise="Give -o, --in-place, or another --codec.",
        )  # fmt: skip
        left = unfinished(every, len(chosen), best=best, force=force, skip_existing=skip_existing)
    if not left:
        return
    jobs = jobs or options.cores()
    policy = metadata or (options.MetadataName.all if in_place else options.MetadataName.icc)
    told_all = {
        "device": device, "strength": strength, "weights": weights, "backend": backend, "metadata": policy.value,
        "background": encode_options.background(background), "frame": frame, "threads": max(1, jobs // len(left)),
        "tables": known_tables, "target": goal, "finer_chroma": chroma is None and sharp_yuv is None, "resize": resize,
        "min_saving": saving,
    }  # fmt: skip
    plans = [
        Order(each.name, setting, its.network, told_all | {"refine": its.refine}).plan()
        for each, setting, its in zip(chosen, settings, choices, strict=True)
    ]
    tasks = [Task(group[0][1].source, tuple((plans[number], job) for number, job in group), best) for group in left]
    reports = encode_report.reports(report or [], force=force)
    streamed = tasks[0].choices[0][1].target == STREAM
    refusals.report_of_nothing(report or [], dry_run=dry_run, streamed=streamed)
    scored = (goal is not None and goal.metric is not None) or any(each.has_pictures for each in reports)
    if scored or any(each.refine or each.auto for each in plans):
        one_thread()  # pictures and tiles run in parallel, and scores are the same on every machine
    if dry_run:
        encode_dry_run.tell(tasks, jobs, as_json=as_json)
    elif streamed:
        encode_run.to_stdout(tasks[0], as_json=as_json, verbose=verbose)
    else:
        writing = encode_run.Writing(force, keep_times, as_json, verbose)
        encode_run.to_files(tasks, jobs, writing, reports, cluster)
