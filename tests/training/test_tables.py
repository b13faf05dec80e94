"""The search for tables: costs are what they say, it finds better ones, goes on where it stopped, and writes them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training.toy import of

from kcompress.codecs import CODECS, decode
from kcompress.codecs.jpeg import written_tables
from kcompress.codecs.quantisation import STANDARD, learned, tables_named
from kcompress.dataset import DataSet
from kcompress.errors import InputError, OutputError, UsageError
from kcompress.images import Image
from kcompress.inference.batches import tensor
from kcompress.metrics.differentiable import SCORES
from kcompress.networks.loading import load, shipped_weights
from kcompress.training.events import Finished, Step, Validation
from kcompress.training.log_tables import (
    JPEGLI,
    MOZJPEG,
    SMOOTH,
    MixedTables,
    log_steps,
    mean_of_known,
    rounded,
    smooth_change,
    spread,
)
from kcompress.training.tasks.tables.coding import Coder, Trial
from kcompress.training.tasks.tables.cost import LADDER, Curves, cost, plain
from kcompress.training.tasks.tables.recipe import TablesRecipe
from kcompress.training.tasks.tables.scaling import changed, setting
from kcompress.training.tasks.tables.search import TablesData, TableSearch
from kcompress.workers import workers

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = TablesRecipe(
    qualities=(40, 80), steps=2, batch=4, side=96, objective={"ssimulacra2": 0.5, "psnr": 0.5}, aims={}, split=0.2,
    behind="none",
)  # fmt: skip


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer qualities for curves and scale."""
    monkeypatch.setattr("kcompress.training.tasks.tables.scaling.NODES", (30, 60, 90))
    monkeypatch.setattr("kcompress.training.tasks.tables.cost.LADDER", (10, 30, 50, 70, 90, 99))


def search(photos: DataSet, folder: Path, recipe: TablesRecipe = TINY, jobs: int = 1) -> TableSearch:
    return TableSearch(photos, recipe, folder, STANDARD, None, jobs=jobs)


def coder(lake: Image, weights: Path | None = None, device: str = "cpu", jobs: int = 1) -> Coder:
    crops = [np.ascontiguousarray(lake.pixels[40 * n : 40 * n + 96, 30 * n : 30 * n + 96]) for n in range(3)]
    with workers(1) as executor:
        return Coder(crops, weights, device, executor, jobs)


def test_known_tables() -> None:
    """mozjpeg's are what it writes; jpegli's and all mixtures are tables at every quality, and mixing is a mean."""
    jpeg = CODECS["jpeg"]
    try:
        encoder = jpeg.backend("mozjpeg")
    except Exception:
        encoder = None
    for quality in (30, 75, 95):
        assert encoder is None or written_tables(encoder, jpeg.setting(quality)) == MOZJPEG.at(quality)
    half = MixedTables((STANDARD, JPEGLI), (0.5, 0.5))
    assert half.at(60)[0][63] == round((STANDARD.at(60)[0][63] * np.exp(log_steps(JPEGLI, 60)[0, 63])) ** 0.5)
    for tables in (JPEGLI, half, mean_of_known(), *map(spread, map(np.random.default_rng, range(8)))):
        every = np.array([tables.at(quality) for quality in range(1, 101)])
        assert every.shape == (100, 2, 64) and every.min() >= 1 and every.max() <= 255
        assert (np.diff(every, axis=0) <= 0).all()
    assert {spread(np.random.default_rng(seed)).name for seed in range(60)} >= {
        "standard",
        "mozjpeg",
        "jpegli",
        "mixed",
    }


def test_smooth_changes_are_apart() -> None:
    products = SMOOTH @ SMOOTH.T
    assert np.allclose(products, np.diag(np.diag(products)), atol=1e-9) and np.allclose(np.abs(SMOOTH).max(1), 1)
    change = smooth_change(np.eye(14)[8])
    assert not change[0].any() and np.array_equal(change[1], SMOOTH[1])


def test_changes_are_linear_between_qualities_and_none_changes_nothing() -> None:
    start, one = learned(), np.eye(14)[0]
    for quality in (3, 40, 60, 99):
        assert rounded(changed(start, {40: 0 * one, 80: 0 * one})(quality)) == start.at(quality)
    tables = changed(start, {40: 0 * one, 80: 0.4 * one})
    assert np.allclose(tables(60) - log_steps(start, 60), [[0.2], [0]]) and np.allclose(
        tables(90), changed(start, {5: 0.4 * one})(90)
    )


def test_measures_are_the_encoders_and_the_metrics(lake: Image) -> None:
    trials = [Trial(setting(50, log_steps(learned(), 50)), True), Trial(CODECS["jpeg"].setting(80), False)]
    network = load("rdo", device="cpu", codec="jpeg")
    assert network is not None
    several = coder(lake, shipped_weights("rdo", "jpeg"))
    found = several.measure(trials, ("psnr", "ssimulacra2"))
    assert found.shape == (2, 3, 3)
    for trial, rows in zip(trials, found, strict=True):
        for crop, row in zip(several.crops, rows, strict=True):
            image = network(Image(crop), trial.setting) if trial.preprocessed else Image(crop)
            data = CODECS["jpeg"].backend("auto").encode(image, trial.setting)
            assert row[0] == pytest.approx(np.log(len(data)))
            pair = [tensor([crop]).contiguous(), tensor([decode(data).pixels]).contiguous()]
            scores = [float(SCORES[name](pair[0])(pair[1])) for name in ("psnr", "ssimulacra2")]
            assert row[1:].tolist() == pytest.approx(scores)


