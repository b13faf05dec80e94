"""``kcompress label``: the best filters of every picture of a data set, as training labels."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kcompress import storage
from kcompress.cli import cluster, options, output
from kcompress.cli.reporting import reported
from kcompress.errors import InputError, KcompressError, MissingProgramError, UsageError

if TYPE_CHECKING:
    from kcompress.dataset import DataSet
    from kcompress.labeling.plan import Plan
    from kcompress.labeling.run import Outcome
    from kcompress.labeling.summary import Line
    from kcompress.patches import Patches
    from kcompress.pool import FilterContext

POOL = "guetzli,ar,nlm,detail"


@reported
def label(
    dataset: Annotated[str, typer.Argument(help="Folder of pictures, searched through; or a URL for fsspec.")],
    target: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for labels.csv, pictures/ and the summary.")
    ] = Path("labels"),
    codec: Annotated[
        options.CodecName,
        typer.Option("--codec", "-c", **options.by_name(options.CodecName), help="Codec to label for."),
    ] = options.CodecName.jpeg,
    quality: options.Quality = None,
    backend: options.Backend = "auto",
    pool: Annotated[
        str,
        typer.Option(
            help="Filters, with commas: guetzli, ar, nlm, detail, blur, shrink, bilateral, guided, chroma, sharpen; "
            "with numbers: guetzli:q=90, nlm:h=5, guided:s=4:h=10. In this order they are applied."
        ),
    ] = POOL,
    max_group: Annotated[int, typer.Option("--max-group", "-k", help="Filters in series, at most (K).")] = 2,
    ordered: Annotated[bool, typer.Option("--ordered", help="Try every order of the same filters.")] = False,
    metric: Annotated[
        str, typer.Option(help="The first one decides, with commas; the others are written down beside it.")
    ] = "vqscore,ssimulacra2",
    rate_weight: Annotated[
        float | None, typer.Option(help="Of bits against quality in the score; more prefers small files. [default: 1]")
    ] = None,
    plus: Annotated[
        bool, typer.Option("--plus", help="Z(quality) + Z(bpp) as the paper prints it; it rewards large files.")
    ] = False,
    patch: Annotated[
        str | None, typer.Option(metavar="WxH", help="Label patches of this size, the paper's is 320x180.")
    ] = None,
    stride: Annotated[int | None, typer.Option(help="Pixels from patch to patch, both ways. [default: 160]")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Label whole pictures: the default.")] = False,
    label_stage: Annotated[
        str, typer.Option(help="Pictures to keep: filtered, as the codec gets them, or decoded, as it gives them back.")
    ] = "filtered",
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    guetzli_jobs: Annotated[int, typer.Option(min=1, help="Runs of guetzli at a time on one machine.")] = 1,
    guetzli_seconds: Annotated[float, typer.Option(min=1, help="Limit of one run of guetzli.")] = 600,
    guetzli_memory: Annotated[int, typer.Option(min=100, help="Limit of one run of guetzli, megabytes.")] = 6000,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder that keeps guetzli's results from run to run. [default: in the user's cache]"),
    ] = None,
    address: options.Cluster = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a pool of filters and a codec over a data set; keep the best of each picture as a label.

    Score = Z(quality) - W Z(bits per pixel), W of --rate-weight, over the groups of a picture (Kuchen paper,
    Algorithm 1). Prints the path of labels.csv; summary.md and summary.png lie beside it.
    """
    from kcompress.codecs import CODECS
    from kcompress.dataset import DataSet
    from kcompress.inference.engine import resolve_device
    from kcompress.labeling.plan import Plan
    from kcompress.labeling.run import rows_before, run
    from kcompress.pool import FilterContext, GuetzliLimits

    context = FilterContext(
        resolve_device(device),
        GuetzliLimits(guetzli_seconds, guetzli_memory, guetzli_jobs, (cache or options.cache_folder()).absolute()),
    )
    plan = Plan(
        dataset=DataSet(dataset).absolute(),
        codec=codec.value,
        quality=CODECS[codec.value].setting(quality).quality,
        pool=_pool(pool, context),
        longest=max_group,
        ordered=ordered,
        metrics=options.metrics(metric),
        backend=backend,
        patches=_patches(patch, stride, whole),
        stage=label_stage,
        rate_weight=_rate_weight(rate_weight, plus=plus),
        context=context,
    )
    plan.check()
    names = _names(plan.dataset, target)
    with (
        cluster.processes(jobs or options.cores(), address) as (executor, ahead),
        storage.sole_user(target),  # makes the folder: after all that can be refused
        output.progress(len(names), "picture") as bar,
    ):
        before = rows_before(plan, target, resume=resume)
        task = bar.add_task("labelling", total=len(names))
        outcome = run(plan, names, target, before, executor, ahead=ahead, progress=lambda: bar.advance(task))
    _report(plan, outcome, target, len(names), as_json=as_json)


