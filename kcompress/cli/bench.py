"""``kcompress bench``: honest rate-quality curves over a folder of pictures."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kcompress import storage
from kcompress.cli import cluster, options, output
from kcompress.cli.reporting import reported
from kcompress.errors import InputError, KcompressError, UsageError

if TYPE_CHECKING:
    from kcompress.dataset import DataSet
    from kcompress.evaluation.bench import Outcome
    from kcompress.evaluation.machines import Machine
    from kcompress.evaluation.plan import Plan

AUTO = "auto"


@reported
def bench(
    dataset: Annotated[str, typer.Argument(help="Folder of pictures, searched through; or a URL for fsspec.")],
    target: Annotated[Path, typer.Option("--output", "-o", help="Folder for the report.")] = Path("report"),
    codec: Annotated[str, typer.Option(help="Codecs, with commas between them.")] = "jpeg,webp,hevc,bpg,avif",
    network: Annotated[
        str,
        typer.Option(
            help="Networks, with commas; none is always there, default is what encode takes for each codec; rdo is for "
            "jpeg, feedback for others, npp for machines."
        ),
    ] = "none,default",
    filters: Annotated[
        str,
        typer.Option(
            "--filter",
            help="Filters of label's pool, with commas: guetzli, ar, nlm:h=10, guided:s=4:h=10; a series with +: "
            "ar+sharpen:a=0.2.",
        ),
    ] = "",
    quality: Annotated[
        list[str] | None,
        typer.Option(
            "--quality",
            "-q",
            help="auto: a ladder a codec that spans SSIMULACRA2 30..90 here; or 40,60,80,90 for every codec; or, "
            "once a codec, jpeg=40,60,80,90. [default: auto]",
        ),
    ] = None,
    metric: Annotated[
        str, typer.Option(help="Metrics, with commas. BD-rate is computed for each.")
    ] = "ssimulacra2,ms-ssim,psnr",
    split: Annotated[
        float | None,
        typer.Option(help="Only the pictures that train holds out with the same --split, 0.6 for one. [default: all]"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Let models judge too: classification, detection, or text. Rates at equal accuracy are reported."
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="SPEC", help="Of the task, as for train; once a model.")
    ] = None,
    labels: options.Labels = False,
    annotations: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Truth of the task detection: boxes in COCO's format; of text: JSON, texts by picture."
        ),
    ] = None,
    weights_files: Annotated[
        list[Path] | None,
        typer.Option("--weights", help="Weights of one's own (.safetensors); once a network, or a network and codec."),
    ] = None,
    task_weights: options.TaskWeights = None,
    strength: options.Strength = None,
    count: Annotated[
        int | None, typer.Option("--pictures", min=1, help="At most so many pictures, drawn by their sha256.")
    ] = None,
    peers: Annotated[
        bool,
        typer.Option(
            "--peers",
            help="Also the free encoders as their own users run them: mozjpeg, jpegli, cwebp at "
            "its best, x265 at constant QP (BPG's way), libheif, libavif; those that are here.",
        ),
    ] = False,
    match_bpp: Annotated[
        bool,
        typer.Option(
            "--match-bpp",
            help="Compare at equal bits: picture by picture, search the quality at which each preprocessor takes what "
            "the plain codec takes at --quality.",
        ),
    ] = False,
    backend: options.Backend = "auto",
    tables: options.Tables = "auto",
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    address: options.Cluster = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure rate and quality of codecs and preprocessors on a folder.

    Writes points.csv, summary.json, report.md, report.html and curves.png.
    """
    from kcompress.codecs.quantisation import tables_named
    from kcompress.dataset import DataSet
    from kcompress.evaluation.bench import points_before, preprocessor_names, run, write_report
    from kcompress.evaluation.ladder import ladder
    from kcompress.evaluation.memory import recalled, remember, weights_behind
    from kcompress.evaluation.plan import DEFAULT, Plan, check
    from kcompress.inference.engine import resolve_device
    from kcompress.networks import NETWORKS, NONE

    if address is not None and task is not None:
        raise UsageError(f"--cluster {address} and --task exclude each other: models are on this machine.")
    pictures = DataSet(dataset).absolute() if address else DataSet(dataset)
    every = pictures.names()
    machines = _machines(task, model or [], every, annotations, labels=labels)
    names = _some(pictures, _unseen(pictures, every, split), count)
    codecs = options.chosen(",".join(map(options.alias, options.listed(codec))), "--codec", [*options.CodecName])
    metrics = options.metrics(metric)
    networks = options.chosen(network, "--network", [*NETWORKS, DEFAULT])
    preprocessors = preprocessor_names(networks, options.listed(filters))
    qualities = _qualities(quality or [AUTO], codecs)
    if peers and task:
        raise UsageError("--peers are judged by metrics, not by a --task. Leave one of the two out.")
    if match_bpp and task:
        raise UsageError("--match-bpp compares metrics at equal bits, a --task bits at equal accuracy. Leave one out.")
    known_tables = tables_named(tables)
    if known_tables is not None and "jpeg" not in codecs:
        raise UsageError(f"--tables {tables}: of the codecs jpeg alone has tables to choose. Leave it out.")
    plan = Plan(
        pictures, qualities, preprocessors, metrics, resolve_device(device) if address else device,
        options.cache_folder(), machines, _task_weights(task_weights, networks), backend, known_tables,
        match_bpp=match_bpp, weights=tuple(path.absolute() for path in weights_files or ()), strength=strength,
    )  # fmt: skip
    check(plan)
    if match_bpp and not peers and all(plan.preprocessors_of(name) == (NONE,) for name in codecs):
        raise UsageError("--match-bpp has nothing to match. Name a --network or --filter beside none, or give --peers.")
    used = {name for each in codecs for name in plan.preprocessors_of(each)} & {*NETWORKS} - {NONE}
    if strength is not None and not used:
        raise UsageError(
            f"--strength {strength:g} has no meaning without a network. Name a --network, or leave it out."
        )
    with storage.sole_user(target):
        # What a resumed run must share with the one before, beside the points themselves.
        before = points_before(target, plan, resume=resume)
        weights = weights_behind(plan)
        memory = target / "plan.json"
        ladders = recalled(memory, weights, before, resume=resume)
        remember(memory, ladders, weights)
        for name in [name for name, listed in qualities.items() if not listed and name not in ladders]:
            output.say(f"looking for a ladder of qualities for {name}")
            with output.progress(1, always=True) as bar:
                bar.add_task("ladder", total=1)
                ladders[name] = list(ladder(pictures, names, plan.codec(name, NONE), backend))
            remember(memory, ladders, weights)
        plan = replace(plan, qualities={name: listed or tuple(ladders[name]) for name, listed in qualities.items()})
        if peers:
            found = _peer_ladders(plan, names, ladders)
            remember(memory, ladders, weights)
            plan = replace(plan, peers=found)
        total = len(names) * sum(map(plan.count, plan.qualities))
        with (
            cluster.processes(jobs or options.cores(), address) as (executor, ahead),
            output.progress(total) as bar,
        ):
            shown = bar.add_task("points", total=total)
            outcome = run(
                plan, names, target, before, executor=executor, ahead=ahead,
                progress=lambda count: bar.advance(shown, count),
            )  # fmt: skip
        command = shlex.join(["kcompress", *(argument for argument in sys.argv[1:] if argument != "--resume")])
        write_report(plan, outcome, target, command)
    _finish(outcome, target)


