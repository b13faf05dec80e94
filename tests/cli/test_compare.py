"""``kcompress compare``: the table, the lines of ``--json``, the page, and what is refused."""

import pytest
from PIL import Image, ImageCms

from kcompress.cli.compare import _show
from kcompress.evaluation.comparison import Comparison, File
from kcompress.metrics import METRICS

COMPARED = {
    "type": str, "original": str, "file": str, "width": int, "height": int, "original_bytes": int, "bytes": int,
    "bpp": float, "scores": dict, "notes": list,
}  # fmt: skip


@pytest.fixture
def others(run, small):
    """A JPEG and a WebP of the small picture."""
    run("encode", "small.png", "-o", "small.jpg", "-q", "20")
    run("encode", "small.png", "-o", "small.webp", "-q", "60")
    return ["small.jpg", "small.webp"]


def test_table(run, small, others, folder):
    done = run("compare", "small.png", *others, "--metric", "psnr,ssimulacra2")
    heading, size, *rows = (line.split() for line in done.stdout.decode().splitlines())
    assert heading == ["file", "small.png", *others]
    assert size[:2] == ["size", f"{small.stat().st_size / 1e3:.3g}"]
    assert [row[0] for row in rows] == ["bpp", "psnr", "ssimulacra2"]
    bpp = 8 * (folder / "small.jpg").stat().st_size / (96 * 64)
    assert rows[0][2] == f"{bpp:.3f}"
    assert done.stderr == ""


@pytest.mark.parametrize("columns", [40, 80, 100, 120])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_neither_names_nor_numbers_are_cut_in_any_terminal(capsys, monkeypatch, columns, count):
    monkeypatch.setenv("COLUMNS", str(columns))
    picture = Image.new("RGB", (40, 30))
    names = [f"IMG_20240714_a_rather_long_name_{number}.jpg" for number in range(count)]
    scores = {name: 10.0**place / 3 for place, name in enumerate(METRICS, -3)}
    before, *after = (File(name, 123456, picture, scores) for name in ("original.png", *names))
    _show(Comparison(before, tuple(after), tuple(METRICS)))
    told = capsys.readouterr().out
    assert all(len(line) <= columns for line in told.splitlines()) and "\u2026" not in told
    assert all(told.count(letter) >= "".join(names).count(letter) for letter in set("".join(names)))
    for name, score in scores.items():
        rows = [row.split() for row in told.splitlines() if row.split()[:1] == [name]]
        assert sum(row.count(f"{score:#.4g}") for row in rows) == count + 1


def test_json(run, others, folder):
    lines = run("compare", "small.png", *others, "--metric", "psnr", "--json").lines
    assert [line["file"] for line in lines] == others
    for line in lines:
        assert [(key, type(value)) for key, value in line.items()] == list(COMPARED.items())
        assert line["bytes"] == (folder / line["file"]).stat().st_size
        assert line["bpp"] == round(8 * line["bytes"] / (96 * 64), 6)
        assert 15 < line["scores"]["psnr"] < 60


def test_all_formats(run, small):
    names = ["a.jpg", "a.webp", "a.heic", "a.hevc", "a.bpg", "a.avif"]
    for name in names:
        run("encode", "small.png", "-o", name)
    lines = run("compare", "small.png", *names, "-m", "psnr", "--json").lines
    assert all(line["scores"]["psnr"] > 20 for line in lines)


def test_an_equal_picture_has_an_infinite_psnr_that_is_json(run, small):
    done = run("compare", "small.png", "small.png", "-m", "psnr", "--json")
    assert done.lines[0]["scores"] == {"psnr": "Infinity"}
    assert b'"Infinity"' in done.stdout
    assert b"inf" in run("compare", "small.png", "small.png", "-m", "psnr").stdout


def test_a_metric_without_reference_scores_the_original_too(run, others, tiny_weights, shipped):
    shipped(tiny_weights)
    told = run("compare", "small.png", *others, "--metric", "vqscore,psnr").stdout.decode().splitlines()
    rows = {name: values for name, *values in map(str.split, told)}
    scores = [float(value) for value in rows["vqscore"]]
    assert len(rows["vqscore"]) == len(rows["psnr"]) + 1  # psnr has none for the original
    assert all(0 < score < 100 for score in scores) and len(set(scores)) == 3
    lines = run("compare", "small.png", *others, "--metric", "vqscore", "--json").lines
    assert [line["scores"]["vqscore"] for line in lines] == pytest.approx(scores[1:], rel=1e-3)


