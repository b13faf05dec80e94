"""What ``kcompress train`` can train: a function each from the options to a training that is ready to run."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kcompress.cli import options, output
from kcompress.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from kcompress.inference.weights import Weights
    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import Labels
    from kcompress.training.photographs import PhotoTraining
    from kcompress.training.recipe import Recipe

RecipeT = TypeVar("RecipeT", bound=Any)

_FIELDS = {
    "--steps": "steps", "--batch": "batch", "--lr": "learning_rate", "--split": "split", "--width": "width",
    "--validate": "validate_every", "--pictures": "validation_pictures", "--seed": "seed",
}  # fmt: skip
"""Options that go into every recipe as they are."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for.

    Attributes:
        source: labels or photographs.
        device: as typed.
        jobs: processes.
        options: by their names; None where one is not given.
    """

    source: Path
    device: str
    jobs: int
    options: Mapping[str, Any]

    def __getitem__(self, option: str) -> Any:
        return self.options[option]

    def refuse_all_but(self, allowed: set[str], network: str) -> None:
        """Refuse options of other networks.

        Raises:
            UsageError: one is given.
        """
        for option, value in self.options.items():
            if value is not None and option not in allowed and option not in _FIELDS:
                raise UsageError(f"{option} has no meaning for --network {network}. Leave it out.")

    def fields(self) -> dict[str, Any]:
        """Of the recipe: those that every recipe has, where they are given.

        Raises:
            UsageError: one is out of its range.
        """
        for option in ("--lr", "--split"):
            value = self[option]
            if value is not None and not 0 < value < 1:
                raise UsageError(f"{option} {value:g} is out of range. Allowed: between 0 and 1.")
        width = self["--width"]
        if width is not None and (width < 2 or width % 2):
            raise UsageError(f"--width {width} is not possible. Allowed: even numbers from 2.")
        return {name: self[option] for option, name in _FIELDS.items() if self[option] is not None}

    def size(self) -> tuple[int, int] | None:
        """Width and height of ``--patch``.

        Raises:
            UsageError: it is no size.
        """
        patch = self["--patch"]
        if patch is None:
            return None
        sides = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", patch)
        if sides is None:
            raise UsageError(f"--patch {patch} is no size. Give width and height, such as 320x180.")
        return int(sides[1]), int(sides[2])

    def square(self, network: str, least: int, multiple: int = 1) -> dict[str, int]:
        """``side`` of a recipe whose patches are squares, where ``--patch`` is given.

        Raises:
            UsageError: it is no square, or not of such a size.
        """
        size = self.size()
        if size is None:
            return {}
        if size[0] != size[1] or size[0] % multiple or size[0] < least:
            allowed = f"a multiple of {multiple} pixels" if multiple > 1 else f"at least {least} pixels"
            raise UsageError(f"--patch {size[0]}x{size[1]}: {network} takes squares of {allowed}.")
        return {"side": size[0]}


Ready = tuple["Training | PhotoTraining", str, bool]
"""A training, the name of its weights, and whether this process is the one that speaks."""


@dataclass(frozen=True)
class Prepare:
    """One kind of training.

    Attributes:
        build: it.
        options: that it has beside those of all.
    """

    build: Callable[[Asked], Ready]
    options: set[str] = field(default_factory=set)


def _kuchen(asked: Asked) -> Ready:
    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import opened
    from kcompress.training.recipe import SCHEDULES, Recipe

    given, schedule, size = asked.fields(), asked["--schedule"], asked.size()
    if schedule is not None:
        if schedule not in SCHEDULES:
            raise UsageError(f"--schedule {schedule} is not known. Allowed: {', '.join(SCHEDULES)}.")
        given["schedule"] = schedule
    begun = _begun(asked["--start"], "kuchen", given)
    if size is not None:
        given |= {"patch_width": size[0], "patch_height": size[1]}
    if asked["--stride"] is not None:
        given["stride"] = asked["--stride"]
    recipe = Recipe(**given)
    labels = opened(asked.source, asked["--dataset"], asked["--codec"])
    if asked["--epochs"] is not None:
        recipe = _with_epochs(recipe, labels, asked["--epochs"])
    training = Training(labels, recipe, Path(), _accelerator(asked.device), begun)
    main = training.accelerator.is_main_process
    if main:
        kept, held_out = labels.split(recipe.split)
        output.say(
            f"{len(kept)} labels to train on, {len(held_out)} held out; {labels.codec} {labels.quality}, "
            f"{labels.metric} decided; on {training.accelerator.device}"
        )
    return training, f"kuchen-{labels.codec}", main


def _rdo(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.metrics.differentiable import SCORES
    from kcompress.training.rdo.recipe import RdoRecipe
    from kcompress.training.rdo.training import RdoTraining

    if asked["--codec"] not in (None, "jpeg"):
        raise UsageError(f"--codec {asked['--codec']}: rdo is trained for jpeg alone. Leave --codec out.")
    _alone_on_the_cpu("rdo", asked.device)
    given = asked.fields() | asked.square("rdo", 16, 16)
    if asked["--quality-metric"] is not None:
        given["objective"] = _objective(asked["--quality-metric"], list(SCORES))
    if asked["--mozjpeg"] is not None:
        given["mozjpeg"] = asked["--mozjpeg"]
    begun = _begun(asked["--start"], "rdo", given)
    recipe = RdoRecipe(**given)
    recipe = _warmed(recipe)
    return RdoTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs, start=begun), "rdo-jpeg", True


def _feedback(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.metrics import METRICS
    from kcompress.training.feedback.recipe import RANGES, FeedbackRecipe
    from kcompress.training.feedback.training import FeedbackTraining

    codec = _codec(asked, "feedback", RANGES)
    given = asked.fields() | asked.square("feedback", 64)
    if asked["--width"] is not None:
        raise UsageError("--width has no meaning for --network feedback. Leave it out.")
    if asked["--quality-metric"] is not None:
        known = [name for name, metric in METRICS.items() if metric.reference]
        given["objective"] = _objective(asked["--quality-metric"], known)
    recipe = FeedbackRecipe(codec, *RANGES[codec], **given)
    for name in recipe.objective:
        least = METRICS[name].smallest_side
        if recipe.side < least:
            raise UsageError(
                f"--patch {recipe.side}x{recipe.side} is too small for {name}, which needs {least} pixels a side. "
                "Give a larger one, or another --quality-metric."
            )
    recipe = _warmed(recipe)
    return FeedbackTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs), f"feedback-{codec}", True


def _simulator(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.simulator.recipe import RANGES, SimulatorRecipe
    from kcompress.training.simulator.training import SimulatorTraining

    codec = _codec(asked, "simulator", RANGES)
    given = asked.fields() | asked.square("a simulator", 16)
    begun = _begun(asked["--start"], "simulator", given)
    recipe = SimulatorRecipe(codec, *RANGES[codec], **given)
    recipe = _warmed(recipe)
    training = SimulatorTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs, start=begun)
    return training, f"simulator-{codec}", True


def _minnen(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.minnen.recipe import MinnenRecipe
    from kcompress.training.minnen.training import MinnenTraining
    from kcompress.training.simulator.recipe import RANGES

    codec = _codec(asked, "minnen", RANGES)
    recipe = MinnenRecipe(codec, *RANGES[codec], **(asked.fields() | asked.square("minnen", 16)))
    recipe = _warmed(recipe)
    return MinnenTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs), f"minnen-{codec}", True


def _classifier(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.machine.classifiers import ARCHITECTURES
    from kcompress.training.classifier import ClassifierRecipe, ClassifierTraining

    _alone_on_the_cpu("classifier", asked.device)
    given, architecture = asked.fields() | asked.square("a classifier", 32), asked["--architecture"]
    if architecture is not None:
        if architecture not in ARCHITECTURES:
            raise UsageError(f"--architecture {architecture} is not known. Allowed: {', '.join(ARCHITECTURES)}.")
        given["architecture"] = architecture
    recipe = ClassifierRecipe(**given)
    recipe = _warmed(recipe)
    training = ClassifierTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs)
    return training, f"classifier-{recipe.architecture}", True


def _npp(asked: Asked) -> Ready:
    from kcompress.codecs import CODECS
    from kcompress.dataset import DataSet
    from kcompress.machine.folders import class_folders
    from kcompress.machine.models import opened
    from kcompress.machine.tasks import task
    from kcompress.proxies.choice import chosen_proxy
    from kcompress.training.npp.recipe import RANGES, VALUES, NppRecipe
    from kcompress.training.npp.training import NppTraining

    device = _place("npp", asked.device)
    if asked["--model"] is None:
        raise UsageError("--network npp needs --model. Give the model that the pictures are for.")
    photos, codec = DataSet(str(asked.source)), asked["--codec"] or "bpg"
    labelled = bool(asked["--labels"])
    model = opened(asked["--model"], device)
    if not model.trainable:
        raise UsageError(f"--model {asked['--model']} has no gradients. Give a .pt2 or TorchScript file of it.")
    judge = task(
        asked["--task"] or "classification", model, len(class_folders(photos.names())[0]) if labelled else None
    )
    given = asked.fields() | asked.square("npp", 32)
    given |= {"adaptive_steps": given.pop("steps")} if "steps" in given else {}
    if model.size is not None:
        if model.size[0] != model.size[1]:
            raise UsageError(f"--model {asked['--model']} takes {model.size[1]}x{model.size[0]} pixels; npp is trained "
                             "on squares. Give it a square :size.")  # fmt: skip
        given.setdefault("side", model.size[0])
    finest, fixed, coarsest, alone = _range(asked["--qualities"], *_three(RANGES[codec]))
    for quality in (finest, fixed, coarsest):
        CODECS[codec].setting(quality, None, asked["--effort"])
    if alone:
        given["adaptive_steps"] = 0
    if asked["--lambda"] is not None:
        given["finest_weight"], given["coarsest_weight"] = _weights(asked["--lambda"])
    if asked["--forward"] is not None:
        if asked["--forward"] not in VALUES:
            raise UsageError(f"--forward {asked['--forward']} is not known. Allowed: {', '.join(VALUES)}.")
        given["values"] = asked["--forward"]
    for option, name in (("--fixed-steps", "fixed_steps"), ("--beta", "closeness"), ("--effort", "effort")):
        if asked[option] is not None:
            given[name] = asked[option]
    proxy = chosen_proxy(asked["--proxy"] or "simulator", codec, device)
    recipe = NppRecipe(
        judge.name, f"{model.name} {model.digest}", labelled, codec, finest, coarsest, fixed, proxy=proxy.about, **given
    )
    recipe = _warmed(recipe)
    return NppTraining(photos, recipe, Path(), asked.jobs, device, task=judge, proxy=proxy), f"npp-{judge.name}", True


_PHOTOS = {"--codec", "--patch", "--jobs"}

TRAININGS = {
    "kuchen": Prepare(_kuchen, {"--codec", "--dataset", "--epochs", "--schedule", "--start", "--patch", "--stride"}),
    "rdo": Prepare(_rdo, _PHOTOS | {"--quality-metric", "--start", "--mozjpeg"}),
    "feedback": Prepare(_feedback, _PHOTOS | {"--quality-metric"}),
    "simulator": Prepare(_simulator, _PHOTOS | {"--start"}),
    "minnen": Prepare(_minnen, _PHOTOS),
    "classifier": Prepare(_classifier, {"--patch", "--jobs", "--architecture"}),
    "npp": Prepare(
        _npp,
        _PHOTOS | {"--task", "--model", "--labels", "--proxy", "--forward", "--fixed-steps", "--qualities", "--lambda",
                   "--beta", "--effort"},
    ),
}  # fmt: skip
"""By the name that ``--network`` takes."""


def _warmed(recipe: RecipeT) -> RecipeT:
    """With a warm-up of at most a tenth of the steps."""
    shorter: RecipeT = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10))
    return shorter


def _codec(asked: Asked, network: str, known: Mapping[str, object]) -> str:
    """The codec that is learned from.

    Raises:
        UsageError: none is given, or one that it is not trained for.
    """
    if asked["--codec"] is None:
        raise UsageError(f"--network {network} needs --codec. Give one of {', '.join(known)}.")
    if asked["--codec"] not in known:
        raise UsageError(
            f"--codec {asked['--codec']}: {network} is trained for {', '.join(known)} alone. Give one of them."
        )
    _alone_on_the_cpu(network, asked.device)
    return str(asked["--codec"])


def _begun(start: Path | None, network: str, given: dict[str, Any]) -> "Weights | None":
    """Weights to start from, which the recipe remembers."""
    from kcompress.inference.weights import open_weights

    if start is None:
        return None
    begun = open_weights(start, network)
    given["start"] = f"{begun.name} {begun.digest()}"
    return begun


def _three(ends: tuple[int, int]) -> tuple[int, int, int]:
    """With the middle, rounded as the paper's 34 between 28 and 41."""
    return ends[0], (ends[0] + ends[1]) // 2, ends[1]


