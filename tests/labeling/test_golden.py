"""A small label set made with the real Guetzli is made again."""

import tempfile
from pathlib import Path

import pytest
from labeling.tools import labelled, pictures, pixels, plan

from kcompress.codecs import CODECS
from kcompress.images import Image
from kcompress.labels import Row, file
from kcompress.pool import FilterContext, GuetzliLimits
from kcompress.programs import GUETZLI

pytestmark = pytest.mark.encoders

GOLDEN = Path(__file__).parents[1] / "golden" / "labels"
METRICS = ("psnr",)


@pytest.fixture(scope="module")
def golden() -> list[Row]:
    return file(METRICS).read(GOLDEN / "labels.csv")


def test_the_pictures_are_cuts_of_the_others(lake: Image, balloons: Image) -> None:
    assert (pixels(GOLDEN / "photos" / "lake.png") == lake.pixels[280:344, 270:366]).all()
    assert (pixels(GOLDEN / "photos" / "balloons.png") == balloons.pixels[:80, 60:140]).all()


def test_the_choices_are_not_all_the_same(golden: list[Row]) -> None:
    assert [row.group for row in golden if row.chosen] == ["nlm+detail", "guetzli+nlm"]


@pytest.mark.skipif(GUETZLI.find() is None, reason="guetzli is not installed")
def test_the_label_set_is_made_again(golden: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))  # its own turns of Guetzli
    context = FilterContext("cpu", GuetzliLimits(seconds=60, cache=tmp_path / "cache"))
    this = plan(GOLDEN / "photos", pool=("guetzli", "nlm", "detail"), context=context)
    outcome = labelled(this, tmp_path / "labels")
    assert outcome.failures == [] and outcome.computed == len(golden) == 14
    assert [(row.path, row.sha256, row.group, row.chosen, row.label, row.error) for row in outcome.rows] == [
        (row.path, row.sha256, row.group, row.chosen, row.label, row.error) for row in golden
    ]
    same = CODECS["jpeg"].backend("pillow").version() == golden[0].version
    for row, expected in zip(outcome.rows, golden, strict=True):
        # Guetzli of another build may round otherwise, and its version says nothing of that.
        exact = same and "guetzli" not in row.group
        assert row.bytes == pytest.approx(expected.bytes, rel=0 if exact else 0.02), row.group
        assert row.bpp == 8 * row.bytes / (row.width * row.height)
        assert row.scores["psnr"] == pytest.approx(expected.scores["psnr"], abs=1e-6 if exact else 0.1), row.group
        assert row.score == pytest.approx(expected.score, abs=0.1), row.group
    assert set(pictures(tmp_path / "labels")) == {row.label for row in golden if row.chosen}
    kept = list((tmp_path / "cache").iterdir())
    assert len(kept) == 2 and all(each.read_bytes().startswith(b"\xff\xd8") for each in kept)
