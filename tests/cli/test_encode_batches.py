"""``--dry-run``, ``--files-from``, ``--include``, ``--exclude`` and ``--report``."""

import csv
import re

import pytest
from PIL import Image


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_dry_run_writes_nothing_and_tells_sizes(run, album, folder):
    (album / "broken.png").write_bytes(b"broken")
    before = names(folder)
    ended = run("encode", "album", "missing.png", "-o", "out", "-c", "webp", "-n", "none", "--dry-run", "--json")
    assert names(folder) == before
    lines = {line["input"]: line for line in ended.lines}
    assert [line["type"] for line in ended.lines] == ["planned"] * 6
    assert "would fail" in lines["missing.png"]["message"] and "would fail" in lines["album/broken.png"]["message"]
    assert "nothing was written" in ended.stderr
    real = run("encode", "album", "-o", "out", "-c", "webp", "-n", "none", "--json", expect=1).lines
    for line in real[:-1]:
        if line["type"] == "encoded":
            told = lines[line["input"]]
            assert (
                told["measured"] and told["output_bytes"] == line["output_bytes"] and told["output"] == line["output"]
            )


def test_what_is_not_in_the_sample_is_estimated(run, small, folder):
    (folder / "many").mkdir()
    with Image.open(small) as picture:
        for number in range(20):
            picture.rotate(number).save(folder / "many" / f"{number:02}.png")
    lines = run("encode", "many", "-o", "out", "-n", "none", "--dry-run", "--json").lines
    assert [line["measured"] for line in lines].count(True) == 8
    real = run("encode", "many", "-o", "out", "-n", "none", "--json").lines
    total = sum(line["output_bytes"] for line in lines)
    assert total == pytest.approx(real[-1]["output_bytes"], rel=0.1)
    assert "about" in run("encode", "many", "-o", "other", "-n", "none", "--dry-run").stderr


@pytest.mark.parametrize("end", ["\n", "\0"])
def test_names_from_a_list(run, album, folder, end):
    listed = f"album/a.png{end}album/deep{end}".encode()
    null = ["-0"] if end == "\0" else []
    run("encode", "--files-from", "-", *null, "-o", "out", "-n", "none", stdin=listed)
    assert names(folder / "out") == ["a.jpg", "c.jpg", "er/d.jpg"]
    (folder / "list.txt").write_bytes(listed)
    run("encode", "album/b.png", "--files-from", "list.txt", *null, "-o", "two", "-n", "none")
    assert names(folder / "two") == ["a.jpg", "b.jpg", "c.jpg", "er/d.jpg"]


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["--include", "[ab].png"], ["a.jpg", "b.jpg"]),
        (["--include", "deep/*"], ["deep/c.jpg", "deep/er/d.jpg"]),
        (["--exclude", "deep/*"], ["a.jpg", "b.jpg"]),
        (["--exclude", "a.*", "--exclude", "d.*"], ["b.jpg", "deep/c.jpg"]),
        (["--include", "*", "--exclude", "*/er/*"], ["a.jpg", "b.jpg", "deep/c.jpg"]),
    ],
)
def test_globs_choose_among_the_files_of_folders(run, album, folder, options, made):
    run("encode", "album", "-o", "out", "-n", "none", *options)
    assert names(folder / "out") == made
    assert "leave none of 4 pictures" in run("encode", "album", "--include", "*.tif", expect=3).stderr
    run("encode", "album/a.png", "-o", "named.jpg", "-n", "none", "--exclude", "a.png")


def test_a_table_of_all_results(run, album, folder):
    (album / "b.png").write_bytes(b"broken")
    lines = run("encode", "album", "-o", "out", "-n", "none", "--report", "all.csv", "--json", expect=1).lines
    with (folder / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and "cannot be read" in rows[1]["error"]
    for row, line in zip(rows, lines[:-1], strict=True):
        assert row["input"] == line["input"]
        if line["type"] == "encoded":
            assert int(row["output_bytes"]) == line["output_bytes"] and row["network"] == "none" and not row["error"]


def test_a_contact_sheet_has_the_worst_first(run, album, folder):
    with Image.open(album / "a.png") as picture:
        picture.resize((12, 8)).resize((96, 64), Image.Resampling.BILINEAR).save(album / "smooth.png")
    (album / "b.png").write_bytes(b"<broken>")
    options = ("-o", "out", "-n", "none", "-q", "40", "--max-side", "80")
    run("encode", "album", *options, "--report", "sheet.html", "--report", "all.csv", expect=1)
    page = (folder / "sheet.html").read_text()
    scores = [float(text) for text in re.findall(r"<strong>(-?[\d.]+)</strong>", page)]
    assert len(scores) == 4 and scores == sorted(scores) and page.count("data:image/jpeg;base64,") == 8
    assert page.index("smooth.jpg") > page.index("a.jpg") and "Failed" in page and 'href="out/a.jpg"' in page
    assert "http" not in re.sub(r"data:[^\"]*", "", page)
    assert (folder / "all.csv").is_file()


def test_reports_are_not_replaced_unasked(run, small, folder):
    (folder / "all.csv").write_text("precious")
    assert "all.csv exists" in run("encode", "small.png", "--report", "all.csv", expect=5).stderr
    assert (folder / "all.csv").read_text() == "precious" and not (folder / "small.jpg").exists()
    run("encode", "small.png", "--report", "all.csv", "--force", "-n", "none")
    assert "small.jpg" in (folder / "all.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no picture is named"]),
        (["small.png", "-0"], ["-0 belongs to --files-from"]),
        (["-", "--files-from", "-"], ["stdin cannot be a picture and the list"]),
        (["small.png", "--report", "all.txt"], [".csv or .html"]),
        (["small.png", "--report", "all.csv", "--dry-run"], ["--report all.csv", "--dry-run has none"]),
        (["small.png", "--report", "all.csv", "-o", "-"], ["stdout has none"]),
    ],
)
def test_nonsense_is_refused(run, small, folder, arguments, words):
    ended = run("encode", *arguments, expect=2)
    assert all(word in ended.stderr for word in words), ended.stderr
    assert list(folder.iterdir()) == [small]


def test_a_list_that_is_not_there(run, folder):
    assert "none.txt cannot be read" in run("encode", "--files-from", "none.txt", expect=3).stderr
