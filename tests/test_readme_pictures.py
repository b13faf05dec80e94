"""The README's chart and before/after picture are made by commands that do what they say."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import before_after, chart, known_originals, presets, strengths
from PIL import Image as PillowImage

from kcompress.codecs import CODECS
from kcompress.csv_rows import Rows
from kcompress.encoding import encode
from kcompress.evaluation.points import Point
from kcompress.images import Image, write
from kcompress.networks.loading import load
from kcompress.presets import PRESETS, Preset, resolved
from kcompress.programs import CWEBP
from kcompress.rate_distortion.scoring import FileScorer
from kcompress.training.distortions import compression, noise, through

WEIGHTS = Path(__file__).parent.parent / "weights"
STORED = Path(chart.__file__).with_name("equal-quality.json")
OF_PRESETS = STORED.with_name("presets.json")
SCORES = [{"ssimulacra2": 30.0 + 20 * n, "butteraugli": 4.0 - n, "psnr": 28.0 + 3 * n} for n in range(4)]
PLAIN = Point("a.png", "", "jpeg", "cjpeg", "2.1", "none", 0, 100, 100, 0, 0.0, 0.0, 0.0, {})


def _bench(folder: Path, shares: dict[str, float], backend: str) -> Path:
    """A folder whose preprocessors take these shares of 1, 2, 4 and 8 bits per pixel, for two pictures."""
    points = [
        replace(
            PLAIN, picture=picture, backend=backend, preprocessor=name, quality=n, bpp=share * 2.0**n, scores=scores
        )
        for picture in ("a.png", "b.png")
        for name, share in shares.items()
        for n, scores in enumerate(SCORES)
    ]
    folder.mkdir()
    Rows(Point, list(SCORES[0])).write(folder / "points.csv", points)
    (folder / "summary.json").write_text(json.dumps({"command": f"kcompress bench into {folder.name}"}))
    return folder


def _run(monkeypatch: pytest.MonkeyPatch, module: object, *arguments: Path | str) -> None:
    monkeypatch.setattr(sys, "argv", ["", *map(str, arguments)])
    module.main()  # type: ignore[attr-defined]


def test_rows_are_held_against_the_first_plain_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _bench(tmp_path / "first", {"none": 1.0, "rdo": 0.9}, "cjpeg")
    second = _bench(tmp_path / "second", {"none": 0.8, "rdo": 0.7}, "mozjpeg")
    _run(monkeypatch, chart, first, second, WEIGHTS / "feedback-webp.json", "-o", tmp_path / "chart.png")
    rows = json.loads((tmp_path / "chart.json").read_text())["rows"]
    assert chart.shown(rows) == ["ssimulacra2", "butteraugli", "psnr"]
    assert [chart.label(row) for row in rows] == [
        "JPEG by libjpeg-turbo, rdo", "JPEG by mozjpeg", "JPEG by mozjpeg, rdo", "WebP, feedback",
    ]  # fmt: skip
    for row, mean in zip(rows, (-10, -20, -30), strict=False):
        for figures in row["bd_rate_percent"].values():
            assert figures == {"mean": mean, "low": mean, "high": mean, "pictures": 2, "refused": 0}
    card = json.loads((WEIGHTS / "feedback-webp.json").read_text())["measured"]["BD-rate % (mean, 95 % interval)"]
    assert list(rows[3]["bd_rate_percent"]["psnr"].values()) == card["feedback"]["psnr"]


def test_peers_are_named_and_paler_and_may_lack_pictures(tmp_path: Path) -> None:
    folder = _bench(tmp_path / "bench", {"none": 1.0, "rdo": 0.7, "jpegli": 0.8}, "cjpeg")
    lines = (folder / "points.csv").read_text().splitlines()
    kept = [line for line in lines if not ("b.png" in line and "jpegli" in line)]
    (folder / "points.csv").write_text("\n".join(kept) + "\n")
    rows = chart.benches([folder], {})
    assert [chart.label(row) for row in rows] == ["JPEG by libjpeg-turbo, rdo", "JPEG: jpegli"]
    assert [row["bd_rate_percent"]["psnr"]["mean"] for row in rows] == [-30, -20]
    assert [row["bd_rate_percent"]["psnr"]["pictures"] for row in rows] == [2, 1]
    (axes,) = chart.drawn(rows).axes
    assert [bar.get_alpha() for bar in axes.patches] == [1, chart.PALE] * 3
    assert "(JPEG: libjpeg-turbo)" in axes.get_xlabel()
    rows = chart.benches([folder], {"jpeg": "jpegli"})
    assert [chart.label(row) for row in rows] == ["JPEG by libjpeg-turbo, no network", "JPEG by libjpeg-turbo, rdo"]
    assert [row["bd_rate_percent"]["psnr"]["mean"] for row in rows] == [25, -12.5]
    assert "(JPEG: jpegli)" in chart.drawn(rows).axes[0].get_xlabel()


def test_bars_are_as_long_as_the_figures_and_come_back_from_the_stored_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = json.loads(STORED.read_text())["rows"]
    (axes,) = chart.drawn(rows).axes
    widths = [bar.get_width() for bar in axes.patches]
    assert widths == [row["bd_rate_percent"][metric]["mean"] for metric in chart.shown(rows) for row in rows]
    _run(monkeypatch, chart, STORED, "-o", tmp_path / "again.png")
    with PillowImage.open(tmp_path / "again.png") as again, PillowImage.open(STORED.with_suffix(".png")) as stored:
        assert again.size == stored.size
    assert [path.name for path in tmp_path.iterdir()] == ["again.png"]


def test_the_chart_is_as_new_as_the_cards() -> None:
    for row in json.loads(STORED.read_text())["rows"]:
        if (WEIGHTS / row["source"]).suffix == ".json":
            assert row == chart.measured(WEIGHTS / row["source"])


def test_ours_is_the_best_quality_that_is_no_larger(balloons: Image) -> None:
    codec = CODECS["jpeg"]
    plain = encode(balloons, codec, codec.setting(25))
    quality, ours = before_after.no_larger(balloons, plain)
    better = encode(balloons, codec, codec.setting(quality + 1), load("rdo", device="cpu", codec="jpeg"))
    assert quality > 25 and len(ours.data) <= len(plain.data) < len(better.data)


def test_the_before_and_after_picture_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for noise_options in ((), ("--noise", "10", "--network", "kuchen", "--strength", "0.75", "-q", "75")):
        _run(monkeypatch, before_after, *noise_options, "-o", tmp_path / "picture.png")
        with PillowImage.open(tmp_path / "picture.png") as picture:
            assert picture.size == (800, 275)


def test_of_a_noisy_picture_kuchen_keeps_more_in_no_more_bytes(balloons: Image) -> None:
    codec = CODECS["jpeg"]
    noisy = balloons.with_pixels(through(balloons.pixels, [noise(10, 0, seed=0), compression("jpeg", 85)]))
    plain = encode(noisy, codec, codec.setting(75))
    quality, ours = before_after.no_larger(noisy, plain, "kuchen", 0.75)
    score = FileScorer(balloons, ("ssimulacra2",))
    assert quality > 75 and len(ours.data) <= len(plain.data)
    assert score(ours.data)["ssimulacra2"] > score(plain.data)["ssimulacra2"] + 10


def test_strengths_are_held_against_the_plain_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], balloons: Image
) -> None:
    (tmp_path / "photo.png").write_bytes(write(balloons, "PNG"))
    rows = []
    for added in ("0", "10"):
        _run(monkeypatch, strengths, tmp_path, "--strengths", "0,1", "--filters", "sharpen", "--side", "128",
             "--noise", added)  # fmt: skip
        cells = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[4:])
        rows.append({name: [float(word.split()[0]) for word in cell.split(", ")] for name, cell in cells})
    clean, noisy = rows
    assert list(clean) == ["`none`", "`kuchen`, 0", "`kuchen`, 1", "`rdo`", "`sharpen`"]
    for found in rows:
        assert found["`kuchen`, 0"] == [0, 0, 0]
        assert found["`kuchen`, 1"][0] < -2 and found["`rdo`"][0] < -2 and found["`sharpen`"][0] > 2
    assert noisy["`none`"][0] > clean["`none`"][0] and noisy["`none`"][2] < clean["`none`"][2]
    assert noisy["`kuchen`, 1"][2] > 0 > clean["`kuchen`, 1"][2]


def test_strengths_are_behind_the_tables_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], balloons: Image
) -> None:
    (tmp_path / "photo.png").write_bytes(write(balloons, "PNG"))
    _run(monkeypatch, strengths, tmp_path, "--network", "blend", "--strengths", "0", "--filters", "sharpen",
         "--side", "64")  # fmt: skip
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| `blend`, 0 |"))
    assert float(row.split(" | ")[1].split()[0]) != 0


@pytest.mark.parametrize("tables", [(), ("--tables", "learned")], ids=["auto", "learned"])
def test_what_filters_gain_is_told_by_what_pictures_were_before_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], balloons: Image,
    tables: tuple[str, ...],
) -> None:  # fmt: skip
    for number, top in enumerate((0, 64)):
        image = balloons.with_pixels(balloons.pixels[top : top + 128, :128].copy())
        (tmp_path / f"{number}.png").write_bytes(write(image, "PNG"))
    _run(monkeypatch, known_originals, tmp_path, "--networks", "none", "--filters", "guided:h=12,sharpen",
         "--noise", "0,10", "-q", "40,60,80", "--metrics", "ssimulacra2", *tables)  # fmt: skip
    cells = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[4:]]
    found = {(noise, name): float(rise.split()[0]) for noise, name, rise in cells}
    assert found["0", "`none`"] == found["10", "`none`"] == 0
    assert found["10", "`guided:h=12`"] > 2 > found["0", "`guided:h=12`"] and found["10", "`sharpen`"] < 0
    every = [[float(word) for word in rise.split(" ", 1)[1].strip("()").split(" .. ")] for _, _, rise in cells]
    assert all(low <= value <= high for (low, high), value in zip(every, found.values(), strict=True))


@pytest.mark.encoders
@pytest.mark.skipif(CWEBP.version() is None, reason="needs cwebp, which the others are measured against")
def test_presets_are_measured_and_kept_codec_by_codec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS["fast"], "webp", Preset("none", 0))
    monkeypatch.setitem(PRESETS["best"], "webp", Preset("shrink", 0))
    (tmp_path / "photos").mkdir()
    balloons = Path(__file__).parent / "images" / "balloons-333x217.png"
    (tmp_path / "photos" / balloons.name).write_bytes(balloons.read_bytes())
    stale = json.loads(OF_PRESETS.read_text())["rows"]
    (tmp_path / "chart.json").write_text(json.dumps({"rows": [{**row, "encoder": "old"} for row in stale]}))
    _run(monkeypatch, presets, tmp_path / "photos", "--codec", "webp", "--side", "200", "-o", tmp_path / "chart.png")
    rows = json.loads((tmp_path / "chart.json").read_text())["rows"]
    ours = {row["name"]: row for row in rows if row["codec"] == "webp"}
    assert [row["encoder"] == "old" for row in rows] == [row["codec"] != "webp" for row in rows]
    assert [row["codec"] for row in rows] == [row["codec"] for row in stale]
    assert ours["fast"]["encoder"].endswith("effort 0, none") and ours["best"]["encoder"].endswith("effort 0, shrink")
    assert set(ours["cwebp"]["bd_rate_percent"].values()) == {0}
    assert ours["fast"]["bd_rate_percent"]["mix"] > ours["default"]["bd_rate_percent"]["mix"]
    assert 0 < ours["fast"]["seconds_per_megapixel"] < ours["default"]["seconds_per_megapixel"]


def test_the_chart_of_presets_is_as_new_as_their_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.loads(OF_PRESETS.read_text())["rows"]
    for codec in CODECS:
        encoders = {row["name"]: row["encoder"] for row in rows if row["codec"] == codec}
        assert {*PRESETS, presets.REFERENCES[codec]} <= set(encoders)
        for name in PRESETS:
            choice = resolved(name, codec, "auto", None, None, None)
            told = [f"effort {CODECS[codec].setting(effort=choice.effort).effort}", choice.network]
            told += [f"refine {choice.refine}"] if choice.refine else []
            assert encoders[name].split(", ")[-len(told) :] == told, f"measure {codec} again"
    panels = presets.drawn(rows).axes
    for codec, axes in zip(CODECS, panels, strict=False):
        ours = [row for row in rows if row["codec"] == codec and row["name"] in PRESETS]
        assert list(axes.lines[0].get_ydata()) == [row["bd_rate_percent"]["ssimulacra2"] for row in ours]
        assert list(axes.lines[0].get_xdata()) == [row["seconds_per_megapixel"] for row in ours]
    _run(monkeypatch, presets, OF_PRESETS, "-o", tmp_path / "again.png")
    with PillowImage.open(tmp_path / "again.png") as again, PillowImage.open(OF_PRESETS.with_suffix(".png")) as stored:
        assert again.size == stored.size
