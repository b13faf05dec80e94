"""``kcompress train``: a network from the labels of a data set, or from photographs."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kcompress.cli import options, output
from kcompress.cli.reporting import reported
from kcompress.errors import KcompressError, MissingProgramError, UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import Labels
    from kcompress.training.loop import Prepared, Step, Validation
    from kcompress.training.rdo.training import RdoTraining
    from kcompress.training.recipe import Recipe
    from kcompress.training.simulator.training import SimulatorTraining

NETWORKS = ("kuchen", "rdo", "simulator")


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
            help="kuchen, from labels; rdo, from photos, for JPEG; or a codec's simulator, from photos.",
        ),
    ] = "kuchen",
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Stem of the weights. [default: weights/NETWORK-CODEC]")
    ] = None,
    codec: Annotated[
        options.CodecName | None,
        typer.Option("--codec", "-c", help="Codec that the labels must be for, or that is simulated."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Folder or URL of the originals, if they have moved since they were labelled.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps. [default: 20000; rdo 3000; simulator 1200]")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times that every patch is seen, for --steps.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Patches a step, of all processes. [default: 4; rdo 4; simulator 4]")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--lr", help="Learning rate. [default: 1e-4; rdo 7e-4; simulator 2e-3]")
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            help="Of the rate: constant, or cosine, which falls to nothing. [default: constant; others cosine]"
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Weights of the same width to start from, instead of random ones.")
    ] = None,
    patch: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the patches. [default: 320x180; rdo 256x256; simulator 192x192]"),
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Pixels from patch to patch, both ways. [default: 160]")
    ] = None,
    split: Annotated[
        float | None,
        typer.Option(help="Share of the pictures to train on; others validate. [default: 0.6; others 0.95]"),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels; the cost grows with the square. [default: 8; rdo 128; simulator 48]")
    ] = None,
    quality_metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:WEIGHT],...",
            help="What rdo holds up: ssimulacra2, psnr-hvs-m, psnr, vif. [default: ssimulacra2:3,vif]",
        ),
    ] = None,
    validate: Annotated[
        int | None,
        typer.Option(min=1, help="Steps from validation to validation. [default: 1000; rdo 500; simulator 250]"),
    ] = None,
    pictures: Annotated[int, typer.Option(min=1, help="Held-out pictures to validate with, at most.")] = 12,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the order of the patches.")] = 0,
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
    smallest at equal quality is kept. A simulator learns what the encoder of --codec does to photographs, plain and
    preprocessed, and what they cost in bits: through it, other networks can be trained.
    """
    if network not in NETWORKS:
        raise UsageError(f"--network {network} cannot be trained. Allowed: {', '.join(NETWORKS)}.")
    if steps is not None and epochs is not None:
        raise UsageError(f"--steps {steps} and --epochs {epochs} exclude each other. Leave one out.")
    _needed()
    given = {
        "steps": steps, "batch": batch, "learning_rate": _share(rate, "--lr"), "split": _share(split, "--split"),
        "width": _even(width), "validate_every": validate, "validation_pictures": pictures, "seed": seed,
    }  # fmt: skip
    known = {name: value for name, value in given.items() if value is not None}
    of_labels = {
        "--dataset": dataset, "--epochs": epochs, "--schedule": schedule, "--start": start, "--stride": stride,
    }  # fmt: skip
    others: dict[str, Mapping[str, object]] = {
        "kuchen": {"--quality-metric": quality_metric, "--jobs": jobs},
        "rdo": of_labels,
        "simulator": {**of_labels, "--start": None, "--quality-metric": quality_metric},
    }
    _refused(others[network], network)
    training: Training | RdoTraining | SimulatorTraining
    if network == "kuchen":
        training = _from_labels(source, known, codec, dataset, epochs, schedule, start, _size(patch), stride, device)
        name, main = f"kuchen-{training.labels.codec}", training.accelerator.is_main_process
    elif network == "simulator":
        training = _of_codec(source, known, codec, start, _size(patch), device, jobs or options.cores())
        name, main = f"simulator-{training.recipe.codec}", True
    else:
        training = _from_photos(source, known, codec, _size(patch), quality_metric, device, jobs or options.cores())
        name, main = "rdo-jpeg", True
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


def _from_labels(
    source: Path, given: dict[str, Any], codec: options.CodecName | None, dataset: str | None, epochs: int | None,
    schedule: str | None, start: Path | None, size: tuple[int, int] | None, stride: int | None, device: str,
) -> "Training":  # fmt: skip
    from kcompress.inference.weights import open_weights
    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import opened
    from kcompress.training.recipe import SCHEDULES, Recipe

    if schedule is not None:
        if schedule not in SCHEDULES:
            raise UsageError(f"--schedule {schedule} is not known. Allowed: {', '.join(SCHEDULES)}.")
        given["schedule"] = schedule
    begun = open_weights(start, "kuchen") if start else None
    if begun:
        given["start"] = f"{begun.name} {begun.digest()}"
    if size is not None:
        given |= {"patch_width": size[0], "patch_height": size[1]}
    if stride is not None:
        given["stride"] = stride
    recipe = Recipe(**given)
    labels = opened(source, dataset, codec.value if codec else None)
    if epochs is not None:
        recipe = _with_epochs(recipe, labels, epochs)
    training = Training(labels, recipe, Path(), _accelerator(device), begun)
    if training.accelerator.is_main_process:
        kept, held_out = labels.split(recipe.split)
        output.say(
            f"{len(kept)} labels to train on, {len(held_out)} held out; {labels.codec} {labels.quality}, "
            f"{labels.metric} decided; on {training.accelerator.device}"
        )
    return training


