"""``kcompress decode``: back to pixels, or no file at all."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

GOLDEN = Path(__file__).parent.parent / "golden" / "bpg"
SUFFIXES = [".jpg", ".webp", ".heic", ".bpg", ".avif", ".hevc"]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_codec_there_and_back(run, photo, folder, suffix):
    run("encode", "photo.png", "-o", f"packed{suffix}", "--network", "none")
    ended = run("decode", f"packed{suffix}")
    assert ended.stdout == b"" and ended.stderr == ""
    difference = np.abs(pixels(folder / "packed.png")[:217, :333] - pixels(photo))
    assert difference.mean() < 6


def test_a_golden_bpg_file(run, folder):
    (folder / "gold.bpg").write_bytes((GOLDEN / "ycbcr420-q29.bpg").read_bytes())
    run("decode", "gold.bpg", "-o", "gold.png")
    assert (pixels(folder / "gold.png") == pixels(GOLDEN / "ycbcr420-q29.decoded.png")).all()


@pytest.mark.parametrize("suffix, kind", [(".png", "PNG"), (".ppm", "PPM"), (".tif", "TIFF"), (".BMP", "BMP")])
def test_the_formats_that_are_written(run, small, folder, suffix, kind):
    run("encode", "small.png", "-o", "packed.webp")
    run("decode", "packed.webp")
    run("decode", "packed.webp", "-o", f"back{suffix}")
    with Image.open(folder / f"back{suffix}") as picture:
        assert picture.format == kind
    assert (pixels(folder / f"back{suffix}") == pixels(folder / "packed.png")).all()


@pytest.mark.parametrize("name", ["back.jpg", "back.xyz", "back"])
def test_other_formats_are_refused(run, small, folder, name):
    run("encode", "small.png", "-o", "packed.webp")
    ended = run("decode", "packed.webp", "-o", name, expect=2)
    assert ".png .ppm" in ended.stderr
    assert not (folder / name).exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_gives_no_picture(run, small, folder, suffix, share):
    run("encode", "small.png", "-o", f"packed{suffix}")
    whole = (folder / f"packed{suffix}").read_bytes()
    (folder / f"cut{suffix}").write_bytes(whole[: int(len(whole) * share)])
    ended = run("decode", f"cut{suffix}", expect=3)
    assert ended.stderr.startswith(f"kcompress: cut{suffix} ")
    assert not (folder / "cut.png").exists()


def test_an_existing_file_needs_force(run, small, folder):
    run("encode", "small.png", "-o", "packed.webp")
    (folder / "packed.png").write_text("precious")
    run("decode", "packed.webp", expect=5)
    assert (folder / "packed.png").read_text() == "precious"
    run("decode", "packed.webp", "--force")
    assert pixels(folder / "packed.png").shape == (64, 96, 3)


@pytest.mark.parametrize("suffix", [".webp", ".heic", ".bpg", ".avif"])
def test_alpha_comes_back(run, small, folder, suffix):
    with Image.open(small) as picture:
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(folder / "veil.png")
    run("encode", "veil.png", "-o", f"veil{suffix}")
    run("decode", f"veil{suffix}", "-o", "back.png")
    assert np.abs(pixels(folder / "back.png")[:, :, 3] - pixels(folder / "veil.png")[:, :, 3]).mean() < 6
    ended = run("decode", f"veil{suffix}", "-o", "back.bmp", expect=2)
    assert ".png" in ended.stderr
    assert not (folder / "back.bmp").exists()


def test_a_folder_without_results(run, album):
    assert "no picture was found in album" in run("decode", "album", expect=3).stderr  # of those that encode writes


def test_a_missing_file(run):
    assert "nothing.jpg does not exist" in run("decode", "nothing.jpg", expect=3).stderr


@pytest.mark.parametrize("suffix", [".hevc", ".bpg"])
def test_a_frame_of_what_has_only_one(run, small, folder, suffix):
    run("encode", "small.png", "-o", f"packed{suffix}")
    run("decode", f"packed{suffix}", "--frame", "0", "-o", "first.png")
    assert "Leave --frame out." in run("decode", f"packed{suffix}", "--frame", "1", expect=2).stderr


def test_several_files_and_folders(run, album, folder):
    run("encode", "album", "-o", "small", "-c", "webp", "-n", "none")
    run("encode", "album/a.png", "-o", "one.bpg", "-n", "none")
    ended = run("decode", "small", "one.bpg", "-o", "back")
    assert ended.stderr.splitlines()[-1] == "5 of 5 pictures are decoded"
    found = sorted(str(path.relative_to(folder / "back")) for path in (folder / "back").rglob("*.png"))
    assert found == ["a.png", "b.png", "deep/c.png", "deep/er/d.png", "one.png"]
    assert (pixels(folder / "back" / "a.png") == pixels(folder / "small" / "a.webp")).all()


def test_one_that_fails_among_several(run, album, folder):
    run("encode", "album", "-o", "small", "-c", "webp", "-n", "none")
    cut = (folder / "small" / "b.webp").read_bytes()[:-30]
    (folder / "small" / "b.webp").write_bytes(cut)
    ended = run("decode", "small", expect=1)
    assert "3 of 4 pictures are decoded" in ended.stderr
    assert [line.split()[1] for line in ended.stderr.splitlines() if line.startswith("failed: ")] == ["small/b.webp"]
    assert not (folder / "small" / "b.png").exists()
    again = run("decode", "small", "--skip-existing", expect=3)
    assert again.stderr.splitlines()[0] == "3 of 4 pictures are there already"