def _peer_ladders(
    plan: "Plan", pictures: list[str], ladders: dict[str, list[int]]
) -> dict[str, dict[str, tuple[int, ...]]]:
    """Qualities of the peers that are here, by codec and name; new ones join the ladders.

    With --match-bpp they are the plain codec's, which are to be met.
    """
    from kcompress.evaluation.ladder import peer_ladders
    from kcompress.evaluation.peers import peers_of
    from kcompress.networks import NONE

    chosen: dict[str, dict[str, tuple[int, ...]]] = {}
    for codec, qualities in plan.qualities.items():
        keys: dict[str, str] = {}
        new, searched = [], {}
        for peer in peers_of(codec, plan.backend):
            if peer.version() is None:
                output.say(f"note: {peer.name} is no peer here, as it is not installed. {peer.install}", "yellow")
                continue
            if plan.match_bpp:
                searched[peer.name] = qualities
                continue
            # A ladder spans what these qualities of the codec span.
            keys[peer.name] = f"{codec} {peer.name} {','.join(map(str, qualities))}"
            if keys[peer.name] not in ladders:
                new.append(peer)
        if new:
            output.say(f"looking for qualities of {', '.join(peer.name for peer in new)} that score as {codec}'s")
            plain = plan.codec(codec, NONE)
            found = peer_ladders(plan.dataset, pictures, plain, qualities, new, plan.backend)
            ladders |= {keys[name]: list(listed) for name, listed in found.items()}
        chosen[codec] = searched | {name: tuple(ladders[key]) for name, key in keys.items() if key in ladders}
    return chosen