def _from_photos(
    source: Path, given: dict[str, Any], codec: options.CodecName | None, size: tuple[int, int] | None,
    quality_metric: str | None, device: str, jobs: int,
) -> "RdoTraining":  # fmt: skip
    from kcompress.dataset import DataSet
    from kcompress.training.rdo.recipe import SCORES, RdoRecipe
    from kcompress.training.rdo.training import RdoTraining

    if codec not in (None, options.CodecName.jpeg):
        raise UsageError(f"--codec {codec.value}: rdo is trained for jpeg alone. Leave --codec out.")
    _alone_on_the_cpu("rdo", device)
    if quality_metric is not None:
        given["objective"] = _objective(quality_metric, list(SCORES))
    if size is not None:
        if size[0] != size[1] or size[0] % 16:
            raise UsageError(f"--patch {size[0]}x{size[1]}: rdo takes squares of a multiple of 16 pixels.")
        given["side"] = size[0]
    recipe = RdoRecipe(**given)
    recipe = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10))
    return RdoTraining(DataSet(str(source)), recipe, Path(), jobs)


def _objective(text: str, known: list[str]) -> dict[str, float]:
    """Shares of scores, 1 in all: of NAME:WEIGHT with commas, where :WEIGHT may be left out."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        (name,) = options.chosen(name, "--quality-metric", known)
        if name in weights:
            raise UsageError(f"--quality-metric {text} names {name} twice. Name each score once.")
        if re.fullmatch(r"\d*\.?\d+", weight or "1") is None or not float(weight or 1):
            raise UsageError(f"--quality-metric {part.strip()}: {weight} is no weight. Give a number above 0.")
        weights[name] = float(weight or 1)
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _of_codec(
    source: Path, given: dict[str, Any], codec: options.CodecName | None, start: Path | None,
    size: tuple[int, int] | None, device: str, jobs: int,
) -> "SimulatorTraining":  # fmt: skip
    from kcompress.dataset import DataSet
    from kcompress.inference.weights import open_weights
    from kcompress.training.simulator.recipe import RANGES, SimulatorRecipe
    from kcompress.training.simulator.training import SimulatorTraining

    if codec is None:
        raise UsageError(f"--network simulator needs --codec. Give one of {', '.join(RANGES)}.")
    _alone_on_the_cpu("simulator", device)
    if size is not None:
        if size[0] != size[1] or size[0] < 16:
            raise UsageError(f"--patch {size[0]}x{size[1]}: a simulator takes squares of at least 16 pixels.")
        given["side"] = size[0]
    begun = open_weights(start, "simulator") if start else None
    if begun:
        given["start"] = f"{begun.name} {begun.digest()}"
    recipe = SimulatorRecipe(codec.value, *RANGES[codec.value], **given)
    recipe = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10))
    return SimulatorTraining(DataSet(str(source)), recipe, Path(), jobs, start=begun)


def _alone_on_the_cpu(network: str, device: str) -> None:
    """Refuse what only the training from labels can use.

    Raises:
        UsageError: another device, or several processes.
    """
    from kcompress.inference.engine import resolve_device

    if resolve_device(device) != "cpu" and device != "auto":
        raise UsageError(f"--device {device}: {network} is trained on the CPU alone. Leave --device out.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"--network {network} is trained by one process. Start it without accelerate or torchrun.")


def _follow(
    training: "Training | RdoTraining | SimulatorTraining",
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


def _refused(others: Mapping[str, object], network: str) -> None:
    """Options of another network.

    Raises:
        UsageError: one is given.
    """
    for option, value in others.items():
        if value is not None:
            raise UsageError(f"{option} has no meaning for --network {network}. Leave it out.")


def _size(patch: str | None) -> tuple[int, int] | None:
    if patch is None:
        return None
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", patch)
    if sides is None:
        raise UsageError(f"--patch {patch} is no size. Give width and height, such as 320x180.")
    return int(sides[1]), int(sides[2])


def _share(value: float | None, option: str) -> float | None:
    if value is not None and not 0 < value < 1:
        raise UsageError(f"{option} {value:g} is out of range. Allowed: between 0 and 1.")
    return value


def _even(width: int | None) -> int | None:
    if width is not None and (width < 2 or width % 2):
        raise UsageError(f"--width {width} is not possible. Allowed: even numbers from 2.")
    return width


def _with_epochs(recipe: "Recipe", labels: "Labels", epochs: int) -> "Recipe":
    """The recipe with the steps that see every patch so many times."""
    from kcompress.patches import Patches

    patches = Patches(recipe.patch_width, recipe.patch_height, recipe.stride)
    kept, _ = labels.split(recipe.split)
    count = sum(len(patches.corners(row.width, row.height)) for row in kept)
    return replace(recipe, steps=max(1, count // recipe.batch) * epochs)


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


def _accelerator(device: str) -> "Accelerator":
    from accelerate import Accelerator

    from kcompress.inference.engine import resolve_device

    place = resolve_device(device)
    if place == "cpu":
        return Accelerator(cpu=True)
    import torch

    if ":" in place:
        torch.cuda.set_device(place)
    return Accelerator(mixed_precision="bf16")
