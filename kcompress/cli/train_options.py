"""Options of ``kcompress train`` -> recipes: one table, from which help takes its defaults too."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, replace
from typing import Any

from kcompress.cli import options
from kcompress.errors import UsageError
from kcompress.training.tasks.artefacts.recipe import THROUGH, ArtefactsRecipe
from kcompress.training.tasks.blend import recipe as blend
from kcompress.training.tasks.classifier.recipe import ClassifierRecipe
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.tasks.kuchen.recipe import SCHEDULES, KuchenRecipe
from kcompress.training.tasks.npp.recipe import VALUES, NppRecipe
from kcompress.training.tasks.proxies.recipe import MinnenRecipe, SimulatorRecipe
from kcompress.training.tasks.rdo.recipe import RdoRecipe
from kcompress.training.tasks.tables.recipe import TablesRecipe


def _text(*values: Any) -> str:
    """Values of fields as an option takes them."""
    if isinstance(values[0], Mapping):
        return ",".join(f"{name}:{share:g}" for name, share in values[0].items())
    return ":".join(value if isinstance(value, str) else f"{value:g}" for value in values)


@dataclass(frozen=True)
class Field:
    """Fields of a recipe that one option sets.

    Attributes:
        names: the fields.
        parse: value of the option -> fields.
        text: values of the fields -> the option's value, for help.
    """

    names: tuple[str, ...]
    parse: Callable[[Any], Mapping[str, Any]]
    text: Callable[..., str] = _text


@dataclass(frozen=True)
class TaskOptions:
    """Options of one kind of training.

    Attributes:
        recipe: its dataclass.
        fields: options that set fields of the recipe.
        others: options that it takes besides.
    """

    recipe: type[Any]
    fields: Mapping[str, Field]
    others: frozenset[str]

    def recipe_of(self, given: Mapping[str, Any], **known: Any) -> Any:
        """The recipe; its warm-up takes at most a tenth of the steps.

        Args:
            given: options by name (``--lr``).
            known: fields by name, where no option sets them.

        Raises:
            UsageError: the value of an option is not possible.
        """
        for option, field in self.fields.items():
            if option in given:
                known |= field.parse(given[option])
        recipe = self.recipe(**known)
        if not recipe.warmup:
            return recipe
        return replace(recipe, warmup=min(recipe.warmup, recipe.steps // 10))

    def default(self, option: str) -> str | None:
        """Default of the recipe, as the option takes it; None without one."""
        if option not in self.fields:
            return None
        known = {field.name: field for field in fields(self.recipe)}
        found = [known[name] for name in self.fields[option].names]
        values = [one.default if one.default_factory is MISSING else one.default_factory() for one in found]
        return None if None in values or MISSING in values else self.fields[option].text(*values)


def refuse_others(network: str, given: Iterable[str]) -> None:
    """Refuse options that a training does not have.

    Raises:
        UsageError: one is given, or there is no such training.
    """
    if network not in TASKS:
        raise UsageError(f"--network {network} cannot be trained. Allowed: {', '.join(TASKS)}.")
    allowed = {*TASKS[network].fields, *TASKS[network].others}
    for option in given:
        if option not in allowed and any(option in task.fields or option in task.others for task in TASKS.values()):
            raise UsageError(f"{option} has no meaning for --network {network}. Leave it out.")


def default_help(option: str) -> str:
    """Defaults of an option for its help, such as ``[default: 20000; rdo 2000]``; the first is that of kuchen."""
    networks: dict[str, list[str]] = {}
    for network, task in TASKS.items():
        default = task.default(option)
        if default is not None:
            networks.setdefault(default, []).append(network)
    parts = [
        f"{'others' if len(names) == len(TASKS) - 1 else ', '.join(names)} {default}"
        for default, names in networks.items()
    ]
    if len(parts) == 1 or "kuchen" in next(iter(networks.values())):
        parts[0] = next(iter(networks))
    return f"[default: {'; '.join(parts)}]"


def _as(name: str) -> Field:
    return Field((name,), lambda value: {name: value})


def _share(option: str, name: str) -> Field:
    def parse(value: float) -> dict[str, float]:
        if not 0 < value < 1:
            raise UsageError(f"{option} {value:g} is out of range. Allowed: between 0 and 1.")
        return {name: value}

    return Field((name,), parse)


def _strength(value: float) -> dict[str, float]:
    if not 0 < value <= 1:
        raise UsageError(f"--strength {value:g} is out of range. Allowed: above 0, up to 1.")
    return {"strength": value}


def _width(value: int) -> dict[str, int]:
    if value < 2 or value % 2:
        raise UsageError(f"--width {value} is not possible. Allowed: even numbers from 2.")
    return {"width": value}


def _square(network: str, least: int, multiple: int = 1) -> dict[str, Field]:
    def parse(value: str) -> dict[str, int]:
        width, height = options.size("--patch", value)
        if width != height or width % multiple or width < least:
            bound = f"at least {least} pixels"
            allowed = f"a multiple of {multiple} pixels, {bound}" if multiple > 1 else bound
            raise UsageError(f"--patch {width}x{height}: {network} takes squares of {allowed}.")
        return {"side": width}

    return {"--patch": Field(("side",), parse, lambda side: f"{side}x{side}")}


def _rectangle(value: str) -> dict[str, int]:
    width, height = options.size("--patch", value)
    return {"patch_width": width, "patch_height": height}


def _one_of(option: str, name: str, allowed: Callable[[], Iterable[str]]) -> dict[str, Field]:
    return {option: Field((name,), lambda value: {name: options.one_of(option, value, allowed())})}


def _objective(allowed: Callable[[], Iterable[str]]) -> dict[str, Field]:
    option = "--quality-metric"
    return {option: Field(("objective",), lambda value: {"objective": options.shares(option, value, list(allowed()))})}


def _qualities(value: str) -> dict[str, int]:
    finest, fixed, coarsest = options.qualities("--qualities", value)
    alone = {"adaptive_steps": 0} if finest == coarsest else {}
    return {"finest": finest, "fixed": fixed, "coarsest": coarsest, **alone}


def _weights(value: str) -> dict[str, float]:
    return dict(zip(("finest_weight", "coarsest_weight"), options.one_or_two("--lambda", value), strict=True))


def _several(value: str) -> dict[str, tuple[int, ...]]:
    try:
        found = tuple(sorted({int(part) for part in value.split(":")}))
    except ValueError:
        found = ()
    if not found or not 1 <= found[0] <= found[-1] <= 99:
        raise UsageError(f"--qualities {value} is not possible. Allowed: whole numbers 1..99, as 25:45:65:80:92.")
    return {"qualities": found}


# Heavy modules, which help does without.
def differentiable() -> Iterable[str]:
    """Metrics that a training can follow through the codec."""
    from kcompress.metrics.differentiable import SCORES

    return SCORES


def _with_reference() -> Iterable[str]:
    from kcompress.metrics import METRICS

    return [name for name, metric in METRICS.items() if metric.reference]


def _metrics() -> Iterable[str]:
    from kcompress.metrics import METRICS

    return METRICS


def _architectures() -> Iterable[str]:
    from kcompress.machine.classifiers import ARCHITECTURES

    return ARCHITECTURES


_LESS = {
    "--steps": _as("steps"), "--batch": _as("batch"), "--lr": _share("--lr", "learning_rate"),
    "--split": _share("--split", "split"), "--validate": _as("validate_every"),
    "--pictures": _as("validation_pictures"), "--seed": _as("seed"),
}  # fmt: skip
_COMMON = {**_LESS, "--width": Field(("width",), _width)}
_PATCHES = {"--patches": _as("patches")}
_PHOTOS = frozenset({"--codec", "--jobs"})

TASKS = {
    "kuchen": TaskOptions(
        KuchenRecipe,
        {**_COMMON, **_one_of("--schedule", "schedule", lambda: SCHEDULES), "--stride": _as("stride"),
         "--patch": Field(("patch_width", "patch_height"), _rectangle, lambda width, height: f"{width}x{height}"),
         "--strength": Field(("strength",), _strength)},
        frozenset({"--codec", "--dataset", "--epochs", "--start"}),
    ),
    "blend": TaskOptions(
        blend.BlendRecipe,
        {**_COMMON, **_PATCHES, **_square("blend", 64, 8), **_objective(_metrics), "--noisy": _as("noisy"),
         **_one_of("--through", "through", lambda: blend.THROUGH)},
        _PHOTOS | {"--start"},
    ),
    "rdo": TaskOptions(
        RdoRecipe,
        {**_COMMON, **_PATCHES, **_square("rdo", 16, 16), **_objective(differentiable), "--mozjpeg": _as("mozjpeg"),
         **_one_of("--tables", "tables", lambda: ("spread", "learned", "standard"))},
        _PHOTOS | {"--start"},
    ),
    "feedback": TaskOptions(
        FeedbackRecipe,
        {**_LESS, **_PATCHES, **_square("feedback", 64), **_objective(_with_reference),
         "--strength": Field(("strength",), _strength)},
        _PHOTOS | {"--start"},
    ),
    "artefacts": TaskOptions(
        ArtefactsRecipe,
        {**_COMMON, **_PATCHES, **_square("artefacts", 16, 16), **_objective(differentiable),
         **_one_of("--through", "through", lambda: THROUGH), "--effort": _as("effort")},
        _PHOTOS | {"--start", "--proxy"},
    ),
    "simulator": TaskOptions(
        SimulatorRecipe, {**_COMMON, **_PATCHES, **_square("a simulator", 16)}, _PHOTOS | {"--start"}
    ),
    "minnen": TaskOptions(MinnenRecipe, {**_COMMON, **_PATCHES, **_square("minnen", 16)}, _PHOTOS),
    "classifier": TaskOptions(
        ClassifierRecipe,
        {**_COMMON, **_square("a classifier", 32), **_one_of("--architecture", "architecture", _architectures)},
        frozenset({"--jobs"}),
    ),
    "npp": TaskOptions(
        NppRecipe,
        {**_COMMON, "--steps": _as("adaptive_steps"), "--fixed-steps": _as("fixed_steps"), **_square("npp", 32),
         **_one_of("--forward", "values", lambda: VALUES),
         "--qualities": Field(("finest", "fixed", "coarsest"), _qualities),
         "--lambda": Field(("finest_weight", "coarsest_weight"), _weights), "--beta": _as("closeness"),
         "--effort": _as("effort"), "--draw": _as("drawn"), "--mosaic": _as("mosaic"), "--zoom": _as("zoom"),
         "--augment": _as("augment")},
        _PHOTOS | {"--task", "--model", "--labels", "--proxy", "--start"},
    ),
    "tables": TaskOptions(
        TablesRecipe,
        {**{option: _LESS[option] for option in ("--steps", "--batch", "--split", "--validate", "--seed")},
         "--pictures": _as("pictures"), **_square("tables", 176, 16), **_objective(differentiable),
         "--qualities": Field(("qualities",), _several, lambda values: _text(*values))},
        _PHOTOS | {"--start", "--behind"},
    ),
}  # fmt: skip
"""By the name that ``--network`` takes."""