def test_batches_as_on_a_gpu_measure_the_same(lake: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kcompress.training.tasks.tables.coding.AT_ONCE", 2 * 96 * 96)
    trials = [Trial(setting(quality, log_steps(learned(), quality)), quality < 90) for quality in (40, 90)]
    one, other = (
        coder(lake, shipped_weights("rdo", "jpeg"), device).measure(trials, ("psnr",)) for device in ("cpu", "cpu:0")
    )
    assert np.allclose(one, other, atol=0.02)


def test_libjpegs_own_tables_save_nothing(lake: Image) -> None:
    several = coder(lake)
    curves = Curves.of(several, ("psnr", "ssimulacra2"))
    at = several.measure([Trial(plain(LADDER[9]), False)], curves.scores)
    assert np.allclose(curves.saved(at), 0) and np.allclose(curves.anchored(at), curves.at(LADDER[9]))
    fewer = at - np.array([np.log(2), 0, 0])
    assert np.allclose(curves.saved(fewer), -np.log(2))
    better = at + np.array([0, 100, 0])
    assert curves.saved(better)[0, 0] < -1 and curves.saved(better)[0, 1] == pytest.approx(0)


def test_cost() -> None:
    recipe = replace(TINY, aims={"psnr": -10})
    assert cost(recipe, {"ssimulacra2": -0.2, "psnr": np.log(0.9)}, 0) == pytest.approx(0.5 * (-0.2 + np.log(0.9)))
    short = cost(recipe, {"ssimulacra2": -0.2, "psnr": 0.0}, 0)
    assert short == pytest.approx(0.5 * (-0.2 - 0.5 * np.log(0.9)))
    assert cost(recipe, {"ssimulacra2": -0.2, "psnr": 0.0}, 2) == pytest.approx(short + 4 * recipe.pull)


@pytest.mark.slow
@pytest.mark.usefixtures("_few")
def test_it_finds_better_tables_and_goes_on_where_it_stopped(photos: DataSet, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=3)
    whole = list(search(photos, tmp_path / "whole", recipe).run())
    steps = of(Step, whole)
    assert [step.number for step in steps] == [1, 2, 3] and steps[2].loss < steps[0].loss < 0
    first = search(photos, tmp_path / "parts", recipe).run()
    for event in first:
        if isinstance(event, Validation) and event.step == 2:
            break
    first.close()  # type: ignore[attr-defined]
    with pytest.raises(OutputError, match="holds a training"):
        list(search(photos, tmp_path / "parts", recipe).run())
    with pytest.raises(UsageError, match="batch was 4 before and is 5 now"):
        list(search(photos, tmp_path / "parts", replace(recipe, batch=5)).run(resume=True))
    rest = list(search(photos, tmp_path / "parts", recipe, jobs=2).run(resume=True))
    assert [step.loss for step in of(Step, rest)] == [steps[2].loss]
    one, two = ((tmp_path / part / "log.csv").read_text() for part in ("whole", "parts"))
    assert one == two and one.startswith(
        "step,quality,cost,mean_cost,held_out_cost,ssimulacra2,psnr,held_out_ssimulacra2"
    )
    ended = whole[-1]
    assert isinstance(ended, Finished) and isinstance(ended.data, TablesData)
    card = search(photos, tmp_path / "whole", recipe).export(ended, tmp_path / "found", "crops of a lake")
    kept = json.loads((tmp_path / "found.json").read_text())
    assert json.loads(json.dumps(card)) == {name: kept[name] for name in card} and list(kept)[: len(card)] == list(card)
    found = tables_named(str(tmp_path / "found.json"))
    assert found is not None and found.name == str(tmp_path / "found.json")
    every = np.array([found.at(quality) for quality in range(101)])
    assert (np.diff(every, axis=0) <= 0).all() and (every[100] == 1).all()
    assert not np.array_equal(every[60], STANDARD.at(60))
    assert tables_named(str(tmp_path / "whole/step-000003.json")) is not None
    assert set(card["scale"]) == {"30", "60", "90"}


def test_too_few_pictures(photos: DataSet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"6 pictures: split 0\.99 leaves 0 to search"):
        list(search(photos, tmp_path, replace(TINY, split=0.99)).run())


@pytest.mark.usefixtures("_few")
def test_no_time(photos: DataSet, tmp_path: Path) -> None:
    """Without a generation the tables are those to start from, scaled."""
    events = list(replace(search(photos, tmp_path), minutes=0.0).run())
    assert not of(Step, events) and events[-1].data.card["generations"] == 0
