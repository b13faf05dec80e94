"""``kcompress train``: a network from the labels of a data set, or from photographs."""

import shlex
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kcompress.cli import options, output
from kcompress.cli.reporting import Command, reported
from kcompress.errors import KcompressError, OutputError, UsageError

if TYPE_CHECKING:
    from kcompress.training.events import Event, Finished, Validation


class TrainCommand(Command):
    """The command, whose help takes defaults from the recipes; they are imported only when help is asked for."""

    def get_help(self, ctx: Any) -> str:
        from kcompress.cli.train_options import default_help

        for option in self.params:
            text = getattr(option, "help", None) or ""
            if "[default: ...]" in text:
                option.help = text.replace("[default: ...]", default_help(option.opts[0]))  # type: ignore[attr-defined]
        return super().get_help(ctx)


@reported
def train(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="labels.csv of kcompress label, or its folder; else a folder of photos."),
    ],
    network: Annotated[
        str,
        typer.Option(
            "--network", "-n",
            help="kuchen, from labels; from photos: rdo, for JPEG; feedback, for the others; blend; artefacts; "
            "npp, for a model. And what the last two need: minnen or simulator, proxies of a codec; classifier, a "
            "small model. tables: JPEG's.",
        ),
    ] = "kuchen",
    target: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o",
            help="Stem of the weights. [default: NETWORK-CODEC, in the folder of the labels, or where you are]",
        ),
    ] = None,
    codec: Annotated[
        options.CodecName | None,
        typer.Option(
            "--codec", "-c", **options.by_name(options.CodecName),
            help="Codec that the labels must be for, that is watched or simulated, or that npp precedes (bpg).",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Folder or URL of the originals, if they have moved since they were labelled.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps; tables: generations. [default: ...]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times that every patch is seen, for --steps.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Patches a step, of all processes; tables: candidates. [default: ...]"),
    ] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="Learning rate. [default: ...]")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="kuchen: of the rate, constant, or cosine, which falls to nothing as it does for all others but npp, "
            "which has its paper's. [default: ...]"
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="kuchen (its paper: 1), feedback: share of the change that is made. [default: ...]"),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Weights of the same width to start from, instead of random ones; tables: learned, mean (of "
            "libjpeg's, mozjpeg's and jpegli's) or a .json file. [default: for tables learned]"
        ),
    ] = None,
    patch: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the patches; npp's is the model's, if that has one. [default: ...]"),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Pixels from patch to patch, both ways. [default: ...]")
    ] = None,
    patches: Annotated[
        int | None,
        typer.Option(min=1, help="From photos: patches that are encoded before the first step. [default: ...]"),
    ] = None,
    split: Annotated[
        float | None, typer.Option(help="Share of the pictures to train on; others validate. [default: ...]")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels; the cost grows with the square. [default: ...]")
    ] = None,
    quality_metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:WEIGHT],...",
            help="What is held up. rdo, artefacts: ssimulacra2, butteraugli, psnr-hvs-m, psnr, vif, vqscore; "
            "feedback: any metric with a reference; blend: any. [default: ...]",
        ),
    ] = None,
    mozjpeg: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="rdo: share of the pictures to learn from as mozjpeg codes them. [default: ...]"
        ),
    ] = None,
    noisy: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="blend: share of the patches that get noise and a fine JPEG first; scores with reference know what "
            "they were. [default: ...]",
        ),
    ] = None,
    validate: Annotated[
        int | None, typer.Option(min=1, help="Steps from validation to validation. [default: ...]")
    ] = None,
    pictures: Annotated[
        int | None, typer.Option(min=1, help="Held-out pictures to validate with, at most. [default: ...]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the order of the patches.")] = 0,
    task: Annotated[
        str | None, typer.Option(help="npp: classification or detection. [default: classification]")
    ] = None,
    model: options.Model = None,
    labels: options.Labels = False,
    through: Annotated[
        str | None,
        typer.Option(
            help="artefacts: the codec that the loss sees: a simulator, the real one with a simulator's gradients, or "
            "for JPEG its exact twin; blend: labels of each filter, or JPEG's exact twin. [default: ...]",
        ),
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="npp, artefacts: of the codec, for gradients: simulator, minnen, or weights of one. "
            "[default: simulator]",
        ),
    ] = None,
    forward: Annotated[
        str | None,
        typer.Option(
            help="npp: whose pictures and bits the loss sees, the codec's or the proxy's; a simulator's are drawn with "
            "errors as the codec's. [default: ...]"
        ),
    ] = None,
    fixed_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="npp: steps at one quality, before the --steps at random ones with adaptive layers. [default: ...]",
        ),
    ] = None,
    qualities: Annotated[
        str | None,
        typer.Option(
            metavar="FINEST:FIXED:COARSEST",
            help="npp: qualities on the codec's scale; one number trains for it alone. tables: any number of them, to "
            "search at. [default: 28:34:41 for bpg; tables 25:45:65:80:92]",
        ),
    ] = None,
    trade: Annotated[
        str | None,
        typer.Option(
            "--lambda",
            metavar="FINEST:COARSEST",
            help="npp: bits per pixel that a unit of the task's loss is worth. [default: ...]",
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(min=0, help="npp: what a mean squared error of 1 costs, bits per pixel. [default: ...]"),
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            help="npp, artefacts: of the encoder in training, as encode's --effort; a fast one saves half of the time. "
            "[default: the codec's]"
        ),
    ] = None,
    draw: Annotated[
        int | None,
        typer.Option(min=0, help="npp: models that judge a step, drawn at random; 0 for all of them. [default: ...]"),
    ] = None,
    mosaic: Annotated[
        bool,
        typer.Option("--mosaic", help="npp: give the pictures of a step one quality and encode them as one: faster."),
    ] = False,
    zoom: Annotated[
        float | None,
        typer.Option(min=1, help="npp: cut patches up to so many times larger, and shrink them. [default: ...]"),
    ] = None,
    augment: Annotated[
        bool,
        typer.Option("--augment", help="npp: sharpen the pictures at random, and let models see random parts of them."),
    ] = False,
    architecture: Annotated[
        str | None, typer.Option(help="classifier: residual or inverted. [default: ...]")
    ] = None,
    tables: Annotated[
        str | None,
        typer.Option(
            help="rdo: JPEG's tables to learn from, standard, learned, or a spread of these and others. "
            "[default: ...]"
        ),
    ] = None,
    behind: Annotated[
        str | None,
        typer.Option(
            metavar="none|FILE", help="tables: weights of rdo that prepare the pictures, or none. [default: as shipped]"
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Time after which the training ends; the rate falls by the clock where that is faster than the steps. "
            "[default: no limit]",
        ),
    ] = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, log.csv and log.png. [default: STEM-checkpoints]")
    ] = None,
    about: Annotated[str, typer.Option(help="What the pictures are and their licence, for the card.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Train a network; write its weights, ONNX graph and card.

    kuchen learns the labels of a data set; its defaults are those of the Kuchen paper, sections 4.2 and 4.3: mean
    squared error, Adam, 1e-4, batches of 4 patches of 320x180, split 0.6 : 0.4 by picture. rdo learns from photographs
    which of JPEG's coefficients are worth their bits. Every --validate steps held-out pictures are encoded by the real
    encoder; the checkpoint that is smallest at equal quality is kept. feedback learns what to make of a codec's
    losses, through the encoder of --codec itself: no simulation, but trials. blend learns which filters pay on which
    places, from what the encoder of --codec makes of patches behind each of them. artefacts learns to change pictures
    so that the decoded ones have the least distortion for their bits, end to end --through a simulator of the codec.

    npp learns what a model (--model, frozen) needs of pictures, by equation 1 of the NPP paper: bits + lambda * the
    task's loss on the decoded picture + beta * MSE, first at one quality, then at random ones. Pictures and bits are
    the real codec's, their gradients a proxy's: minnen or simulator, which learn from photographs what the encoder of
    --codec does and what it costs in bits. classifier learns pictures that lie in one folder a class.

    Every network is trained on the CPU or on a GPU, as --device says; on several GPUs or machines by accelerate launch
    -m kcompress train ... Encoders always run on the CPU.

    tables searches, without gradients, for JPEG's quantisation tables as a function of quality: CMA-ES, judged by the
    real encoder behind rdo. It takes the pictures that rdo's training by the same --split leaves. encode takes the
    file by --tables.
    """
    if steps is not None and epochs is not None:
        raise UsageError(f"--steps {steps} and --epochs {epochs} exclude each other. Leave one out.")
    from kcompress.cli.train_options import refuse_others

    given = _given(context)
    refuse_others(network, given)
    from kcompress.cli.train_tasks import Asked, build
    from kcompress.inference.weights import beside
    from kcompress.networks import NETWORKS
    from kcompress.training.tasks.tables.search import TableSearch
    from kcompress.training.trainer import Trainer, accelerator

    processes = accelerator(device)
    main = processes.is_main_process
    training, name = build(
        Asked(network, source, jobs or options.cores(), given, device=str(processes.device), speaks=main)
    )
    stem = target or _beside(source, network) / name
    if not force:
        _unused(stem)
    folder = checkpoints or stem.with_name(f"{stem.name}-checkpoints")
    if isinstance(training, TableSearch):
        trainer: TableSearch | Trainer = replace(training, folder=folder, minutes=minutes)
    else:
        trainer = Trainer(training, folder, processes, minutes)
    try:
        with closing(trainer.run(resume=resume)) as events:
            finished = _follow(events, training.recipe.steps, speaks=main)
    except FloatingPointError as error:
        raise KcompressError(
            f"{error}. The last good checkpoint is in {trainer.folder}; "
            f"a smaller --lr than {training.recipe.learning_rate:g} may help."
        ) from error
    except BaseException:  # Ctrl-C too
        if isinstance(trainer, Trainer) and trainer.kept is not None:
            output.say(f"step {trainer.kept} is kept in {folder}; --resume goes on from there")
        raise
    if not main:
        return
    stem.parent.mkdir(parents=True, exist_ok=True)
    card = trainer.export(finished, stem, about)
    if isinstance(trainer, TableSearch):
        weights = beside(stem, ".json")
        output.say(f"log in {folder}")
    else:
        weights = beside(stem, ".safetensors")
        output.say(f"best at step {card['best_step']}; log and plot in {folder}")
    if as_json:
        output.line({"type": "trained", "weights": str(weights), "card": card})
    else:
        print(weights)
        if isinstance(trainer, TableSearch):
            print(shlex.join(["kcompress", "encode", "photo.png", "--codec", "jpeg", "--tables", str(weights)]))
        elif network in NETWORKS:
            use = ["--codec", card["codec"], "--network", network, "--weights", str(weights)]
            print(shlex.join(["kcompress", "encode", "photo.png", *use]))


def _beside(source: Path, network: str) -> Path:
    """Folder of the weights unless another is given: that of the labels, or the current one."""
    return Path() if network != "kuchen" else source if source.is_dir() else source.parent


def _unused(stem: Path) -> None:
    """Refuse to overwrite weights.

    Raises:
        OutputError: some are there.
    """
    from kcompress.inference.weights import SUFFIXES, beside

    for suffix in SUFFIXES:
        if beside(stem, suffix).exists():
            raise OutputError(f"{beside(stem, suffix)} exists. Give --force to overwrite it, or another -o.")


def _given(context: typer.Context) -> dict[str, Any]:
    """Options that were given, by name (``--lr``)."""
    found = {}
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name in ("COMMANDLINE", "DEFAULT_MAP"):
            value = context.params[option.name or ""]
            found[option.opts[0]] = value.value if isinstance(value, Enum) else value
    return found


def _follow(events: "Iterator[Event]", steps: int, *, speaks: bool) -> "Finished":
    """Show a training: a bar with the loss, or a line now and then where no bar can be, and a line a validation."""
    from kcompress.cli import progress
    from kcompress.training.events import Finished, Prepared, Step

    now_and_then = output.NowAndThen()
    visible = speaks and output.console.is_terminal and not output.console.quiet
    with progress.bar(output.console, "step", shown=visible) as bar:  # which also measures speed where it is hidden
        before = bar.add_task("measuring patches", total=None, visible=False)
        during = bar.add_task("training", total=steps)
        for event in events:
            if isinstance(event, Finished):
                return event
            if not speaks:
                continue
            if isinstance(event, Prepared):
                bar.update(before, completed=event.done, total=event.total, visible=event.done < event.total)
                now_and_then.say(f"measuring patches: {event.done} of {event.total}")
            elif isinstance(event, Step):
                bar.update(during, completed=event.number, description=f"loss {event.loss:.2e}")
                shown = bar.tasks[during]
                now_and_then.say(
                    f"step {event.number} of {steps}: loss {event.loss:.2e}, {60 * (shown.speed or 0):.1f} steps/min, "
                    f"{timedelta(seconds=shown.time_remaining or 0)} left"
                )
            else:
                output.say(_line(event))
    raise AssertionError("a training ends with Finished")


def _line(event: "Validation") -> str:
    """A validation for people."""
    metrics = [f"{name.replace('_', ' ')} {value:+.2f}" for name, value in event.metrics.items() if value is not None]
    parts = "".join(f", {name.replace('_', ' ')} {value:.3e}" for name, value in event.parts.items())
    if event.error is not None:
        metrics = [f"held out {event.error:.3e} (untouched {event.identity_error:.3e})", *metrics]
    return f"step {event.step}: loss {event.loss:.3e}{parts}; {', '.join(metrics)}{' *' if event.is_best else ''}"
