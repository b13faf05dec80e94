"""``kcompress train``: a network from the labels of a data set, or from photographs."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kcompress.cli import options, output
from kcompress.cli.reporting import reported
from kcompress.cli.trainings import TRAININGS, Asked
from kcompress.errors import KcompressError, MissingProgramError, UsageError

if TYPE_CHECKING:
    from kcompress.training.kuchen import Training
    from kcompress.training.loop import Prepared, Step, Validation
    from kcompress.training.photographs import PhotoTraining


@reported
def train(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="labels.csv of kcompress label, or its folder; else a folder of photos."),
    ],
    network: Annotated[
        str,
        typer.Option(
            "--network",
            "-n",
            help="kuchen, from labels; from photos: rdo, for JPEG; feedback, for the others; npp, for a model. And "
            "what npp needs: minnen or simulator, proxies of a codec; classifier, a small model.",
        ),
    ] = "kuchen",
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Stem of the weights. [default: weights/NETWORK-CODEC]")
    ] = None,
    codec: Annotated[
        options.CodecName | None,
        typer.Option(
            "--codec",
            "-c",
            help="Codec that the labels must be for, that is watched or simulated, or that npp precedes (bpg).",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Folder or URL of the originals, if they have moved since they were labelled.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Optimiser steps. [default: 20000; rdo 2000; minnen, classifier 3000; feedback 160; simulator "
            "1200; npp 10000]",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times that every patch is seen, for --steps.")] = None,
    batch: Annotated[
        int | None,
        typer.Option(min=1, help="Patches a step, of all processes. [default: 4; npp 8; feedback 16; classifier 32]"),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(
            "--lr",
            help="Learning rate. [default: 1e-4; rdo 7e-4; feedback 0.05; simulator, minnen 2e-3; classifier 3e-3]",
        ),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Of the rate: constant, or cosine, which falls to nothing. [default: constant; npp as in its paper; "
            "others cosine]"
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights of the same width to start from, instead of random ones.")
    ] = None,
    patch: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Size of the patches. [default: 320x180; rdo 256x256; feedback 320x320; simulator, minnen 192x192; "
            "classifier 160x160; npp the model's]",
        ),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Pixels from patch to patch, both ways. [default: 160]")
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(help="Share of the pictures to train on; others validate. [default: 0.6; others 0.95]"),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help="Channels; the cost grows with the square. [default: 8; rdo 112; simulator, minnen 48; classifier 24]"
        ),
    ] = None,
    quality_metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:WEIGHT],...",
            help="What is held up. rdo: ssimulacra2, butteraugli, psnr-hvs-m, psnr, vif (ssimulacra2:5,butteraugli:3,"
            "vif:2); feedback: any metric with a reference (ssimulacra2:2,vif,psnr).",
        ),
    ] = None,
    mozjpeg: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="rdo: share of the pictures to learn from as mozjpeg codes them. [default: 0]"),
    ] = None,
    validate: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps from validation to validation. [default: 1000; rdo, npp, classifier 500; feedback 40; others "
            "250]",
        ),
    ] = None,
    pictures: Annotated[
        int | None,
        typer.Option(
            min=1, help="Held-out pictures to validate with, at most. [default: 12; feedback 6; npp 64; classifier 400]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the order of the patches.")] = 0,
    task: Annotated[
        str | None,
        typer.Option(help="npp: classification or detection. [default: classification]"),
    ] = None,
    model: options.Model = None,
    labels: options.Labels = False,
    proxy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="npp: of the codec, for gradients: simulator, minnen, or weights of one. [default: simulator]",
        ),
    ] = None,
    forward: Annotated[
        str | None,
        typer.Option(help="npp: whose pictures and bits the loss sees, the codec's or the proxy's. [default: codec]"),
    ] = None,
    fixed_steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="npp: steps at one quality, before the --steps at random ones with adaptive layers. [default: 12000]",
        ),
    ] = None,
    qualities: Annotated[
        str | None,
        typer.Option(
            metavar="FINEST:FIXED:COARSEST",
            help="npp: qualities on the codec's scale; one number trains for it alone. [default: 28:34:41 for bpg]",
        ),
    ] = None,
    trade: Annotated[
        str | None,
        typer.Option(
            "--lambda",
            metavar="FINEST:COARSEST",
            help="npp: bits per pixel that a unit of the task's loss is worth. [default: 0.5:8]",
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(min=0, help="npp: what a mean squared error of 1 costs, bits per pixel. [default: 0.5]"),
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            help="npp: of the encoder in training, as encode's --effort; a fast one saves half of the time. "
            "[default: the codec's]"
        ),
    ] = None,
    architecture: Annotated[
        str | None,
        typer.Option(help="classifier: residual or inverted. [default: residual]"),
    ] = None,
    device: options.Device = "auto",
    jobs: options.Jobs = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, log.csv and log.png. [default: STEM-checkpoints]")
    ] = None,
    about: Annotated[str, typer.Option(help="What the pictures are and their licence, for the card.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a network; write its weights, ONNX graph and card.

    kuchen learns the labels of a data set; its defaults are those of the Kuchen paper, sections 4.2 and 4.3: mean
    squared error, Adam, 1e-4, batches of 4 patches of 320x180, split 0.6 : 0.4 by picture. Several GPUs or machines:
    accelerate launch -m kcompress train labels.csv ... rdo learns from photographs which of JPEG's coefficients are
    worth their bits. Every --validate steps held-out pictures are encoded by the real encoder; the checkpoint that is
    smallest at equal quality is kept. feedback learns what to make of a codec's losses, through the encoder of --codec
    itself: no simulation, but trials.

    npp learns what a model (--model, frozen) needs of pictures, by equation 1 of the NPP paper: bits + lambda * the
    task's loss on the decoded picture + beta * MSE, first at one quality, then at random ones. Pictures and bits are
    the real codec's, their gradients a proxy's: minnen or simulator, which learn from photographs what the encoder of
    --codec does and what it costs in bits. classifier learns pictures that lie in one folder a class.
    """
    if network not in TRAININGS:
        raise UsageError(f"--network {network} cannot be trained. Allowed: {', '.join(TRAININGS)}.")
    if steps is not None and epochs is not None:
        raise UsageError(f"--steps {steps} and --epochs {epochs} exclude each other. Leave one out.")
    _needed()
    asked = Asked(source, device, jobs or options.cores(), {
        "--codec": codec.value if codec else None, "--dataset": dataset, "--steps": steps, "--epochs": epochs,
        "--batch": batch, "--lr": lr, "--schedule": schedule, "--start": start, "--patch": patch, "--stride": stride,
        "--split": split, "--width": width, "--quality-metric": quality_metric, "--mozjpeg": mozjpeg,
        "--validate": validate, "--pictures": pictures, "--seed": seed, "--task": task, "--model": model,
        "--labels": labels or None, "--proxy": proxy, "--forward": forward, "--fixed-steps": fixed_steps,
        "--qualities": qualities, "--lambda": trade, "--beta": beta, "--effort": effort,
        "--architecture": architecture, "--jobs": jobs,
    })  # fmt: skip
    prepare = TRAININGS[network]
    asked.refuse_all_but(prepare.options, network)
    training, name, main = prepare.build(asked)
    stem = target or Path("weights") / name
    training.folder = checkpoints or stem.with_name(f"{stem.name}-checkpoints")
    try:
        _follow(training, training.run(resume=resume), shown=main)
    except FloatingPointError as error:
        raise KcompressError(
            f"{error}. The last good checkpoint is in {training.folder}; "
            f"a smaller --lr than {training.recipe.learning_rate:g} may help."
        ) from error
    if not main:
        return
    stem.parent.mkdir(parents=True, exist_ok=True)
    card = training.export(stem, about)
    weights = stem.with_suffix(".safetensors")
    output.say(f"best at step {card['best_step']}; log and plot in {training.folder}")
    if as_json:
        output.line({"type": "trained", "weights": str(weights), "card": card})
    else:
        print(weights)


