"""Options of ``kcompress train`` -> recipes, as values; and the defaults that its help tells."""

import contextlib
import re
from dataclasses import asdict

import pytest
import typer

from kcompress.cli import app, options
from kcompress.cli.train_options import TASKS
from kcompress.errors import UsageError

PROXY = {"codec": "webp", "lowest": 20, "highest": 97}
KNOWN = {
    "kuchen": {}, "rdo": {}, "tables": {}, "classifier": {}, "feedback": PROXY, "simulator": PROXY, "minnen": PROXY,
    "blend": PROXY, "artefacts": PROXY | {"height": 8.0, "power": 1.0},
    "npp": {"task": "classification", "model": "m 0", "labelled": False, "codec": "bpg", "finest": 28, "coarsest": 41,
            "fixed": 34},
}  # fmt: skip
"""Fields that no option sets."""
EVERYWHERE = [
    ("--steps", 50, {"steps": 50}), ("--batch", 6, {"batch": 6}), ("--lr", 0.01, {"learning_rate": 0.01}),
    ("--split", 0.4, {"split": 0.4}), ("--width", 4, {"width": 4}), ("--validate", 7, {"validate_every": 7}),
    ("--pictures", 5, {"validation_pictures": 5}), ("--seed", 1, {"seed": 1}), ("--patches", 9, {"patches": 9}),
    ("--patch", "96x96", {"side": 96}),
]  # fmt: skip
SPECIAL = {
    "kuchen": [
        ("--patch", "32x24", {"patch_width": 32, "patch_height": 24}), ("--stride", 12, {"stride": 12}),
        ("--schedule", "cosine", {"schedule": "cosine"}), ("--strength", 1.0, {"strength": 1.0}),
    ],
    "rdo": [
        ("--quality-metric", "ssimulacra2", {"objective": {"ssimulacra2": 1}}),
        ("--quality-metric", "ssimulacra2, vif:3", {"objective": {"ssimulacra2": 0.25, "vif": 0.75}}),
        ("--mozjpeg", 1.0, {"mozjpeg": 1.0}), ("--tables", "learned", {"tables": "learned"}),
    ],
    "blend": [
        ("--quality-metric", "vqscore:3,psnr", {"objective": {"vqscore": 0.75, "psnr": 0.25}}),
        ("--through", "exact", {"through": "exact"}), ("--noisy", 0.25, {"noisy": 0.25}),
    ],
    "tables": [
        ("--pictures", 5, {"pictures": 5}), ("--patch", "192x192", {"side": 192}),
        ("--quality-metric", "psnr", {"objective": {"psnr": 1}}), ("--qualities", "60:30", {"qualities": (30, 60)}),
    ],
    "feedback": [
        ("--quality-metric", "psnr-hvs-m,psnr:3", {"objective": {"psnr-hvs-m": 0.25, "psnr": 0.75}}),
        ("--strength", 1.0, {"strength": 1.0}),
    ],
    "artefacts": [
        ("--quality-metric", "psnr,vif:3", {"objective": {"psnr": 0.25, "vif": 0.75}}),
        ("--through", "exact", {"through": "exact"}), ("--effort", 4, {"effort": 4}),
    ],
    "classifier": [("--architecture", "inverted", {"architecture": "inverted"})],
    "npp": [
        ("--steps", 50, {"adaptive_steps": 50}), ("--fixed-steps", 60, {"fixed_steps": 60}),
        ("--forward", "proxy", {"values": "proxy"}), ("--beta", 3.0, {"closeness": 3.0}),
        ("--effort", 4, {"effort": 4}),
        ("--qualities", "30:37:45", {"finest": 30, "fixed": 37, "coarsest": 45}),
        ("--qualities", "30", {"finest": 30, "fixed": 30, "coarsest": 30, "adaptive_steps": 0}),
        ("--lambda", "1:0.25", {"finest_weight": 1, "coarsest_weight": 0.25}),
        ("--lambda", "2", {"finest_weight": 2, "coarsest_weight": 2}),
        ("--draw", 2, {"drawn": 2}), ("--mosaic", True, {"mosaic": True}), ("--zoom", 1.5, {"zoom": 1.5}),
        ("--augment", True, {"augment": True}),
    ],
}  # fmt: skip
CASES = [
    (network, *case)
    for network, task in TASKS.items()
    for special in [SPECIAL.get(network, [])]
    for case in [
        *special, *(each for each in EVERYWHERE if each[0] in task.fields and each[0] not in {s[0] for s in special})
    ]
]  # fmt: skip
IMPOSSIBLE = [
    ("rdo", "--lr", 0.0, "--lr 0 is out of range"), ("rdo", "--split", 1.0, "--split 1 is out of range"),
    ("rdo", "--width", 3, "--width 3 is not possible"), ("rdo", "--width", 0, "--width 0 is not possible"),
    ("rdo", "--patch", "96x80", "rdo takes squares of a multiple of 16 pixels"),
    ("rdo", "--patch", "100x100", "rdo takes squares"), ("feedback", "--patch", "32x32", "squares of at least 64"),
    ("classifier", "--patch", "16x16", "a classifier takes squares of at least 32"),
    ("minnen", "--patch", "8x8", "minnen takes squares of at least 16"), ("npp", "--patch", "31x31", "at least 32"),
    ("blend", "--patch", "60x60", "blend takes squares of a multiple of 8 pixels, at least 64 pixels"),
    ("blend", "--quality-metric", "beauty", "Allowed: ssimulacra2"),
    ("rdo", "--quality-metric", "vmaf", "Allowed: ssimulacra2, butteraugli, psnr-hvs-m"),
    ("rdo", "--quality-metric", "psnr:0", "0 is no weight"),
    ("rdo", "--quality-metric", "psnr:x,vif", "psnr:x: x is no weight. Give a number above 0"),
    ("rdo", "--quality-metric", "psnr,psnr:2", "names psnr twice"),
    ("feedback", "--quality-metric", "vqscore", "Allowed: ssimulacra2, psnr, psnr-hvs-m"),
    ("artefacts", "--through", "both", "--through both is not known. Allowed: simulator, real, exact"),
    ("blend", "--through", "real", "--through real is not known. Allowed: labels, exact"),
    ("artefacts", "--patch", "100x100", "artefacts takes squares"),
    ("rdo", "--tables", "own", "--tables own is not known. Allowed: spread, learned, standard"),
    ("tables", "--patch", "96x96", "a multiple of 16 pixels, at least 176 pixels"),
    ("tables", "--qualities", "0:50", "--qualities 0:50 is not possible. Allowed: whole numbers 1..99"),
    ("tables", "--qualities", "best", "--qualities best is not possible"),
    ("kuchen", "--schedule", "linear", "--schedule linear is not known. Allowed: constant, cosine"),
    ("kuchen", "--strength", 0.0, "--strength 0 is out of range. Allowed: above 0, up to 1."),
    ("feedback", "--strength", 1.1, "--strength 1.1 is out of range"),
    ("classifier", "--architecture", "wide", "--architecture wide is not known"),
    ("npp", "--forward", "both", "--forward both is not known"), ("npp", "--qualities", "1:2", "is not understood"),
    ("npp", "--qualities", "20:10:30", "lies between"), ("npp", "--qualities", "30:30:30", "lies between"),
    ("npp", "--lambda", "0", "is not understood"), ("npp", "--lambda", "1:0", "is not understood"),
]  # fmt: skip


