"""``kcompress train``: a network from the labels of a data set."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kcompress.cli import options, output
from kcompress.cli.reporting import reported
from kcompress.errors import KcompressError, MissingProgramError, UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from kcompress.inference.weights import Weights
    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import Labels
    from kcompress.training.loop import Step, Validation
    from kcompress.training.recipe import Recipe


@reported
def train(
    labels: Annotated[Path, typer.Argument(help="labels.csv of kcompress label, or its folder.")],
    network: Annotated[str, typer.Option("--network", "-n", help="Network to train: kuchen.")] = "kuchen",
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="Stem of the weights. [default: weights/kuchen-CODEC]")
    ] = None,
    codec: Annotated[
        options.CodecName | None, typer.Option("--codec", "-c", help="Codec that the labels must be for.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Folder or URL of the originals, if they have moved since they were labelled.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimiser steps. [default: 20000]")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times that every patch is seen, for --steps.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Patches a step, over all processes.")] = 4,
    rate: Annotated[float, typer.Option("--lr", help="Learning rate of Adam.")] = 1e-4,
    schedule: Annotated[
        str, typer.Option(help="Of the learning rate: constant, or cosine, which falls to nothing at the end.")
    ] = "constant",
    start: Annotated[
        Path | None, typer.Option(help="Weights of the same width to start from, instead of random ones.")
    ] = None,
    patch: Annotated[str, typer.Option(metavar="WxH", help="Size of the patches.")] = "320x180",
    stride: Annotated[int, typer.Option(min=1, help="Pixels from patch to patch, both ways.")] = 160,
    split: Annotated[float, typer.Option(help="Share of the pictures to train on; the others validate.")] = 0.6,
    width: Annotated[
        int, typer.Option(help="Channels after the first level, even; the cost grows with the square.")
    ] = 8,
    validate: Annotated[int, typer.Option(min=1, help="Steps from validation to validation.")] = 1000,
    pictures: Annotated[int, typer.Option(min=1, help="Held-out pictures to validate with, at most.")] = 12,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the order of the patches.")] = 0,
    device: options.Device = "auto",
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, log.csv and log.png. [default: STEM-checkpoints]")
    ] = None,
    about: Annotated[str, typer.Option(help="What the pictures are and their licence, for the card.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted training stopped.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train a network on the labels of a data set; write its weights, ONNX graph and card.

    The defaults are those of the Kuchen paper, sections 4.2 and 4.3: mean squared error, Adam, 1e-4, batches of 4
    patches of 320x180, split 0.6 : 0.4 by picture. Every --validate steps held-out pictures are encoded by the real
    encoder; the checkpoint that is smallest at equal quality is kept. Several GPUs or machines:
    accelerate launch -m kcompress train labels.csv ...
    """
    if network != "kuchen":
        raise UsageError(f"--network {network} cannot be trained from labels. Allowed: kuchen.")
    if steps is not None and epochs is not None:
        raise UsageError(f"--steps {steps} and --epochs {epochs} exclude each other. Leave one out.")
    _needed()
    from kcompress.inference.weights import open_weights
    from kcompress.training.kuchen import Training, export
    from kcompress.training.labelled import opened

    begun = open_weights(start, network) if start else None
    recipe = _recipe(steps, batch, rate, schedule, patch, stride, split, width, validate, pictures, seed, begun)
    found = opened(labels, dataset, codec.value if codec else None)
    if epochs is not None:
        recipe = _with_epochs(recipe, found, epochs)
    stem = target or Path("weights") / f"kuchen-{found.codec}"
    folder = checkpoints or stem.with_name(f"{stem.name}-checkpoints")
    training = Training(found, recipe, folder, _accelerator(device), begun)
    main = training.accelerator.is_main_process
    if main:
        kept, held_out = found.split(recipe.split)
        output.say(
            f"{len(kept)} labels to train on, {len(held_out)} held out; {found.codec} {found.quality}, "
            f"{found.metric} decided; on {training.accelerator.device}"
        )
    try:
        _follow(training, training.run(resume=resume), shown=main)
    except FloatingPointError as error:
        raise KcompressError(
            f"{error}. The last good checkpoint is in {folder}; a smaller --lr than {rate:g} may help."
        ) from error
    if not main:
        return
    stem.parent.mkdir(parents=True, exist_ok=True)
    card = export(training, stem, about)
    weights = stem.with_suffix(".safetensors")
    output.say(f"best at step {card['best_step']}; log and plot in {folder}")
    if as_json:
        output.line({"type": "trained", "weights": str(weights), "card": card})
    else:
        print(weights)


def _follow(training: "Training", events: "Iterator[Step | Validation]", *, shown: bool) -> None:
    """Draw a training: a bar with the loss, and a line a validation."""
    from kcompress.training.loop import Step

    with output.progress(training.recipe.steps if shown else 0, "step") as bar:
        task = bar.add_task("training", total=training.recipe.steps)
        for event in events:
            if isinstance(event, Step):
                samples = f"{(bar.tasks[0].speed or 0) * training.recipe.batch:.1f} patches/s"
                bar.update(task, completed=event.number, description=f"loss {event.loss:.2e}, {samples}")
            elif shown:
                figures = ", ".join(
                    f"{name.replace('_', ' ')} {value:+.2f}"
                    for name, value in event.figures.items()
                    if value is not None
                )
                output.say(
                    f"step {event.step}: loss {event.loss:.3e}, held out {event.error:.3e} "
                    f"(untouched {event.identity_error:.3e}), {figures}{' *' if event.is_best else ''}"
                )


def _recipe(
    steps: int | None, batch: int, rate: float, schedule: str, patch: str, stride: int, split: float, width: int,
    validate: int, pictures: int, seed: int, start: "Weights | None",
) -> "Recipe":  # fmt: skip
    """The recipe, checked.

    Raises:
        UsageError: a value that cannot be.
    """
    from kcompress.training.recipe import SCHEDULES, Recipe

    if schedule not in SCHEDULES:
        raise UsageError(f"--schedule {schedule} is not known. Allowed: {', '.join(SCHEDULES)}.")
    sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", patch)
    if sides is None:
        raise UsageError(f"--patch {patch} is no size. Give width and height, such as 320x180.")
    if not 0 < split < 1:
        raise UsageError(f"--split {split:g} is out of range. Allowed: between 0 and 1.")
    if not 0 < rate < 1:
        raise UsageError(f"--lr {rate:g} is out of range. Allowed: between 0 and 1.")
    if width < 2 or width % 2:
        raise UsageError(f"--width {width} is not possible. Allowed: even numbers from 2.")
    return Recipe(
        width=width,
        steps=Recipe.steps if steps is None else steps,
        batch=batch,
        learning_rate=rate,
        schedule=schedule,
        patch_width=int(sides[1]),
        patch_height=int(sides[2]),
        stride=stride,
        split=split,
        validation_pictures=pictures,
        validate_every=validate,
        seed=seed,
        start=f"{start.name} {start.digest()}" if start else "",
    )


def _with_epochs(recipe: "Recipe", labels: "Labels", epochs: int) -> "Recipe":
    """The recipe with the steps that see every patch so many times."""
    from dataclasses import replace

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
