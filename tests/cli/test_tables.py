"""``--tables``: which quantisation tables are written, what is said of them, and what is refused."""

import csv

import pytest
from PIL import Image

from kcompress.codecs.quantisation import STANDARD, learned

FLAT = " ".join(["20"] * 64)


@pytest.fixture
def tables(folder):
    """A file with flat tables, 20 for luma and 30 for chroma at quality 50."""
    (folder / "flat.txt").write_text(f"# luma\n{FLAT}\n# chroma\n{FLAT.replace('2', '3')}\n")
    return "flat.txt"


def written(path):
    with Image.open(path) as picture:
        return tuple(tuple(table) for table in picture.quantization.values())


@pytest.mark.parametrize("options, name, expected", [
    ([], "learned", learned().at(75)),
    (["-q", "40"], "learned", learned().at(40)),
    (["--chroma", "444", "--effort", "0", "--backend", "pillow"], "learned", learned().at(75)),
    (["--strength", "0.5", "--tables", "auto"], "learned", learned().at(75)),
    (["--network", "auto"], "learned", learned().at(75)),
    (["--refine", "2"], "learned", learned().at(75)),
    (["--network", "blend"], "learned", learned().at(75)),
    (["--network", "none", "--tables", "learned"], "learned", learned().at(75)),
    (["--network", "none"], "standard", STANDARD.at(75)),
    (["--network", "none", "--refine", "2"], "standard", STANDARD.at(75)),
    (["--network", "shrink"], "standard", STANDARD.at(75)),
    (["--tables", "standard"], "standard", STANDARD.at(75)),
    (["--tables", "standard", "--network", "auto", "--refine", "2"], "standard", STANDARD.at(75)),
    (["--tables", "flat.txt"], "flat.txt", ((10,) * 64, (15,) * 64)),
    (["--tables", "flat.txt", "-q", "50", "--network", "none"], "flat.txt", ((20,) * 64, (30,) * 64)),
    (["--tables", "flat.txt", "-q", "25", "--network", "auto"], "flat.txt", ((40,) * 64, (60,) * 64)),
    (["--tables", "flat.txt", "--refine", "2"], "flat.txt", ((10,) * 64, (15,) * 64)),
], ids=str)  # fmt: skip
def test_what_is_written_is_what_is_said(run, small, folder, tables, options, name, expected):
    ended = run("encode", "small.png", "-o", "small.jpg", "--json", "--verbose", *options)
    assert written(folder / "small.jpg") == expected
    assert ended.lines[0]["tables"] == name
    assert f", tables {name}, " in ended.stderr


def test_tables_change_the_file_and_both_encoders_agree(run, small, folder, tables):
    for backend in ("pillow", "auto"):
        for kind in ("learned", "standard", tables):
            run("encode", "small.png", "-o", f"{backend}-{kind}.jpg", "--tables", kind, "--backend", backend)
    files = {kind: (folder / f"pillow-{kind}.jpg").read_bytes() for kind in ("learned", "standard", tables)}
    assert len(set(files.values())) == 3
    if run("encode", "small.png", "-o", "which.jpg", "--json").lines[0]["version"].startswith("libjpeg-turbo"):
        assert files == {kind: (folder / f"auto-{kind}.jpg").read_bytes() for kind in files}


def test_grey_has_one_table(run, small, folder, tables):
    with Image.open(small) as picture:
        picture.convert("L").save(folder / "grey.png")
    run("encode", "grey.png", "-o", "grey.jpg", "--tables", tables)
    assert written(folder / "grey.jpg") == ((10,) * 64,)


@pytest.mark.parametrize(("backend", "package"), [("mozjpeg", "pyvips"), ("jpegli", "pyjpegli")])
def test_some_encoders_have_their_own(run, small, folder, tables, backend, package):
    pytest.importorskip(package)
    (line,) = run("encode", "small.png", "--backend", backend, "--json").lines
    assert line["tables"] == "own"
    for kind in ("standard", "learned", tables):
        ended = run("encode", "small.png", "-o", "no.jpg", "--backend", backend, "--tables", kind, expect=2)
        assert f"--tables {kind}" in ended.stderr and backend in ended.stderr
    assert not (folder / "no.jpg").exists()


