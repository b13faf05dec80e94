"""Recipes -> the trainings of ``kcompress train``, ready to run."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress.cli import output
from kcompress.cli.train_options import TASKS, refuse_others
from kcompress.errors import UsageError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from kcompress.inference.weights import Weights
    from kcompress.training.classifier_recipe import ClassifierRecipe
    from kcompress.training.feedback.recipe import FeedbackRecipe
    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import Labels
    from kcompress.training.minnen.recipe import MinnenRecipe
    from kcompress.training.npp.recipe import NppRecipe
    from kcompress.training.photographs import PhotoTraining
    from kcompress.training.rdo.recipe import RdoRecipe
    from kcompress.training.recipe import Recipe
    from kcompress.training.simulator.recipe import SimulatorRecipe


@dataclass(frozen=True)
class Asked:
    """Request of the user.

    Attributes:
        network: to train.
        source: labels or photographs.
        device: as typed.
        jobs: processes.
        given: options that were given, by name (``--lr``).
    """

    network: str
    source: Path
    device: str
    jobs: int
    given: Mapping[str, Any]

    def recipe(self, **known: Any) -> Any:
        """The recipe of these options; `TaskOptions.recipe_of` tells more."""
        return TASKS[self.network].recipe_of(self.given, **known)


Ready = tuple["Training | PhotoTraining", str, bool]
"""A training, the name of its weights, and whether this process is the one that speaks."""


def build(asked: Asked) -> Ready:
    """The training that is asked for.

    Raises:
        UsageError: an unknown network, an option that it does not have, or a value that is not possible.
    """
    refuse_others(asked.network, asked.given)
    return _BUILDERS[asked.network](asked)


def _kuchen(asked: Asked) -> Ready:
    from kcompress.training.kuchen import Training
    from kcompress.training.labelled import opened

    begun = _begun(asked, "kuchen")
    recipe: Recipe = asked.recipe(**_start(begun))
    labels = opened(asked.source, asked.given.get("--dataset"), asked.given.get("--codec"))
    if "--epochs" in asked.given:
        recipe = _with_epochs(recipe, labels, asked.given["--epochs"])
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
    from kcompress.training.rdo.training import RdoTraining

    if asked.given.get("--codec", "jpeg") != "jpeg":
        raise UsageError(f"--codec {asked.given['--codec']}: rdo is trained for jpeg alone. Leave --codec out.")
    _alone_on_the_cpu("rdo", asked.device)
    begun = _begun(asked, "rdo")
    recipe: RdoRecipe = asked.recipe(**_start(begun))
    return RdoTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs, start=begun), "rdo-jpeg", True


def _feedback(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.metrics import METRICS
    from kcompress.training.feedback.recipe import RANGES
    from kcompress.training.feedback.training import FeedbackTraining

    recipe: FeedbackRecipe = asked.recipe(**_codec(asked, "feedback", RANGES))
    for name in recipe.objective:
        least = METRICS[name].smallest_side
        if recipe.side < least:
            raise UsageError(
                f"--patch {recipe.side}x{recipe.side} is too small for {name}, which needs {least} pixels a side. "
                "Give a larger one, or another --quality-metric."
            )
    return FeedbackTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs), f"feedback-{recipe.codec}", True


def _simulator(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.simulator.recipe import RANGES
    from kcompress.training.simulator.training import SimulatorTraining

    codec, begun = _codec(asked, "simulator", RANGES), _begun(asked, "simulator")
    recipe: SimulatorRecipe = asked.recipe(**codec, **_start(begun))
    training = SimulatorTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs, start=begun)
    return training, f"simulator-{recipe.codec}", True


def _minnen(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.minnen.training import MinnenTraining
    from kcompress.training.simulator.recipe import RANGES

    recipe: MinnenRecipe = asked.recipe(**_codec(asked, "minnen", RANGES))
    return MinnenTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs), f"minnen-{recipe.codec}", True


def _classifier(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.classifier import ClassifierTraining

    _alone_on_the_cpu("classifier", asked.device)
    recipe: ClassifierRecipe = asked.recipe()
    training = ClassifierTraining(DataSet(str(asked.source)), recipe, Path(), asked.jobs)
    return training, f"classifier-{recipe.architecture}", True


def _npp(asked: Asked) -> Ready:
    from kcompress.codecs import CODECS
    from kcompress.dataset import DataSet
    from kcompress.machine.folders import class_folders
    from kcompress.machine.models import open_model
    from kcompress.machine.tasks import task
    from kcompress.proxies.choice import load_proxy
    from kcompress.training.npp.recipe import RANGES
    from kcompress.training.npp.training import NppTraining

    device, given = _place("npp", asked.device), asked.given
    if "--model" not in given:
        raise UsageError("--network npp needs --model. Give the model that the pictures are for.")
    photos, codec, labelled = DataSet(str(asked.source)), given.get("--codec", "bpg"), "--labels" in given
    model = open_model(given["--model"], device)
    if not model.trainable:
        raise UsageError(f"--model {given['--model']} has no gradients. Give a .pt2 or TorchScript file of it.")
    classes = len(class_folders(photos.names())[0]) if labelled else None
    judge = task(given.get("--task", "classification"), model, classes)
    if model.size is not None and model.size[0] != model.size[1]:
        raise UsageError(
            f"--model {given['--model']} takes {model.size[1]}x{model.size[0]} pixels; npp is trained on squares. "
            "Give it a square :size."
        )
    proxy = load_proxy(given.get("--proxy", "simulator"), codec, device)
    finest, coarsest = RANGES[codec]
    recipe: NppRecipe = asked.recipe(
        task=judge.name, model=f"{model.name} {model.digest}", labelled=labelled, codec=codec, finest=finest,
        coarsest=coarsest, fixed=(finest + coarsest) // 2, proxy=proxy.about,
        **({} if model.size is None else {"side": model.size[0]}),
    )  # fmt: skip
    for quality in (recipe.finest, recipe.fixed, recipe.coarsest):
        CODECS[codec].setting(quality, None, recipe.effort)
    training = NppTraining(photos, recipe, Path(), asked.jobs, device, task=judge, proxy=proxy)
    return training, f"npp-{judge.name}", True


_BUILDERS = {
    "kuchen": _kuchen, "rdo": _rdo, "feedback": _feedback, "simulator": _simulator, "minnen": _minnen,
    "classifier": _classifier, "npp": _npp,
}  # fmt: skip


def _codec(asked: Asked, network: str, ranges: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Codec that is learned from, and its range of qualities.

    Raises:
        UsageError: none is given, or one that the network is not trained for.
    """
    codec = asked.given.get("--codec")
    if codec is None:
        raise UsageError(f"--network {network} needs --codec. Give one of {', '.join(ranges)}.")
    if codec not in ranges:
        raise UsageError(f"--codec {codec}: {network} is trained for {', '.join(ranges)} alone. Give one of them.")
    _alone_on_the_cpu(network, asked.device)
    return {"codec": codec, "lowest": ranges[codec][0], "highest": ranges[codec][1]}


def _begun(asked: Asked, network: str) -> "Weights | None":
    """Weights to start from."""
    from kcompress.inference.weights import open_weights

    return open_weights(asked.given["--start"], network) if "--start" in asked.given else None


def _start(begun: "Weights | None") -> dict[str, str]:
    """Field of the recipe that names them."""
    return {} if begun is None else {"start": f"{begun.name} {begun.digest()}"}


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