def changes(network, given):
    """Fields that options change."""
    usual, other = (asdict(TASKS[network].recipe_of(part, **KNOWN[network])) for part in ({}, given))
    assert usual.keys() == other.keys()
    return {name: value for name, value in other.items() if value != usual[name]}


@pytest.mark.parametrize(("network", "option", "value", "fields"), CASES, ids=lambda value: str(value)[:20])
def test_each_option_sets_its_fields_alone(network, option, value, fields):
    found = changes(network, {option: value})
    found.pop("warmup", None) if option in ("--steps", "--fixed-steps") else None
    assert found == fields


def test_every_option_of_a_recipe_is_tested():
    tested = {(network, option) for network, option, *_ in CASES}
    assert tested == {(network, option) for network, task in TASKS.items() for option in task.fields}


def test_fields_that_are_known_give_way_to_options():
    given = {"--qualities": "30:40:50", "--patch": "64x64"}
    recipe = TASKS["npp"].recipe_of(given, **KNOWN["npp"], side=224)
    assert (recipe.finest, recipe.fixed, recipe.coarsest, recipe.side) == (30, 40, 50, 64)
    assert TASKS["npp"].recipe_of({}, **KNOWN["npp"], side=224).side == 224


@pytest.mark.parametrize(("network", "steps", "warmup"), [("rdo", 50, 5), ("rdo", 5_000, 100), ("kuchen", 50, 0)])
def test_the_warm_up_is_a_tenth_at_most(network, steps, warmup):
    assert TASKS[network].recipe_of({"--steps": steps}, **KNOWN[network]).warmup == warmup


@pytest.mark.parametrize(("network", "option", "value", "reason"), IMPOSSIBLE)
def test_what_is_not_possible(network, option, value, reason):
    with pytest.raises(UsageError) as refused:
        changes(network, {option: value})
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ["0x24", "24x0", "32", "32x", "x32", "32x24x3", "-32x24", "32X24", "032x24", ""])
def test_what_is_no_size(text):
    with pytest.raises(UsageError) as refused:
        options.size("--patch", text)
    assert str(refused.value) == f"--patch {text} is no size. Give width and height, such as 320x180."
    assert options.size("--patch", "320x180") == (320, 180)


@pytest.fixture(scope="module")
def helped():
    """Option -> default that help tells."""
    command = typer.main.get_command(app).commands["train"]
    with command.make_context("train", ["photos"]) as context:
        command.get_help(context)
    found = {
        param.opts[0]: re.search(r"\[default: (.*)\]", getattr(param, "help", None) or "") for param in command.params
    }
    return {option: match and match[1] for option, match in found.items()}


def number(text):
    """A number where the text is one."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


@pytest.mark.parametrize(
    ("network", "option"), [(network, option) for network, task in TASKS.items() for option in task.fields]
)
def test_a_default_in_help_is_the_recipes(helped, network, option):
    """Given as an option, what help tells of a network changes nothing."""
    if option in ("--seed", "--effort", "--qualities", "--mosaic", "--augment"):  # signature's; codec's; flags
        return
    parts = dict(part.rpartition(" ")[::2] for part in helped[option].split("; "))
    named = {name: value for names, value in parts.items() for name in names.split(", ")}
    value = named.get(network, named.get("others", named.get("")) if network != "kuchen" else named.get(""))
    assert value is not None and set(named) <= {"", "others", *TASKS}
    assert changes(network, {option: number(value)}) == {}


def test_defaults_in_help_that_no_recipe_has(helped):
    from kcompress.training.tasks.npp.recipe import RANGES

    finest, coarsest = RANGES["bpg"]
    assert helped["--qualities"] == f"{finest}:{(finest + coarsest) // 2}:{coarsest} for bpg; tables 25:45:65:80:92"
    assert TASKS["tables"].default("--qualities") == "25:45:65:80:92"
    assert TASKS["npp"].recipe.effort is None and helped["--effort"] == "the codec's"
    assert TASKS["npp"].recipe.mosaic is TASKS["npp"].recipe.augment is False
    assert {task.recipe.seed for task in TASKS.values()} == {0}
