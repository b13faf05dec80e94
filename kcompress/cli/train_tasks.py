"""Recipes -> the trainings of ``kcompress train``, ready to run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress.cli.train_options import TASKS, refuse_others
from kcompress.errors import UsageError

if TYPE_CHECKING:
    from kcompress.inference.weights import Weights
    from kcompress.training.task import Task
    from kcompress.training.tasks.classifier.recipe import ClassifierRecipe
    from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
    from kcompress.training.tasks.kuchen.labelled import Labels
    from kcompress.training.tasks.kuchen.recipe import KuchenRecipe
    from kcompress.training.tasks.npp.recipe import NppRecipe
    from kcompress.training.tasks.proxies.recipe import MinnenRecipe, SimulatorRecipe
    from kcompress.training.tasks.rdo.recipe import RdoRecipe


@dataclass(frozen=True)
class Asked:
    """Request of the user.

    Attributes:
        network: to train.
        source: labels or photographs.
        device: of the training.
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


Ready = tuple["Task[Any, Any, Any]", str, str]
"""A task, the name of its weights, and what to say before it begins."""


def build(asked: Asked) -> Ready:
    """The task that is asked for.

    Raises:
        UsageError: an unknown network, an option that it does not have, or a value that is not possible.
    """
    refuse_others(asked.network, asked.given)
    return _BUILDERS[asked.network](asked)


def _kuchen(asked: Asked) -> Ready:
    from kcompress.training.tasks.kuchen.labelled import opened
    from kcompress.training.tasks.kuchen.task import KuchenTask

    begun = _begun(asked, "kuchen")
    recipe: KuchenRecipe = asked.recipe(**_start(begun))
    labels = opened(asked.source, asked.given.get("--dataset"), asked.given.get("--codec"))
    if "--epochs" in asked.given:
        recipe = _with_epochs(recipe, labels, asked.given["--epochs"])
    train, held_out = labels.split(recipe.split)
    note = (
        f"{len(train)} labels to train on, {len(held_out)} held out; {labels.codec} {labels.quality}, "
        f"{labels.metric} decided; on {asked.device}"
    )
    return KuchenTask(labels, recipe, begun), f"kuchen-{labels.codec}", note


def _rdo(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.tasks.rdo.task import RdoTask

    if asked.given.get("--codec", "jpeg") != "jpeg":
        raise UsageError(f"--codec {asked.given['--codec']}: rdo is trained for jpeg alone. Leave --codec out.")
    begun = _begun(asked, "rdo")
    recipe: RdoRecipe = asked.recipe(**_start(begun))
    return RdoTask(DataSet(str(asked.source)), recipe, asked.jobs, begun), "rdo-jpeg", ""


def _feedback(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.metrics import METRICS
    from kcompress.training.tasks.feedback.recipe import RANGES
    from kcompress.training.tasks.feedback.task import FeedbackTask

    recipe: FeedbackRecipe = asked.recipe(**_codec(asked, "feedback", RANGES))
    for name in recipe.objective:
        least = METRICS[name].smallest_side
        if recipe.side < least:
            raise UsageError(
                f"--patch {recipe.side}x{recipe.side} is too small for {name}, which needs {least} pixels a side. "
                "Give a larger one, or another --quality-metric."
            )
    return FeedbackTask(DataSet(str(asked.source)), recipe, asked.jobs), f"feedback-{recipe.codec}", ""


def _simulator(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.tasks.proxies.recipe import RANGES
    from kcompress.training.tasks.proxies.simulator import SimulatorTask

    codec, begun = _codec(asked, "simulator", RANGES), _begun(asked, "simulator")
    recipe: SimulatorRecipe = asked.recipe(**codec, **_start(begun))
    return SimulatorTask(DataSet(str(asked.source)), recipe, asked.jobs, begun), f"simulator-{recipe.codec}", ""


def _minnen(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.tasks.proxies.minnen import MinnenTask
    from kcompress.training.tasks.proxies.recipe import RANGES

    recipe: MinnenRecipe = asked.recipe(**_codec(asked, "minnen", RANGES))
    return MinnenTask(DataSet(str(asked.source)), recipe, asked.jobs), f"minnen-{recipe.codec}", ""


def _classifier(asked: Asked) -> Ready:
    from kcompress.dataset import DataSet
    from kcompress.training.tasks.classifier.task import ClassifierTask

    recipe: ClassifierRecipe = asked.recipe()
    task = ClassifierTask(DataSet(str(asked.source)), recipe, asked.jobs)
    return task, f"classifier-{recipe.architecture}", ""


def _npp(asked: Asked) -> Ready:
    from kcompress.codecs import CODECS
    from kcompress.dataset import DataSet
    from kcompress.machine.folders import class_folders
    from kcompress.machine.models import open_model
    from kcompress.machine.tasks import task
    from kcompress.proxies.choice import load_proxy
    from kcompress.training.tasks.npp.recipe import RANGES
    from kcompress.training.tasks.npp.task import NppTask

    device, given = asked.device, asked.given
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
    return NppTask(photos, recipe, asked.jobs, task=judge, proxy=proxy), f"npp-{judge.name}", ""


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
    return {"codec": codec, "lowest": ranges[codec][0], "highest": ranges[codec][1]}


def _begun(asked: Asked, network: str) -> "Weights | None":
    """Weights to start from."""
    from kcompress.inference.weights import open_weights

    return open_weights(asked.given["--start"], network) if "--start" in asked.given else None


def _start(begun: "Weights | None") -> dict[str, str]:
    """Field of the recipe that names them."""
    return {} if begun is None else {"start": f"{begun.name} {begun.digest()}"}


def _with_epochs(recipe: "KuchenRecipe", labels: "Labels", epochs: int) -> "KuchenRecipe":
    """The recipe with the steps that see every patch so many times."""
    from kcompress.patches import Patches

    patches = Patches(recipe.patch_width, recipe.patch_height, recipe.stride)
    kept, _ = labels.split(recipe.split)
    count = sum(len(patches.corners(row.width, row.height)) for row in kept)
    return replace(recipe, steps=max(1, count // recipe.batch) * epochs)
