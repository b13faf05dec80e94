"""Recipes -> the tasks that ``kcompress train`` hands to the trainer."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kcompress.cli import output
from kcompress.cli.train_options import TASKS, differentiable
from kcompress.errors import UsageError

if TYPE_CHECKING:
    from kcompress.dataset import DataSet
    from kcompress.inference.weights import Weights
    from kcompress.machine.tasks import Task as MachineTask
    from kcompress.training.task import Task
    from kcompress.training.tasks.artefacts.recipe import ArtefactsRecipe
    from kcompress.training.tasks.blend.recipe import BlendRecipe
    from kcompress.training.tasks.classifier.recipe import ClassifierRecipe
    from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
    from kcompress.training.tasks.kuchen.labelled import Labels
    from kcompress.training.tasks.kuchen.recipe import KuchenRecipe
    from kcompress.training.tasks.npp.recipe import NppRecipe
    from kcompress.training.tasks.proxies.recipe import MinnenRecipe, SimulatorRecipe
    from kcompress.training.tasks.rdo.recipe import RdoRecipe
    from kcompress.training.tasks.tables.recipe import TablesRecipe
    from kcompress.training.tasks.tables.search import TableSearch

Ready = tuple["Task[Any, Any, Any] | TableSearch", str]
"""A task, or the search for tables, and the name of what it writes."""


@dataclass(frozen=True)
class Asked:
    """Request of the user.

    Attributes:
        network: to train.
        source: labels or photographs.
        jobs: processes that prepare.
        given: options that were given, by name (``--lr``).
        device: that the training runs on, ``cpu`` or ``cuda:N``.
        speaks: whether this process is the one that tells of what it does.
    """

    network: str
    source: Path
    jobs: int
    given: Mapping[str, Any]
    device: str
    speaks: bool

    @property
    def photos(self) -> "DataSet":
        """The source as photographs."""
        from kcompress.dataset import DataSet

        return DataSet(str(self.source))

    def recipe(self, **known: Any) -> Any:
        """The recipe of these options; `TaskOptions.recipe_of` tells more."""
        return TASKS[self.network].recipe_of(self.given, **known)

    def start(self) -> "tuple[Weights | None, dict[str, str]]":
        """Weights to start from, and the field of the recipe that names them."""
        if "--start" not in self.given:
            return None, {}
        from kcompress.inference.weights import open_weights

        weights = open_weights(Path(self.given["--start"]), self.network)
        return weights, {"start": f"{weights.name} {weights.digest()}"}


def build(asked: Asked) -> Ready:
    """The task that is asked for.

    Raises:
        KcompressError: the value of an option is not possible, or a file that it names.
    """
    builders = {
        "kuchen": _kuchen, "blend": _blend, "rdo": _rdo, "feedback": _feedback, "simulator": _simulator,
        "minnen": _minnen, "classifier": _classifier, "npp": _npp, "tables": _tables, "artefacts": _artefacts,
    }  # fmt: skip
    return builders[asked.network](asked)


def _kuchen(asked: Asked) -> Ready:
    from kcompress.training.tasks.kuchen.labelled import opened
    from kcompress.training.tasks.kuchen.task import KuchenTask

    weights, start = asked.start()
    recipe: KuchenRecipe = asked.recipe(**start)
    labels = opened(asked.source, asked.given.get("--dataset"), asked.given.get("--codec"))
    if "--epochs" in asked.given:
        recipe = _with_epochs(recipe, labels, asked.given["--epochs"])
    if asked.speaks:
        kept, held_out = labels.split(recipe.split)
        output.say(
            f"{len(kept)} labels to train on, {len(held_out)} held out; {labels.codec} {labels.quality}, "
            f"{labels.metric} decided; on {asked.device}"
        )
    return KuchenTask(labels, recipe, weights), f"kuchen-{labels.codec}"


def _blend(asked: Asked) -> Ready:
    from kcompress.training.tasks.blend.recipe import RANGES
    from kcompress.training.tasks.blend.task import BlendTask

    weights, start = asked.start()
    recipe: BlendRecipe = asked.recipe(**_codec(asked, RANGES), **start)
    _check_side(recipe.side, recipe.objective)
    if recipe.through == "exact":
        _check_twin(recipe.codec, "labels")
        allowed = list(differentiable())
        if odd := [metric for metric in recipe.objective if metric not in allowed]:
            message = f"--quality-metric {odd[0]} cannot be followed --through exact. Allowed: {', '.join(allowed)}."
            raise UsageError(message)
    return BlendTask(asked.photos, recipe, asked.jobs, weights), f"blend-{recipe.codec}"


def _rdo(asked: Asked) -> Ready:
    from kcompress.training.tasks.rdo.task import RdoTask

    if asked.given.get("--codec", "jpeg") != "jpeg":
        raise UsageError(f"--codec {asked.given['--codec']}: rdo is trained for jpeg alone. Leave --codec out.")
    weights, start = asked.start()
    recipe: RdoRecipe = asked.recipe(**start)
    _check_side(recipe.side, recipe.objective)
    return RdoTask(asked.photos, recipe, asked.jobs, weights, asked.device), "rdo-jpeg"


def _feedback(asked: Asked) -> Ready:
    from kcompress.training.tasks.feedback.recipe import RANGES
    from kcompress.training.tasks.feedback.task import FeedbackTask

    codec = _codec(asked, RANGES)
    weights, start = asked.start()
    recipe: FeedbackRecipe = asked.recipe(sharp_chroma=codec["codec"] == "webp", **codec, **start)
    _check_side(recipe.side, recipe.objective)
    return FeedbackTask(asked.photos, recipe, asked.jobs, weights), f"feedback-{recipe.codec}"


def _artefacts(asked: Asked) -> Ready:
    from kcompress.codecs import CODECS
    from kcompress.proxies.choice import load_proxy
    from kcompress.training.tasks.artefacts.recipe import RANGES, START
    from kcompress.training.tasks.artefacts.task import ArtefactsTask

    known, given = _codec(asked, RANGES), asked.given
    codec = known["codec"]
    height, power = START[codec]
    weights, start = asked.start()
    recipe: ArtefactsRecipe = asked.recipe(height=height, power=power, **known, **start)
    _check_side(recipe.side, recipe.objective)
    CODECS[codec].setting(recipe.lowest, None, recipe.effort)
    if recipe.through != "exact":
        proxy = load_proxy(given.get("--proxy", "simulator"), codec, asked.device)
        return ArtefactsTask(
            asked.photos, replace(recipe, proxy=proxy.about), asked.jobs, weights, proxy=proxy
        ), f"artefacts-{codec}"
    _check_twin(codec, "simulator or real")
    if "--proxy" in given:
        raise UsageError(f"--proxy {given['--proxy']} has no meaning with --through exact. Leave one out.")
    return ArtefactsTask(
        asked.photos, replace(recipe, proxy="exact"), asked.jobs, weights, proxy=None
    ), "artefacts-jpeg"


def _check_twin(codec: str, instead: str) -> None:
    if codec != "jpeg":
        raise UsageError(f"--through exact: only jpeg has an exact twin, not {codec}. Take {instead}.")


def _check_side(side: int, objective: Iterable[str]) -> None:
    """Refuse patches that are smaller than a metric of the objective needs.

    Raises:
        UsageError: they are.
    """
    from kcompress.metrics import METRICS

    for name in objective:
        least = METRICS[name].smallest_side
        if side < least:
            raise UsageError(
                f"--patch {side}x{side} is too small for {name}, which needs {least} pixels a side. "
                "Give a larger one, or another --quality-metric."
            )


def _simulator(asked: Asked) -> Ready:
    from kcompress.training.tasks.proxies.recipe import RANGES
    from kcompress.training.tasks.proxies.simulator import SimulatorTask

    codec = _codec(asked, RANGES)
    weights, start = asked.start()
    recipe: SimulatorRecipe = asked.recipe(**codec, **start)
    return SimulatorTask(asked.photos, recipe, asked.jobs, weights), f"simulator-{recipe.codec}"


def _minnen(asked: Asked) -> Ready:
    from kcompress.training.tasks.proxies.minnen import MinnenTask
    from kcompress.training.tasks.proxies.recipe import RANGES

    recipe: MinnenRecipe = asked.recipe(**_codec(asked, RANGES))
    return MinnenTask(asked.photos, recipe, asked.jobs), f"minnen-{recipe.codec}"


def _classifier(asked: Asked) -> Ready:
    from kcompress.training.tasks.classifier.task import ClassifierTask

    recipe: ClassifierRecipe = asked.recipe()
    return ClassifierTask(asked.photos, recipe, asked.jobs), f"classifier-{recipe.architecture}"


def _npp(asked: Asked) -> Ready:
    from kcompress.codecs import CODECS
    from kcompress.proxies.choice import load_proxy
    from kcompress.training.tasks.npp.recipe import RANGES
    from kcompress.training.tasks.npp.task import NppTask

    given = asked.given
    codec = given.get("--codec", "bpg")
    judges = _judges(asked)
    models = [judge.model for judge in judges]
    sides = [model.size[0] for model in models if model.size is not None]
    proxy = load_proxy(given.get("--proxy", "simulator"), codec, asked.device)
    finest, coarsest = RANGES[codec]
    weights, start = asked.start()
    recipe: NppRecipe = asked.recipe(
        task=judges[0].name, model=", ".join(f"{model.name} {model.digest}" for model in models),
        labelled="--labels" in given, codec=codec, finest=finest, coarsest=coarsest, fixed=(finest + coarsest) // 2,
        proxy=proxy.about, **({"side": max(sides)} if sides else {}), **start,
    )  # fmt: skip
    for quality in (recipe.finest, recipe.fixed, recipe.coarsest):
        CODECS[codec].setting(quality, None, recipe.effort)
    recipe = replace(recipe, sampled=recipe.values == "proxy" and proxy.draws)
    return NppTask(asked.photos, recipe, asked.jobs, weights, judges=judges, proxy=proxy), f"npp-{recipe.task}"


def _judges(asked: Asked) -> "tuple[MachineTask, ...]":
    """The frozen models that npp is trained for, each with its task.

    Raises:
        KcompressError: there is none, or one that nothing can be learned from, or that does not fit task or labels.
    """
    from kcompress.machine.folders import class_folders
    from kcompress.machine.models import open_model
    from kcompress.machine.tasks import task

    given = asked.given
    if not given.get("--model"):
        raise UsageError("--network npp needs --model. Give the model that the pictures are for.")
    name, labelled = given.get("--task", "classification"), "--labels" in given
    if labelled and name != "classification":
        raise UsageError(f"the task {name} has no --labels. Leave them out.")
    classes = range(len(class_folders(asked.photos.names())[0])) if labelled else None
    found = []
    for spec in given["--model"]:
        model = open_model(spec, asked.device)
        if not model.trainable:
            raise UsageError(f"--model {spec} has no gradients. Give a .pt2, TorchScript or .tflite file of it.")
        if model.size is not None and model.size[0] != model.size[1]:
            raise UsageError(
                f"--model {spec} takes {model.size[1]}x{model.size[0]} pixels; npp is trained on squares. "
                "Give it a square :size."
            )
        judge = task(name, model, classes)
        if not judge.trainable:
            raise UsageError(
                f"--model {spec} gives boxes after suppression, from which nothing can be learned. "
                "Give a detector that gives all its places."
            )
        found.append(judge)
    return tuple(found)


def _tables(asked: Asked) -> Ready:
    from kcompress.codecs.quantisation import of_card
    from kcompress.dataset import digest
    from kcompress.inference import weights as weight_files
    from kcompress.networks.loading import shipped_weights
    from kcompress.training.log_tables import mean_of_known
    from kcompress.training.tasks.tables.search import TableSearch

    given = asked.given
    if given.get("--codec", "jpeg") != "jpeg":
        raise UsageError(f"--codec {given['--codec']}: only jpeg has such tables. Leave --codec out.")
    start = str(given.get("--start", "learned"))
    file = weight_files.folder() / "tables-jpeg.json" if start == "learned" else Path(start)
    tables = mean_of_known() if start == "mean" else of_card(file)
    behind = given.get("--behind")
    rdo = None
    if behind != "none":
        rdo = weight_files.open_weights(Path(behind) if behind else shipped_weights("rdo", "jpeg"), "rdo")
    recipe: TablesRecipe = asked.recipe(
        start=start if start == "mean" else f"{file.stem} {digest(file.read_bytes())}",
        behind="none" if rdo is None else f"{rdo.name} {rdo.digest()}",
    )
    _check_side(recipe.side, recipe.objective)
    search = TableSearch(
        asked.photos, recipe, Path(), tables, rdo.path if rdo else None, asked.device, asked.jobs,
    )  # fmt: skip
    return search, "tables-jpeg"


def _codec(asked: Asked, ranges: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Codec that is learned from, and its range of qualities.

    Raises:
        UsageError: none is given, or one that the network is not trained for.
    """
    codec = asked.given.get("--codec")
    if codec is None:
        raise UsageError(f"--network {asked.network} needs --codec. Give one of {', '.join(ranges)}.")
    if codec not in ranges:
        raise UsageError(
            f"--codec {codec}: {asked.network} is trained for {', '.join(ranges)} alone. Give one of them."
        )
    return {"codec": codec, "lowest": ranges[codec][0], "highest": ranges[codec][1]}


def _with_epochs(recipe: "KuchenRecipe", labels: "Labels", epochs: int) -> "KuchenRecipe":
    """The recipe with the steps that see every patch so many times."""
    from kcompress.patches import Patches

    patches = Patches(recipe.patch_width, recipe.patch_height, recipe.stride)
    kept, _ = labels.split(recipe.split)
    count = sum(len(patches.corners(row.width, row.height)) for row in kept)
    return replace(recipe, steps=max(1, count // recipe.batch) * epochs)
