"""Figures of the cards of what ships: each against its definition, and the commands that write them down."""

import json
from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image as Pil

from kcompress.images import Image, Pixels
from kcompress.metrics import METRICS
from kcompress.metrics.psnr import psnr
from kcompress.pool import filter_named
from kcompress.training import measure
from kcompress.training.distortions import compression
from kcompress.training.measure import LADDER, RESTORED, climbed, gains, interval, scored
from kcompress.training.quality_data import KINDS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def picture(lake: Image) -> Pixels:
    """(96, 96, 3)."""
    return np.ascontiguousarray(lake.pixels[150:246, 200:296])


@pytest.fixture
def pictures(picture: Pixels, tmp_path: Path) -> Path:
    """Folder of two lossless pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, pixels in (("a.png", picture), ("b.png", picture[::-1])):
        Pil.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, object]]:
    """``noted("ar")``: what was written into its card; the rest of the card stays."""
    monkeypatch.setattr(measure.weight_files, "folder", lambda: tmp_path)
    for name in ("ar", "vqscore", "simulator-jpeg"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"network": name, "measured": "nothing yet"}))

    def read(name: str) -> dict[str, object]:
        card = json.loads((tmp_path / f"{name}.json").read_text())
        assert list(card) == ["network", "measured"] and card["network"] == name
        return dict(card["measured"])

    return read


def test_the_gain_is_over_the_compressed_picture(pictures: Path, picture: Pixels) -> None:
    found = gains(pictures / "a.png")
    assert list(found) == list(RESTORED)
    for name, quality in (("jpeg q=10", 10), ("jpeg q=95", 95)):
        compressed = compression("jpeg", quality).apply(picture)
        expected = psnr(picture, filter_named("ar").apply(compressed)) - psnr(picture, compressed)
        assert found[name] == pytest.approx(expected)
    assert found["jpeg q=10"] > 0.3 and found["jpeg q=75, then jpeg q=50"] != found["jpeg q=50"]


def test_scores_of_every_kind_follow_the_seed_and_the_name(pictures: Path, picture: Pixels) -> None:
    found = scored(pictures / "a.png", 1)
    assert list(found) == list(KINDS)
    judged = METRICS["vqscore"].score(picture, picture)
    assert found["clean"] == pytest.approx((judged, 100))
    assert all(reference < 100 for kind, (_, reference) in found.items() if kind != "clean")
    assert scored(pictures / "a.png", 1) == found
    for other in (scored(pictures / "a.png", 2), scored(pictures / "b.png", 1)):
        assert other["noise"] != found["noise"]


def test_the_ladder_is_climbed_by_quality(pictures: Path, picture: Pixels) -> None:
    found = climbed(pictures / "a.png")
    assert len(found) == len(LADDER) and found[0] < found[-1]
    lowest = compression("jpeg", LADDER[0]).apply(picture)
    assert found[0] == pytest.approx(METRICS["vqscore"].score(picture, lowest))


def test_an_interval_holds_the_mean_and_narrows() -> None:
    values = np.random.default_rng(0).normal(3, 1, 40)
    low, high = interval(values)
    assert low < values.mean() < high and high - low == pytest.approx(2 * 1.96 * values.std() / 40**0.5, rel=0.15)
    assert interval([*values, *values]) == interval([*values, *values])
    assert np.ptp(interval([*values] * 9)) < high - low
    assert interval([2.0, 2.0]) == [2.0, 2.0]


def test_the_card_of_ar(
    pictures: Path, noted: Callable[[str], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    of = {"a.png": 1.0, "b.png": 2.0}
    monkeypatch.setattr(measure, "gains", lambda path: {name: of[path.name] + n for n, name in enumerate(RESTORED)})
    measure.artifacts(pictures, data="of a lake", jobs=1)
    found = noted("ar")
    assert found["pictures"] == "2 whole lossless pictures, of a lake"
    for number, name in enumerate(RESTORED):
        expected = {"mean": 1.5 + number, "interval": interval([1 + number, 2 + number]), "least": 1 + number}
        assert found["psnr_gain_db"][name] == expected  # type: ignore[index]


def ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal values share the mean of theirs."""
    flat = values.ravel()
    return np.array([(flat < value).sum() + ((flat == value).sum() + 1) / 2 for value in flat])


