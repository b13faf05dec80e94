"""Recipes: their fields are a file format, and reading them needs no torch."""

import subprocess
import sys
from dataclasses import asdict, fields

import pytest

from kcompress.training.recipe import Recipe
from kcompress.training.tasks.artefacts.recipe import ArtefactsRecipe
from kcompress.training.tasks.classifier.recipe import ClassifierRecipe
from kcompress.training.tasks.feedback.recipe import FeedbackRecipe
from kcompress.training.tasks.kuchen.recipe import KuchenRecipe
from kcompress.training.tasks.npp.recipe import NppRecipe
from kcompress.training.tasks.proxies.recipe import MinnenRecipe, SimulatorRecipe
from kcompress.training.tasks.rdo.recipe import RdoRecipe

FIELDS = {
    KuchenRecipe: "width steps batch learning_rate schedule patch_width patch_height stride split validation_pictures "
    "validate_every seed start strength",
    RdoRecipe: "width depth steps batch patches together side lowest highest tables mozjpeg objective "
    "learning_rate warmup averaging exact_from validate_every validation_pictures split seed start",
    FeedbackRecipe: "codec lowest highest passes sharp_chroma steps batch patches side perturbation limit objective "
    "penalty learning_rate warmup averaging exact_from validate_every validation_pictures split seed start strength",
    ArtefactsRecipe: "codec lowest highest height power through proxy width depth steps batch patches together side "
    "objective effort learning_rate warmup averaging exact_from validate_every validation_pictures split seed start",
    SimulatorRecipe: "codec lowest highest width depth steps batch versions patches side difference learning_rate "
    "warmup averaging exact_from validate_every validation_pictures split seed start",
    MinnenRecipe: "codec lowest highest width latent slope mimic_from rate_match steps batch versions patches side "
    "learning_rate warmup averaging exact_from validate_every validation_pictures split seed",
    NppRecipe: "task model labelled codec finest coarsest fixed width side fixed_steps adaptive_steps fixed_drop "
    "adaptive_drop batch learning_rate finest_weight coarsest_weight closeness proxy values effort warmup averaging "
    "exact_from validate_every validation_pictures split seed drawn mosaic zoom start augment sampled",
    ClassifierRecipe: "architecture width side steps batch smallest smoothing learning_rate warmup averaging "
    "exact_from validate_every validation_pictures split seed",
}


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_fields_and_their_order_stay(kind: type[Recipe]) -> None:
    assert [field.name for field in fields(kind)] == FIELDS[kind].split()  # type: ignore[arg-type]


def test_what_a_recipe_does_not_list_is_the_bases() -> None:
    recipe = KuchenRecipe()
    assert (recipe.averaging, recipe.exact_from, recipe.warmup) == (0, 0, 0) and "averaging" not in asdict(recipe)
    assert MinnenRecipe("webp", 1, 2).start == ""


def test_recipes_are_read_without_torch() -> None:
    modules = {kind.__module__ for kind in FIELDS}
    code = f"import sys; sys.modules['torch'] = None; import {', '.join(sorted(modules))}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_papers_recipe() -> None:
    recipe = KuchenRecipe()
    assert (recipe.patch_width, recipe.patch_height, recipe.stride) == (320, 180, 160)
    assert (recipe.batch, recipe.learning_rate, recipe.split) == (4, 1e-4, 0.6)


def test_rates_of_kuchen_are_constant_or_fall_by_a_cosine() -> None:
    assert {KuchenRecipe().rate(step) for step in (0, 9_999, 19_999)} == {1e-4}
    recipe = KuchenRecipe(schedule="cosine")
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    assert rates[0] == 1e-4 and rates == sorted(rates, reverse=True) and 0 < rates[-1] < 1e-11