def _range(text: str | None, *default: int) -> tuple[int, int, int, bool]:
    """Finest, fixed and coarsest quality, and whether it is one alone."""
    if text is None:
        return default[0], default[1], default[2], False
    found = re.fullmatch(r"(\d{1,3})(?::(\d{1,3}):(\d{1,3}))?", text)
    if found is None:
        raise UsageError(f"--qualities {text} is not understood. Give one, or three such as 28:34:41.")
    first = int(found[1])
    if found[2] is None:
        return first, first, first, True
    middle, last = int(found[2]), int(found[3])
    if not (first < middle < last or first > middle > last):
        raise UsageError(f"--qualities {text}: the second lies between the others. Give such as 28:34:41.")
    return first, middle, last, False


def _weights(text: str) -> tuple[float, float]:
    number = r"(\d*\.?\d+)"
    found = re.fullmatch(f"{number}(?::{number})?", text)
    if found is None or not all(float(part) for part in found.groups() if part):
        raise UsageError(f"--lambda {text} is not understood. Give one number above 0, or two such as 0.5:8.")
    return float(found[1]), float(found[2] or found[1])


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


def _alone_on_the_cpu(network: str, device: str) -> None:
    """Refuse what only the training from labels can use.

    Raises:
        UsageError: another device, or several processes.
    """
    from kcompress.inference.engine import resolve_device

    if resolve_device(device) != "cpu" and device != "auto":
        raise UsageError(f"--device {device}: {network} is trained on the CPU alone. Leave --device out.")
    _place(network, "cpu")


def _place(network: str, device: str) -> str:
    """The device, ``cpu`` or ``cuda:N``, of a training that one process does.

    Raises:
        UsageError: no such device, or several processes.
    """
    from kcompress.inference.engine import resolve_device

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(f"--network {network} is trained by one process. Start it without accelerate or torchrun.")
    return resolve_device(device)


def _with_epochs(recipe: "Recipe", labels: "Labels", epochs: int) -> "Recipe":
    """The recipe with the steps that see every patch so many times."""
    from kcompress.patches import Patches

    patches = Patches(recipe.patch_width, recipe.patch_height, recipe.stride)
    kept, _ = labels.split(recipe.split)
    count = sum(len(patches.corners(row.width, row.height)) for row in kept)
    return replace(recipe, steps=max(1, count // recipe.batch) * epochs)


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