def test_the_card_of_vqscore(
    pictures: Path, noted: Callable[[str], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    tables = {name: random.uniform(0, 99, (len(KINDS), 2)) for name in ("a.png", "b.png")}
    clean = [*KINDS].index("clean")
    for table in tables.values():
        table[clean, 1] = 100  # ties over the pictures
    ladders = {"a.png": [float(step) for step in range(len(LADDER))], "b.png": [0.0, 2, 1, *range(3, len(LADDER))]}
    ladders["b.png"][-1] = ladders["b.png"][-3]  # one pair of the sixteen that does not rise
    monkeypatch.setattr(
        measure,
        "scored",
        lambda path, seed: {kind: tuple(tables[path.name][n] + seed - 1) for n, kind in enumerate(KINDS)},
    )
    monkeypatch.setattr(measure, "climbed", lambda path: ladders[path.name])
    measure.vqscore(pictures, jobs=1)
    found = noted("vqscore")
    both = np.array([tables["a.png"], tables["b.png"]])
    agreement = found["spearman_with_ssimulacra2"]
    assert isinstance(agreement, dict)
    expected = np.corrcoef(ranks(both[..., 0]), ranks(both[..., 1]))[0, 1]
    assert agreement["overall"] == pytest.approx(expected, abs=6e-5)
    each = [np.corrcoef(ranks(table[:, 0]), ranks(table[:, 1]))[0, 1] for table in both]
    assert agreement["within_a_picture"] == pytest.approx(np.mean(each), abs=6e-5)
    assert [kind for kind in agreement if kind in KINDS] == [kind for kind in KINDS if kind != "clean"]
    assert all(abs(agreement[kind]) == 1 for kind in agreement if kind in KINDS), "two pictures"
    pairs = 2 * (len(LADDER) - 2)
    ladder = found["jpeg_ladder"]
    assert isinstance(ladder, dict) and ladder["qualities"] == "10..95"
    assert ladder["pairs_10_apart_that_rise_percent"] == round(100 * (pairs - 1) / pairs, 1)
    assert ladder["mean_scores"]["20"] == 1.5 and list(ladder["mean_scores"]) == [str(quality) for quality in LADDER]
    whole = both[:, clean, 0]
    assert found["clean_pictures"] == {"mean": round(whole.mean(), 1), "least": round(whole.min(), 1)}


def test_the_card_of_a_simulator(
    pictures: Path, noted: Callable[[str], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = type("Patches", (), {"bpp": np.zeros((7, 3))})()
    asked = []

    def encoded(
        photos: object, names: list[str], each: int, recipe: object, folder: Path, jobs: int
    ) -> Generator[None, None, object]:
        asked.append((names, each, recipe))
        yield
        return patches

    monkeypatch.setattr(measure, "encoded", encoded)
    monkeypatch.setattr(measure, "load_proxy", lambda kind, codec: (kind, codec))
    monkeypatch.setattr(
        measure, "accuracy", lambda proxy, found, codec: {"rmse": 0.123456, "exact": float(callable(proxy))}
    )
    measure.simulator(pictures, codec="jpeg", jobs=1, seed=3)
    found = noted("simulator-jpeg")
    assert found["simulator"] == {"rmse": 0.1235, "exact": 0} and found["exact"] == {"rmse": 0.1235, "exact": 1}
    assert found["pictures"] == "2 lossless pictures"
    assert found["patches"] == "7 of 256x256 in 3 versions, qualities 20..97 at random"
    ((names, each, recipe),) = asked
    assert (names, each, recipe.seed, recipe.side, recipe.codec) == (["a.png", "b.png"], 8, 3, 256, "jpeg")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"codec": "gif"}, "--codec gif: allowed are jpeg"),
        ({"codec": "jpeg", "kind": "kuchen"}, "--kind kuchen: allowed"),
    ],
)
def test_what_cannot_be_measured(pictures: Path, options: dict[str, str], reason: str) -> None:
    with pytest.raises(typer.BadParameter, match=reason):
        measure.simulator(pictures, **options)


def test_nothing_to_measure_with(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="holds no PNG pictures"):
        measure.artifacts(tmp_path)
