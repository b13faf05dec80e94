"""From points to figures, recomputed by hand."""

from dataclasses import replace

import pytest

from kcompress.evaluation.comparison import counted
from kcompress.evaluation.contact import contact_page
from kcompress.evaluation.points import Point
from kcompress.evaluation.report import markdown
from kcompress.evaluation.summary import meeting, summarise

BASE = Point("a.png", "0", "jpeg", "pillow", "1", "none", 0, 1000, 1000, 0, 0.0, 0.5, 0.25, {})
LADDER = {40: (50_000, 40.0), 60: (80_000, 60.0), 75: (120_000, 70.0), 90: (250_000, 88.0)}


def curve(picture: str, preprocessor: str, factor: float) -> list[Point]:
    return [
        replace(
            BASE, picture=picture, preprocessor=preprocessor, quality=quality, bytes=round(size * factor),
            bpp=8 * size * factor / 1e6, scores={"ssimulacra2": score},
        )
        for quality, (size, score) in LADDER.items()
    ]  # fmt: skip


POINTS = [*curve("a.png", "none", 1), *curve("b.png", "none", 2), *curve("a.png", "x", 0.9), *curve("b.png", "x", 1.6)]


def test_bd_rate_is_the_mean_over_pictures() -> None:
    (entry,) = summarise(POINTS, ["ssimulacra2"])["comparisons"]
    found = entry["bd_rate_percent"]["ssimulacra2"]
    assert found["pictures"] == pytest.approx({"a.png": -10, "b.png": -20})
    assert found["mean"] == pytest.approx(-15)
    assert found["low"] == pytest.approx(-20) and found["high"] == pytest.approx(-10)
    assert entry["seconds_per_megapixel"] == {"preprocess": 0.5, "encode": 0.25}


def test_size_at_the_same_quality_is_of_the_totals() -> None:
    (entry,) = summarise(POINTS, ["ssimulacra2"])["comparisons"]
    row = entry["same_quality"][0]
    assert row["quality"] == 40
    assert row["size_change_percent"] == pytest.approx(100 * ((0.9 + 1.6) / 3 - 1))
    assert row["scores"]["ssimulacra2"] == [40.0, 40.0]
    assert row["bytes"] == [150_000, 125_000]
    assert row["size_change_interval"] == pytest.approx([-20, -10])  # of drawing one picture twice
    assert row["score_change_interval"]["ssimulacra2"] == [0, 0]


def test_at_equal_bits_points_nearest_in_bytes_are_compared() -> None:
    (entry,) = summarise(POINTS, ["ssimulacra2"], equal_bits=True)["comparisons"]
    assert entry["same_quality"] == []
    row = entry["same_bits"][2]  # 120 kB of a, 240 kB of b: nearest are 225 and 192 at quality 90 and 75
    assert row["quality"] == 75 and row["quality_after"] == 75
    assert row["bytes"] == [360_000, 108_000 + 192_000]
    assert row["bpp"] == pytest.approx([1.44, 1.2])
    assert row["largest_difference_percent"] == pytest.approx(20)
    last = entry["same_bits"][3]
    assert last["scores"]["ssimulacra2"] == [88, 88] and last["largest_difference_percent"] == pytest.approx(20)
    text = markdown(summarise(POINTS, ["ssimulacra2"], equal_bits=True), ["ssimulacra2"], "c")
    assert "At the same bits per pixel." in text and "At the same quality" not in text
    assert "| jpeg | x | 75 -> 75.0 | 1.440 -> 1.200 bpp (20.0 %) | 70.00 -> 70.00 |" in text
    # Each preprocessor has a point for every one of the plain codec, also where two meet the same.
    met = meeting([*POINTS[:4], *POINTS[8:11]])
    assert [(p.preprocessor, p.quality) for p in met[4:]] == [("x", 40), ("x", 60), ("x", 75), ("x", 75)]


def test_what_cannot_be_compared_is_said() -> None:
    points = [*curve("a.png", "none", 1), *curve("a.png", "x", 1)[:3]]
    (entry,) = summarise(points, ["ssimulacra2"])["comparisons"]
    assert entry["bd_rate_percent"]["ssimulacra2"]["mean"] is None
    assert "fewer than 4" in entry["bd_rate_percent"]["ssimulacra2"]["refused"]["a.png"]
    assert "none: the preprocessed curve has 3 points" in markdown(
        summarise(points, ["ssimulacra2"]), ["ssimulacra2"], "c"
    )


def test_markdown_shows_every_figure() -> None:
    text = markdown(summarise(POINTS, ["ssimulacra2"]), ["ssimulacra2"], "kcompress bench photos")
    assert "| jpeg | x | -15.0 % (-20.0 .. -10.0) |" in text
    assert "| jpeg | x | 40 | -16.7 % | 40.00 -> 40.00 |" in text
    assert "`kcompress bench photos`" in text


def test_few_qualities_have_a_word_in_place_of_bd_rates() -> None:
    few = [point for point in POINTS if point.quality in (60, 75, 90)]
    text = markdown(summarise(few, ["ssimulacra2"]), ["ssimulacra2"], "c")
    assert "BD-rates need 4 qualities of a codec" in text and "fewer than 4" not in text
    assert "| jpeg | x | 60 | -16.7 % |" in text
    assert "BD-rates need" not in markdown(summarise(POINTS, ["ssimulacra2"]), ["ssimulacra2"], "c")


def test_preprocessors_stand_side_by_side() -> None:
    other = [
        replace(point, preprocessor="y", scores={"ssimulacra2": point.scores["ssimulacra2"] + 2})
        for point in POINTS[:8]
    ]
    webp = [replace(point, codec="webp") for point in POINTS]
    text = markdown(summarise([*POINTS, *other, *webp], ["ssimulacra2"]), ["ssimulacra2"], "c")
    assert "| codec | quality |  | none | x | y |" in text and "| codec | quality |  | none | x |" in text
    assert "| jpeg | 40 | size, MB | 0.15 | 0.125, -16.7 % (-20.0 .. -10.0) | 0.15, +0.0 % (+0.0 .. +0.0) |" in text
    assert "| jpeg | 40 | ssimulacra2 | 40.00 | 40.00 (+0.00 .. +0.00) | 42.00 (+2.00 .. +2.00) |" in text
    assert "| webp | 90 | size, MB | 0.75 | 0.625, -16.7 % (-20.0 .. -10.0) |" in text


def test_one_is_no_plural():
    assert [counted(count, "picture") for count in (0, 1, 2)] == ["0 pictures", "1 picture", "2 pictures"]
    page = contact_page([], 1, [])
    assert "1 file " in page and "files" not in page.partition("<main>")[0].partition("<body>")[2]
