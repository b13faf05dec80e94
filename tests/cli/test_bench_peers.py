"""``bench --peers``: other encoders in the same table, plot and CSV file."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from kcompress.evaluation.peers import PEERS

LAKE = Path(__file__).parents[1] / "images" / "lake.png"
OPTIONS = ["-o", "report", "--codec", "jpeg", "--network", "none,shrink", "-q", "30,50,70,90", "--metric", "psnr"]


@pytest.fixture
def photos(folder: Path) -> Path:
    place = folder / "photos"
    place.mkdir()
    lake = Pil.open(LAKE).convert("RGB")
    lake.crop((0, 0, 160, 128)).save(place / "colour.png")
    lake.crop((300, 200, 460, 330)).convert("L").save(place / "grey.png")
    return place


@pytest.fixture
def here(monkeypatch) -> None:
    """A peer that every machine has, and two that no machine has."""
    # Under another name, as the plain encoder itself is passed by.
    twin = replace(PEERS["libjpeg-turbo"], name="twin", takes=lambda image: not image.grey)
    monkeypatch.setitem(PEERS, "twin", twin)
    for name in ("mozjpeg", "jpegli"):
        monkeypatch.setitem(PEERS, name, replace(PEERS[name], version=lambda: None))


def points(report: Path) -> list[dict[str, str]]:
    with (report / "points.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_peers_meet_the_plain_codec_s_bits(run, photos, folder, here):
    ended = run("bench", "photos", *OPTIONS, "--peers", "--match-bpp", "-j", "1")
    assert "looking for qualities" not in ended.stderr
    rows = {row["preprocessor"]: {} for row in points(folder / "report")}
    for row in points(folder / "report"):
        rows[row["preprocessor"]].setdefault(row["picture"], []).append((row["quality"], row["bytes"]))
    assert rows["twin"]["colour.png"] == rows["none"]["colour.png"], "it is the plain encoder"
    assert "at qualities that take the plain codec&#39;s bits: twin" in (folder / "report" / "report.html").read_text()


def test_peers_stand_beside_ours(run, photos, folder, here):
    ended = run("bench", "photos", *OPTIONS, "--peers", "-j", "1")
    report = folder / "report"
    found = points(report)
    assert list(found[0])[:7] == ["picture", "sha256", "codec", "backend", "version", "preprocessor", "quality"]
    assert list(found[0])[7:-1] == ["width", "height", "bytes", "bpp", "preprocess_seconds", "encode_seconds"]
    counts = {name: [row["preprocessor"] for row in found].count(name) for name in ("none", "shrink", "twin")}
    assert counts == {"none": 8, "shrink": 8, "twin": 4}, "it does not take the grey picture"
    assert {(row["codec"], row["backend"]) for row in found if row["preprocessor"] == "twin"} == {("jpeg", "twin")}
    # It is the plain encoder, and so at the same qualities.
    summary = json.loads((report / "summary.json").read_text())
    entries = {entry["preprocessor"]: entry for entry in summary["comparisons"]}
    assert entries["twin"]["bd_rate_percent"]["psnr"]["mean"] == pytest.approx(0, abs=1e-9)
    assert entries["twin"]["same_quality"] == [] and entries["shrink"]["same_quality"]
    # Held against it, ours is what it is against the plain encoder, which the two are.
    against = {entry["preprocessor"]: entry for entry in summary["against_peers"]}
    assert list(against) == ["none", "shrink"] and {entry["against"] for entry in against.values()} == {"twin"}
    found = against["shrink"]["bd_rate_percent"]["psnr"]
    assert list(found["pictures"]) == ["colour.png"]
    assert found["mean"] == pytest.approx(entries["shrink"]["bd_rate_percent"]["psnr"]["pictures"]["colour.png"])
    for name in ("mozjpeg", "jpegli"):
        assert f"note: {name} is no peer here, as it is not installed. {PEERS[name].install}" in ended.stderr
    for text in ((report / "report.md").read_text(), (report / "report.html").read_text()):
        assert "Encoders as their own users run them" in text and "BD-rate against each of these" in text
    row = f"| twin | jpeg | shrink | {found['mean']:+.1f} % ({found['low']:+.1f} .. {found['high']:+.1f}) |"
    assert row in (report / "report.md").read_text()
    assert "twin" not in (report / "report.md").read_text().split("side by side")[1].split("Wall time")[0]
    before = (report / "points.csv").read_bytes()
    assert "looking for" not in run("bench", "photos", *OPTIONS, "--peers", "-j", "1", "--resume").stderr
    assert (report / "points.csv").read_bytes() == before


def test_without_the_option_there_is_none(run, photos, folder, here):
    run("bench", "photos", *OPTIONS, "-j", "1")
    assert {row["preprocessor"] for row in points(folder / "report")} == {"none", "shrink"}
    assert "Encoders as" not in (folder / "report" / "report.md").read_text()
    assert json.loads((folder / "report" / "summary.json").read_text())["against_peers"] == []


@pytest.mark.parametrize(
    "ladders",
    [{"jpeg nobody 30": [1]}, {"jpeg twin 30": [101]}, {"jpeg twin 30": ["x"]}, {"bpg constant-qp 30": [52]}],
)
def test_a_damaged_memory_is_refused(run, photos, folder, here, ladders):
    (folder / "report").mkdir()
    (folder / "report" / "plan.json").write_text(json.dumps({"ladders": ladders, "weights": {}}))
    ended = run("bench", "photos", *OPTIONS, "--peers", "--resume", expect=3)
    assert "plan.json is no plan of a bench" in ended.stderr


def test_machines_do_not_judge_peers(run, photos):
    options = ["--peers", "--task", "classification", "--model", "classifier-inverted"]
    assert "--peers are judged by metrics" in run("bench", "photos", *OPTIONS, *options, expect=2).stderr


def test_peers_of_a_codec_that_has_none_of_its_own(run, folder):
    """AVIF stands beside BPG, whose scale runs the other way; x265 at a constant QP has that scale."""
    (folder / "photos").mkdir()
    pixels = np.asarray(Pil.open(LAKE).convert("RGB"))[:96, :128]
    Pil.fromarray(pixels).save(folder / "photos" / "small.png")
    run("bench", "photos", "-o", "report", "--codec", "bpg", "--network", "none", "-q", "25,35", "--metric", "psnr",
        "--peers", "-j", "1")  # fmt: skip
    found = [row for row in points(folder / "report") if row["preprocessor"] == "libavif"]
    assert [row["codec"] for row in found] == ["bpg"] * 2
    assert all(int(row["quality"]) > 51 or float(row["psnr"]) > 20 for row in found)
    plain, constant = (
        [int(row["quality"]) for row in points(folder / "report") if row["preprocessor"] == name]
        for name in ("none", "constant-qp")
    )
    assert plain == [25, 35] and np.abs(np.subtract(sorted(constant), plain)).max() <= 3
    run("bench", "photos", "-o", "report", "--codec", "bpg", "--network", "none", "-q", "25,35", "--metric", "psnr",
        "--peers", "-j", "1", "--resume")  # fmt: skip
