"""Figures of VQscore: what a picture is rated in, and each figure against its definition."""

from dataclasses import replace

import numpy as np
import pytest

from kcompress.images import Image, Pixels
from kcompress.inference import weights as weight_files
from kcompress.metrics import METRICS
from kcompress.training import measure_quality
from kcompress.training.distortions import compression, filtering, preprocessing
from kcompress.training.judges import Judges, Scale
from kcompress.training.measure_quality import (
    BLURRED,
    FILTERS,
    FIXED,
    HELD,
    JPEG,
    KUCHEN,
    LADDER,
    SHIFTED,
    Rated,
    figures,
    rated,
    shift,
    versions,
)
from kcompress.training.quality_kinds import KINDS

pytestmark = pytest.mark.usefixtures("one_thread")
JUDGES = Judges(("ssimulacra2", "psnr"), {"psnr": Scale((20.0, 50.0), (20.0, 100.0))})


@pytest.fixture(scope="module")
def picture(lake: Image) -> Pixels:
    """(96, 96, 3)."""
    return np.ascontiguousarray(lake.pixels[150:246, 200:296])


def test_versions_are_one_of_each_kind_and_the_fixed_ones(picture: Pixels) -> None:
    found = versions([1, 2])
    assert [*found] == [*KINDS, *FIXED]
    assert {*BLURRED} < {*FILTERS} < {*FIXED} and all(name in found for name in SHIFTED)
    assert [step.name for step in found[JPEG]] == ["jpeg q=75"]

    def numbers(seed: list[int]) -> list[list[str]]:
        return [[step.name for step in steps] for steps in versions(seed).values()]

    assert numbers([1, 2]) == numbers([1, 2]) != numbers([1, 3])


def test_a_picture_is_rated_in_every_version(picture: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: FIXED[name] for name in (JPEG, "ar", "kuchen jpeg", "kuchen webp q=84")}
    monkeypatch.setattr(measure_quality, "FIXED", few)
    monkeypatch.setattr(measure_quality, "KINDS", {name: KINDS[name] for name in ("clean", "noise")})
    monkeypatch.setattr(measure_quality, "LADDER", range(10, 96, 40))
    found = rated(picture, [1], ["psnr", "ssimulacra2"])
    made = {
        "clean": picture, JPEG: compression("jpeg", 75).apply(picture), "ar": filtering("ar").apply(picture),
        "kuchen jpeg": preprocessing("kuchen", "jpeg").apply(picture),
        "kuchen webp q=84": preprocessing("kuchen", "webp", 84).apply(picture),
    }  # fmt: skip
    assert [*found.scores] == [*found.judged] == ["clean", "noise", *few]
    for name, pixels in made.items():
        assert found.scores[name] == pytest.approx(METRICS["vqscore"].score(picture, pixels))
        assert found.judged[name]["ssimulacra2"] == pytest.approx(METRICS["ssimulacra2"].score(picture, pixels))
    assert found.shifts == {name: pytest.approx(shift(made[name])) for name in ("clean", JPEG)}
    lowest, *_, highest = found.climbed
    worst = METRICS["vqscore"].score(picture, compression("jpeg", 10).apply(picture))
    assert lowest == pytest.approx(worst) and lowest < highest