def test_a_metric_without_its_weights_is_left_out_unless_asked_for(run, others, shipped, tmp_path):
    shipped(tmp_path)
    (line, _) = run("compare", "small.png", *others, "--json").lines
    assert "psnr" in line["scores"] and "vqscore" not in line["scores"]
    told = run("compare", "small.png", *others, "-m", "vqscore", expect=7).stderr
    assert "--metric vqscore is not installed. Its weights did not come along" in told


def test_a_metric_needs_larger_pictures(run, others):
    done = run("compare", "small.png", *others)
    assert ["ms-ssim", "-", "-"] in [line.split() for line in done.stdout.decode().splitlines()]
    assert "ms-ssim needs 161 pixels a side" in done.stderr
    (line, _) = run("compare", "small.png", *others, "--json").lines
    assert line["scores"]["ms-ssim"] is None
    assert "96x64" in run("compare", "small.png", *others, "-m", "ms-ssim", expect=4).stderr


def test_sizes_must_be_equal(run, small, photo):
    done = run("compare", "small.png", "photo.png", expect=4)
    assert "photo.png has 333x217 pixels, small.png 96x64" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize("names", ["psnr,nonsense", ","])
def test_metrics_by_wrong_names(run, small, names):
    run("compare", "small.png", "small.png", "-m", names, expect=2)


def test_missing_and_broken_files(run, small, folder):
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    assert "broken.jpg" in run("compare", "small.png", "broken.jpg", expect=3).stderr
    assert "absent.jpg" in run("compare", "small.png", "absent.jpg", expect=3).stderr


def test_stdin(run, others, folder):
    (line, _) = run("compare", "-", *others, "-m", "psnr", "--json", stdin=(folder / "small.png").read_bytes()).lines
    assert line["original"] == "-"


def test_transparency_is_compared_over_white(run, folder):
    picture = Image.new("RGBA", (40, 30), (255, 0, 0, 128))
    picture.save(folder / "half.png")
    Image.new("RGB", (40, 30), (255, 127, 127)).save(folder / "flat.png")
    done = run("compare", "half.png", "flat.png", "-m", "psnr", "--json")
    assert done.lines[0]["scores"]["psnr"] == "Infinity"
    assert (
        "half.png: its transparency was laid over white" in run("compare", "half.png", "flat.png", "-m", "psnr").stderr
    )


def test_profiles_are_applied(run, small, folder):
    """Red and blue exchanged in the pixels and in the profile too: the same colours."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"....", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"....", b"bXYZ", 1)
    with Image.open(small) as picture:
        red, green, blue = picture.convert("RGB").split()
        Image.merge("RGB", (blue, green, red)).save(folder / "exchanged.png", icc_profile=exchanged)
    (line,) = run("compare", "small.png", "exchanged.png", "-m", "psnr", "--json").lines
    assert line["scores"]["psnr"] == "Infinity" or line["scores"]["psnr"] > 45
    assert line["notes"] == ["its colours were converted to sRGB through its ICC profile"]


def test_names_are_no_markup_and_no_terminal_commands(run, small, folder):
    small.rename(folder / "[red]\x1b[31m\udcff.png")
    done = run("compare", "[red]\x1b[31m\udcff.png", "[red]\x1b[31m\udcff.png", "-m", "psnr", "-o", "page.html")
    assert b"[red]\\x1b" in done.stdout and b"\x1b" not in done.stdout
    assert (folder / "page.html").is_file()


def test_page(run, others, folder):
    run("compare", "small.png", *others, "-m", "psnr", "--html", "page.html")
    page = (folder / "page.html").read_text()
    assert all(name in page for name in others)
    told = run("compare", "small.png", *others, "-m", "psnr", "--html", "page.html", expect=5).stderr
    assert "exists" in told and "--skip-existing" not in told
    run("compare", "small.png", *others, "-m", "psnr", "--html", "page.html", "--force")


def test_a_page_overwrites_no_input(run, others, folder):
    before = (folder / "small.webp").read_bytes()
    run("compare", "small.png", *others, "--html", "small.webp", "--force", expect=5)
    assert (folder / "small.webp").read_bytes() == before
    run("compare", "small.png", *others, "--html", "-", expect=2)
    run("compare", "small.png", *others, "--html", ".", expect=2)
