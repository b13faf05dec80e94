"""Figures of the cards of what ships: each against its definition, and the commands that write them down."""

import json
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image as Pil

from kcompress.images import Image, Pixels
from kcompress.metrics.psnr import psnr
from kcompress.pool import filter_named
from kcompress.training import measure
from kcompress.training.distortions import compression
from kcompress.training.measure import RESTORED, gains, interval, scored
from kcompress.training.measure_quality import Rated

JUDGES = {"butteraugli": {"score": [9.0, 0.0], "points": [0.0, 100.0]}}
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
        card = {"network": name, "judges": JUDGES, "measured": "nothing yet"}
        (tmp_path / f"{name}.json").write_text(json.dumps(card))

    def read(name: str) -> dict[str, object]:
        card = json.loads((tmp_path / f"{name}.json").read_text())
        assert list(card) == ["network", "judges", "measured"] and card["network"] == name
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


def test_the_card_of_vqscore(
    pictures: Path, noted: Callable[[str], dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def scored(path: Path, side: int | None, seed: int, judges: Sequence[str]) -> Rated:
        asked.append((path.name, side, seed, judges))
        return Rated({"clean": 1.0}, {}, {}, [])

    monkeypatch.setattr(measure, "scored", scored)
    monkeypatch.setattr(measure, "figures", lambda each, judges: {"rated": len(each), "judges": list(judges.names)})
    measure.vqscore(pictures, side=64, jobs=1)
    assert noted("vqscore") == {
        "pictures": "middles of 64x64 of 2 lossless pictures, each in 1 versions",
        "rated": 2, "judges": ["ssimulacra2", "butteraugli"],
    }  # fmt: skip
    assert asked == [(name, 64, 1, ("ssimulacra2", "butteraugli")) for name in ("a.png", "b.png")]
    measure.vqscore(pictures, data="of a lake", jobs=1)
    assert noted("vqscore")["pictures"] == "2 whole lossless pictures, each in 1 versions, of a lake"


def test_a_picture_is_rated_in_its_middle(pictures: Path, picture: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(measure, "rated", lambda *arguments: asked.append(arguments))
    scored(pictures / "a.png", 64, 3, ["psnr"])
    scored(pictures / "a.png", None, 3, ["psnr"])
    (part, seed, judges), (whole, same, _) = asked
    assert np.array_equal(part, picture[16:80, 16:80]) and np.array_equal(whole, picture)
    assert seed == same == [3, *b"a.png"] and judges == ["psnr"]


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