def _finish(outcome: "Outcome", target: Path) -> None:
    output.say(f"{len(outcome.points)} points: {target}/report.html, report.md, summary.json, points.csv")
    output.notes(outcome.notes)
    for failure in outcome.failures:
        output.complain(f"failed ({failure.codec}): {failure.error}")
    if outcome.failures:
        raise typer.Exit(KcompressError.exit_code)


def _qualities(given: list[str], codecs: list[str]) -> dict[str, tuple[int, ...]]:
    """Qualities by codec; empty ones are to be found."""
    found: dict[str, tuple[int, ...]] = dict.fromkeys(codecs, ())
    for text in given:
        name, _, listed = text.rpartition("=")
        if name and name not in codecs:
            raise UsageError(f"--quality {text}: {name} is not among the codecs. Allowed: {', '.join(codecs)}.")
        if listed == AUTO:
            continue
        try:
            numbers = tuple(int(part) for part in options.listed(listed))
        except ValueError:
            raise UsageError(
                f"--quality {text} is no list of numbers. Give auto, 40,60,80,90 or jpeg=40,60,80,90."
            ) from None
        found |= dict.fromkeys([name] if name else codecs, numbers)
    return found


def _machines(
    task: str | None, models: list[str], names: list[str], annotations: Path | None, *, labels: bool
) -> "tuple[Machine, ...]":
    """Models that score decoded pictures.

    Raises:
        UsageError: a task without a model, or the other way round, or with the truth of another task.
        InputError: labels without folders, or annotations that cannot be read.
    """
    from kcompress.evaluation.machines import Machine, model

    if task is None:
        given = {"--model": models, "--labels": labels, "--annotations": annotations}
        for option in (option for option, value in given.items() if value):
            raise UsageError(f"{option} needs a --task. Give classification, detection or text.")
        return ()
    if not models:
        raise UsageError(f"--task {task} needs a --model. Give one that does it.")
    truth = _truth(task, names, annotations, labels=labels)
    found: dict[str, Machine] = {}
    for spec in models:
        name = model(spec).name
        if name in found:
            raise UsageError(f"--model {spec}: {name} is there already. Give each model once, under its own file name.")
        found[name] = Machine(task, spec, name, **truth)
    return tuple(found.values())


def _truth(task: str, names: list[str], annotations: Path | None, *, labels: bool) -> dict[str, Any]:
    """Fields of `Machine` that tell the truth; none where that is the model's own answers."""
    from kcompress.dataset import digest
    from kcompress.machine.annotations import read_annotations, read_texts
    from kcompress.machine.folders import class_folders

    if annotations is not None:
        if task == "detection":
            boxes, categories = read_annotations(annotations, names)
            found: dict[str, Any] = {"labels": boxes, "classes": categories}
        elif task == "text":
            found = {"labels": read_texts(annotations, names)}
        else:
            raise UsageError(f"--annotations {annotations} has no meaning for the task {task}. Leave it out.")
        return {**found, "truth": digest(annotations.read_bytes())}
    if not labels:
        return {}
    if task != "classification":
        raise UsageError(f"the task {task} has no --labels. Leave them out.")
    classes, numbers = class_folders(names)
    return {"labels": numbers, "classes": tuple(range(len(classes))), "truth": f"{len(classes)} labels"}


def _task_weights(task: str | None, networks: list[str]) -> Path | None:
    from kcompress.networks import NETWORKS
    from kcompress.networks.loading import task_weights as found

    if task is None:
        return None
    if not any(name in NETWORKS and NETWORKS[name].task for name in networks):
        raise UsageError(f"--task-weights {task} has no meaning without npp among --network. Leave it out.")
    return found(task).absolute()


def _some(pictures: "DataSet", names: list[str], count: int | None) -> list[str]:
    """So many of the pictures, the same ones wherever they lie."""
    from kcompress.dataset import digest

    if count is None or count >= len(names):
        return names
    kept = set(sorted(names, key=lambda name: digest(pictures.read(name)))[:count])
    return [name for name in names if name in kept]


def _unseen(pictures: "DataSet", names: list[str], split: float | None) -> list[str]:
    """The pictures that a training with this split holds out.

    Raises:
        UsageError: a split that is none.
        InputError: it holds out no picture.
    """
    from kcompress.dataset import digest, is_held_out

    if split is None:
        return names
    if not 0 < split < 1:
        raise UsageError(f"--split {split:g} is out of range. Allowed: between 0 and 1.")
    found = [name for name in names if is_held_out(digest(pictures.read(name)), 1 - split)]
    if not found:
        raise InputError(f"--split {split:g} holds out none of the {len(names)} pictures. Give more, or another one.")
    output.say(f"{len(found)} of {len(names)} pictures are held out")
    return found
