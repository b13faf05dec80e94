"""Machines as judges: curves of a whole set, rates at equal accuracy."""

import numpy as np
import pytest
from tiny_weights import write_classifier

from kcompress.evaluation.machine_summary import summarise
from kcompress.evaluation.machines import Machine
from kcompress.evaluation.points import Point
from kcompress.evaluation.report import markdown
from kcompress.machine.average_precision import Matches
from kcompress.machine.text import Text, encoded

MACHINE = Machine("classification", "net.pt2", "net", {"a": 0})


def point(picture, preprocessor, quality, bpp, score, loss) -> Point:
    scores = {} if score is None else {"net": score, "net loss": loss}
    return Point(picture, "0", "jpeg", "Pillow", "1", preprocessor, quality, 100, 100, 0, bpp, 0.0, 0.0, scores)


def points(saving: float, pictures: int = 40) -> list[Point]:
    """Pictures that are recognised from a quality of their own on; the network saves the same share everywhere."""
    found = []
    for number in range(pictures):
        for quality in (10, 20, 30, 40, 50):
            score = float(quality / 50 >= (number + 0.5) / pictures)
            loss = 1 / quality + number / 1000
            found.append(point(str(number), "none", quality, quality / 50 + number / 500, score, loss))
            bpp = (quality / 50 + number / 500) * (1 - saving)
            found.append(point(str(number), "npp", quality, bpp, score, loss))
    return found


@pytest.mark.parametrize("saving", [0.2, 0.0, -0.3])
def test_the_same_accuracy_for_fewer_bits_is_the_bd_rate(saving: float) -> None:
    (entry,) = summarise(points(saving), [MACHINE])
    assert entry["pictures"] == 40 and entry["machine"] == "net" and entry["labelled"]
    for name in ("score", "loss"):
        rate = entry["bd_rate_percent"][name]
        assert rate["mean"] == pytest.approx(-100 * saving, abs=1e-6)
        assert rate["low"] <= rate["mean"] + 1e-6 and rate["mean"] <= rate["high"] + 1e-6


def test_curves_are_means_over_all_pictures() -> None:
    (entry,) = summarise(points(0.5), [MACHINE])
    third = entry["curves"][2]
    assert third["quality"] == 30 and third["bpp"] == pytest.approx([0.639, 0.3195])
    assert third["score"] == [0.6, 0.6] and third["loss"][0] == pytest.approx(1 / 30 + 0.0195)


def test_pictures_that_cannot_be_scored_are_left_out() -> None:
    more = [
        point("blank", name, quality, 9, None, None) for name in ("none", "npp") for quality in (10, 20, 30, 40, 50)
    ]
    (entry,) = summarise([*points(0.2), *more], [MACHINE])
    assert entry["pictures"] == 40 and entry["curves"][0]["bpp"][0] < 1
    (empty,) = summarise(more, [MACHINE])
    assert empty["pictures"] == 0 and "could be scored" in empty["bd_rate_percent"]["score"]["reason"]


def test_a_flat_curve_has_no_rate_and_says_why() -> None:
    flat = [point(str(n), name, q, q / 50 + n / 500, 1.0, 1 / q) for n in range(4) for name in ("none", "npp")
            for q in (10, 20, 30, 40, 50)]  # fmt: skip
    (entry,) = summarise(flat, [MACHINE])
    assert entry["bd_rate_percent"]["score"]["mean"] is None
    assert "has 1 points, fewer than 4" in entry["bd_rate_percent"]["score"]["reason"]
    assert entry["bd_rate_percent"]["loss"]["mean"] == pytest.approx(0)


def seen(picture, preprocessor, quality, bpp, right: bool, *, objects: int = 1) -> Point:
    """One detection, right or of nothing; it is the surer the better the quality."""
    flags = np.full((1, 10), right)
    matches = Matches(np.zeros(1, dtype=np.int64), np.array([quality / 100]), flags, ~flags & False, {0: objects})
    texts = {"net matches": matches.text()}
    return Point(picture, "0", "jpeg", "Pillow", "1", preprocessor, quality, 100, 100, 0, bpp, 0.0, 0.0,
                 {"net loss": 1 / quality}, texts)  # fmt: skip