def _follow(
    training: "Training | PhotoTraining",
    events: "Iterator[Prepared | Step | Validation]",
    *,
    shown: bool,
) -> None:
    """Draw a training: a bar with the loss, and a line a validation."""
    from kcompress.training.loop import Prepared, Step

    with output.progress(training.recipe.steps if shown else 0, "step") as bar:
        before = bar.add_task("measuring patches", total=None, visible=False)
        task = bar.add_task("training", total=training.recipe.steps)
        for event in events:
            if isinstance(event, Prepared):
                bar.update(before, completed=event.done, total=event.total, visible=event.done < event.total)
            elif isinstance(event, Step):
                samples = f"{(bar.tasks[1].speed or 0) * training.recipe.batch:.1f} patches/s"
                bar.update(task, completed=event.number, description=f"loss {event.loss:.2e}, {samples}")
            elif shown:
                figures = ", ".join(
                    f"{name.replace('_', ' ')} {value:+.2f}"
                    for name, value in event.figures.items()
                    if value is not None
                )
                if event.error is not None:
                    figures = f"held out {event.error:.3e} (untouched {event.identity_error:.3e}), {figures}"
                output.say(f"step {event.step}: loss {event.loss:.3e}, {figures}{' *' if event.is_best else ''}")


def _needed() -> None:
    """Check that what training needs is installed.

    Raises:
        MissingProgramError: it is not.
    """
    try:
        import accelerate  # noqa: F401
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingProgramError(f"train needs {error.name}. pip install 'kcompress[train]'.") from None