def test_a_shift_is_by_one_pixel(picture: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    first = replace(METRICS["psnr"], prepare=lambda original: lambda pixels: float(pixels[0, 0, 0]))
    monkeypatch.setitem(METRICS, "vqscore", first)
    assert shift(picture) == abs(float(picture[0, 0, 0]) - float(picture[1, 1, 0]))


def ranks(values: np.ndarray) -> np.ndarray:
    """From 1; equal values share the mean of theirs."""
    flat = values.ravel()
    return np.array([(flat < value).sum() + ((flat == value).sum() + 1) / 2 for value in flat])


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


def test_figures_are_what_they_say() -> None:
    random = np.random.default_rng(0)
    names = [*KINDS, *FIXED]
    each = []
    for _ in range(3):
        scores = dict(zip(names, random.uniform(20, 90, len(names)).tolist(), strict=True))
        judged = {name: {"ssimulacra2": random.uniform(20, 90), "psnr": random.uniform(20, 50)} for name in names}
        judged["clean"] = {"ssimulacra2": 100.0, "psnr": 50.0}
        each.append(
            Rated(scores, judged, {"clean": random.uniform(0, 2), JPEG: 1.0}, [float(n) for n, _ in enumerate(LADDER)])
        )
    each[0].scores["clean"], each[1].scores["clean"], each[2].scores["clean"] = 95.0, 94.0, 1.0  # type: ignore[index]
    falling = replace(each[0], climbed=[0.0, 2, 1, *range(3, len(LADDER) - 1), len(LADDER) - 3])
    found = figures([falling, *each[1:]], JUDGES)

    def table(chosen: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        scores = np.array([[one.scores[name] for name in chosen] for one in each])
        first = np.array([[one.judged[name]["ssimulacra2"] for name in chosen] for one in each])
        second = np.array([[one.judged[name]["psnr"] for name in chosen] for one in each])
        return scores, (first + 20 + (second - 20) * 80 / 30) / 2, first

    held = found["found"]
    assert found["must_hold"] == HELD and [*held] == [*HELD]
    scores, mean, first = table([*KINDS])
    assert held["spearman"] == pytest.approx(spearman(scores, mean), abs=6e-5)
    assert found["spearman_with_ssimulacra2"] == pytest.approx(spearman(scores, first), abs=6e-5)
    within = np.mean([spearman(*pair) for pair in zip(scores, mean, strict=True)])
    agreement = found["spearman_with_the_judges"]
    assert agreement["within_a_picture"] == pytest.approx(within, abs=6e-5)
    assert [*agreement] == ["within_a_picture", *(kind for kind in KINDS if kind != "clean")]
    assert held["spearman_of_filters"] == pytest.approx(spearman(*table([*FILTERS])[:2]), abs=6e-5)
    assert held["untouched_above_jpeg_75_percent"] == 66.7
    assert held["shift_at_most"] == pytest.approx(max(max(one.shifts.values()) for one in each), abs=6e-3)
    over = {name: np.mean([one.scores[name] - one.judged[name]["ssimulacra2"] for one in each]) for name in names}
    kuchen = [*(f"kuchen {codec}" for codec in KUCHEN), *(f"kuchen {codec} q={at}" for codec, at in KUCHEN.items())]
    assert held["blurred_overrated_at_most"] == pytest.approx(max(over[name] for name in BLURRED), abs=6e-3)
    assert held["kuchen_overrated_at_most"] == pytest.approx(max(over[name] for name in kuchen), abs=6e-3)
    assert all(
        value == pytest.approx(over[name], abs=6e-3) for name, value in found["vqscore_less_ssimulacra2"].items()
    )
    assert found["clean_pictures"] == {"mean": 63.3, "least": 1}
    pairs = 3 * (len(LADDER) - 2)
    assert found["jpeg_ladder"]["pairs_10_apart_that_rise_percent"] == round(100 * (pairs - 1) / pairs, 1)
    assert [*found["jpeg_ladder"]["mean_scores"]] == [str(quality) for quality in LADDER]


@pytest.mark.slow
@pytest.mark.encoders
@pytest.mark.skipif(not weight_files.is_shipped("vqscore"), reason="the weights vqscore are not trained yet")
def test_what_must_hold_on_two_small_photographs(lake: Image, balloons: Image) -> None:
    judges = Judges.from_card(weight_files.card(weight_files.open_shipped("vqscore"))["judges"])
    each = [rated(image.pixels, [3, number], judges.names) for number, image in enumerate((lake, balloons))]
    found = figures(each, judges)["found"]
    assert found["untouched_above_jpeg_75_percent"] == HELD["untouched_above_jpeg_75_percent"]
    for name in ("shift_at_most", "blurred_overrated_at_most", "kuchen_overrated_at_most"):
        assert found[name] < HELD[name]
    for name in ("spearman", "spearman_of_filters"):
        assert found[name] > HELD[name]