def test_detections_of_all_pictures_are_pooled() -> None:
    """Pictures without objects count, too: the score is none of a single picture."""
    made = [
        seen(f"{number:02}", name, quality, quality / 50 * bits + number / 500, quality / 50 > number / 12)
        for number in range(12)
        for name, bits in (("none", 1), ("npp", 0.8))
        for quality in (10, 20, 30, 40, 50)
    ]
    machine = Machine("detection", "net.pt2", "net")
    (entry,) = summarise(made, [machine])
    # 3, 5, 8, 10 and 12 of the 12 are right, and stand first: all are equally sure.
    assert [101 * row["score"][0] for row in entry["curves"]] == pytest.approx([26, 42, 67, 84, 101])
    assert all(row["score"] == pytest.approx(row["ap50"]) for row in entry["curves"])
    for name in ("score", "ap50", "loss"):
        rate = entry["bd_rate_percent"][name]
        assert rate["low"] < rate["mean"] < rate["high"] and rate["mean"] == pytest.approx(-19, abs=1.5)
    empty = [seen("-", name, quality, 1.0, False, objects=0) for name in ("none", "npp")
             for quality in (10, 20, 30, 40, 50)]  # fmt: skip
    (more,) = summarise([*made, *empty], [machine])
    assert more["pictures"] == 13 and more["curves"][2]["score"][0] < entry["curves"][2]["score"][0]
    summary = {"pictures": 12, "points": 120, "encoders": [], "comparisons": [], "machines": [entry]}
    assert "at equal score | at equal ap50 | at equal loss |" in markdown(summary, (), "kcompress bench")


def test_the_report_tells_rates_and_truth() -> None:
    summary = {"pictures": 40, "points": 400, "encoders": [], "comparisons": [],
               "machines": summarise(points(0.2), [MACHINE])}  # fmt: skip
    text = markdown(summary, (), "kcompress bench")
    assert "judged by labels" in text and "| jpeg | npp | net | 40 | -20.0 % (-20.0 .. -20.0) |" in text
    assert "| jpeg | npp | net | 30 | 0.639 -> 0.511 | 0.600 -> 0.600 |" in text


def test_scores_of_a_picture(tmp_path, lake) -> None:
    spec = str(write_classifier(tmp_path / "tiny.safetensors", classes=3))
    pixels = np.ascontiguousarray(lake.pixels[:40, :40])
    own = Machine("classification", spec, "tiny")
    same, texts = own.scorer(pixels, "a")(pixels)
    assert texts == {} and set(same) == {"tiny", "tiny loss"} and same["tiny"] == 1
    right = []
    for label in range(3):
        labelled = Machine("classification", spec, "tiny", {"a": label}, (0, 1, 2))
        right.append(labelled.scorer(pixels, "a")(pixels)[0]["tiny"])
    assert sorted(right) == [0, 0, 1]


def test_the_original_is_looked_at_only_where_its_answer_counts(lake, monkeypatch) -> None:
    pytest.importorskip("rapidfuzz")
    seen = []
    reader = Text(lambda pictures: seen.append(pictures) or encoded("one")[None])
    monkeypatch.setattr(Machine, "ready", lambda machine: reader)
    pixels = np.ascontiguousarray(lake.pixels[:40, :40])
    labelled = Machine("text", "rapidocr", "rapidocr", {"a": "one"}).scorer(pixels, "a")
    assert not seen and labelled(pixels) == ({"rapidocr": 1.0}, {}) and len(seen) == 1
    Machine("text", "rapidocr", "rapidocr").scorer(pixels, "a")
    assert len(seen) == 2