@pytest.mark.parametrize("codec", ["webp", "hevc", "bpg", "avif"])
def test_tables_are_jpegs(run, small, folder, tables, codec):
    (line,) = run("encode", "small.png", "--codec", codec, "--network", "none", "--tables", "auto", "--json").lines
    assert line["tables"] is None
    for kind in ("standard", "learned", tables):
        ended = run("encode", "small.png", "-o", "no/", "--codec", codec, "--tables", kind, expect=2)
        assert f"--tables {kind}" in ended.stderr and codec in ended.stderr and "--codec jpeg" in ended.stderr
        assert kind in run("bench", ".", "--codec", codec, "--tables", kind, expect=2).stderr
    assert not (folder / "no").exists()


@pytest.mark.parametrize("content, words", [
    ("", "0 numbers"), (FLAT[3:], "63 numbers"), (FLAT + " 0", "0 is no quantiser step"), (FLAT + " 300", "300 is no"),
    ("sixty-four numbers", "sixty-four is no"), (None, "neither auto, standard, learned nor a file"),
])  # fmt: skip
def test_bad_files_are_refused_before_any_work(run, small, folder, content, words):
    if content is not None:
        (folder / "bad.txt").write_text(content)
    for command in (("encode", "small.png", "-o", "no.jpg"), ("bench", ".", "-o", "no.jpg")):
        assert words in run(*command, "--tables", "bad.txt", expect=2).stderr
    assert not (folder / "no.jpg").exists()


def test_a_folder_is_no_file_of_tables(run, album):
    assert "album is neither" in run("encode", "album", "-o", "out/", "--tables", "album", expect=2).stderr


def test_missing_learned_tables_are_told_where_they_are_needed(run, small, folder, monkeypatch):
    from kcompress.inference import weights

    for each in weights.folder().glob("rdo-jpeg.*"):
        (folder / each.name).symlink_to(each)
    monkeypatch.setattr(weights, "folder", lambda: folder)
    ended = run("encode", "small.png", "-o", "no.jpg", expect=9)
    assert "tables-jpeg.json" in ended.stderr and "--tables standard" in ended.stderr
    assert not (folder / "no.jpg").exists()
    run("encode", "small.png", "-o", "plain.jpg", "--network", "none")
    run("encode", "small.png", "-o", "standard.jpg", "--tables", "standard")


def test_bench_gives_each_network_its_tables_and_resumes_with_the_same_alone(run, small, folder, tables):
    (folder / "photos").mkdir()
    small.rename(folder / "photos" / "small.png")
    options = ["--codec", "jpeg", "--network", "none,rdo", "-q", "60", "--metric", "psnr", "-j", "1"]

    def bench(report, *more, expect=0):
        return run("bench", "photos", "-o", report, *options, *more, expect=expect)

    def sizes(report):
        with (folder / report / "points.csv").open(newline="") as file:
            return {row["preprocessor"]: int(row["bytes"]) for row in csv.DictReader(file)}

    def size(*more):
        done = run("encode", "photos/small.png", "-o", "one.jpg", "-f", "-q", "60", "--json", *more)
        return done.lines[0]["output_bytes"]

    for report, kind in (("auto", "auto"), ("flat", tables)):
        bench(report, "--tables", kind)
        assert sizes(report) == {
            "none": size("--network", "none", "--tables", kind, "--effort", "1"),
            "rdo": size("--tables", kind),
        }
        bench(report, "--tables", kind, "--resume")
    for report, kind in (("auto", tables), ("flat", "auto"), ("flat", "standard")):
        refused = bench(report, "--tables", kind, "--resume", expect=2)
        assert "tables or use of none jpeg, rdo jpeg are others" in refused.stderr
    assert "of rdo jpeg are others" in bench("auto", "--tables", "standard", "--resume", expect=2).stderr