def _rate_weight(given: float | None, *, plus: bool) -> float:
    """Factor of Z(bpp) in the score.

    Raises:
        UsageError: out of range, or two ways at once.
    """
    if plus and given is not None:
        raise UsageError(f"--plus and --rate-weight {given:g} exclude each other. Leave one out.")
    weight = -1 if plus else 1 if given is None else given
    if not (plus or 0 <= weight <= 100):
        raise UsageError(f"--rate-weight {weight:g} is out of range. Allowed: 0..100.")
    return weight


def _report(plan: "Plan", outcome: "Outcome", target: Path, pictures: int, *, as_json: bool) -> None:
    from kcompress.labeling import plot, summary
    from kcompress.labels import FILE

    groups = [group.name for group in plan.groups]
    lines = summary.summarise(outcome.rows, groups, plan.metrics)
    encoder = plan.encoder()
    heading = f"{plan.codec} {plan.quality} ({encoder.name} {encoder.version()}), {plan.metric} decides"
    storage.write(str(target / "summary.md"), summary.markdown(lines, plan.metrics, heading).encode())
    storage.write(str(target / "summary.png"), plot.plot(lines, plan.metrics, heading))
    columns = [name.removesuffix(" everywhere") for name in summary.header(plan.metrics, ["everywhere"])]
    output.table(columns, [summary.cells(line, plan.metrics, ["everywhere"]) for line in lines], heading)
    labelled = pictures - len(outcome.failures)
    output.say(f"{labelled} of {pictures} pictures labelled, {outcome.computed} rows computed: {target}/{FILE}")
    output.notes(outcome.notes)
    for failure in outcome.failures:
        output.complain(f"failed: {failure.path}: {failure.error}")
    if as_json:
        output.line(_json(plan, outcome, lines, str(target / FILE)))
    else:
        print(target / FILE)
    if outcome.failures:
        raise typer.Exit(KcompressError.exit_code)


def _json(plan: "Plan", outcome: "Outcome", lines: "list[Line]", file: str) -> dict[str, object]:
    """The summary for programs: what the table shows, in numbers."""
    return {
        "type": "labelled", "labels": file, "codec": plan.codec, "quality": plan.quality, "metric": plan.metric,
        "computed": outcome.computed, "groups": [asdict(line) for line in lines],
        "failed": [{"path": failure.path, "error": failure.error} for failure in outcome.failures],
    }  # fmt: skip


def _names(dataset: "DataSet", target: Path) -> list[str]:
    """Pictures of the data set; what an earlier run has put into it is none.

    Raises:
        InputError: there is no picture.
        UsageError: the labels would lie among the pictures.
    """
    names = dataset.names()
    if dataset.is_url:
        return names
    root, output = Path(dataset.location).resolve(), target.resolve()
    if output == root or root.is_relative_to(output / "pictures"):
        raise UsageError(f"-o {target}: labels would lie among the pictures of {root}. Give another folder.")
    if root in output.parents:
        names = [name for name in names if not (root / name).is_relative_to(output)]
    if not names:
        raise InputError(f"no picture was found in {root} but those of {target}. Give another folder.")
    return names


def _pool(text: str, context: "FilterContext") -> tuple[str, ...]:
    """The filters that are installed; says which are not.

    Raises:
        UsageError: an unknown filter.
        MissingProgramError: none of them is installed.
    """
    from kcompress.pool import filter_named

    filters = [filter_named(name, context) for name in options.listed(text)]
    missing = [found for found in filters if not found.kind.available()]
    for found in missing:
        output.say(f"going on without {found.name}: it is not installed. {found.kind.install}", style="yellow")
    if missing and len(missing) == len(filters):
        raise MissingProgramError(f"--pool {text}: none of these filters is installed. {missing[0].kind.install}")
    return tuple(found.name for found in filters if found not in missing)


def _patches(patch: str | None, stride: int | None, whole: bool) -> "Patches | None":
    from kcompress.patches import Patches

    if patch is None:
        if stride is not None:
            raise UsageError(f"--stride {stride} is for patches. Give --patch 320x180 too, or leave it out.")
        return None
    if whole:
        raise UsageError(f"--whole and --patch {patch} exclude each other. Leave one out.")
    return Patches(*options.size("--patch", patch), Patches.stride if stride is None else stride)
