"""Pictures that are odd, through every command: the same picture and the same note everywhere."""

import struct

import numpy as np
import pytest
from handmade import NAMED, file_of, profile, saved
from pictures import smooth
from PIL import Image

from kcompress.images import read

PIXELS = smooth(72, 64)
DROPPED = "its ICC profile is for another kind of picture and was dropped"
QUICK = ["--metric", "psnr", "--jobs", "1"]


@pytest.fixture
def odd(folder):
    """Pictures with a Lab profile, two of them in a folder."""
    album = folder / "odd"
    album.mkdir()
    lab = profile(b"Lab ", NAMED)
    for name in ("a.png", "b.png"):
        (album / name).write_bytes(file_of(PIXELS, "PNG", icc_profile=lab))
    return album


@pytest.mark.parametrize(
    "command",
    [
        ["encode", "odd/a.png", "-o", "a.webp", "-n", "none"],
        ["decode", "odd/a.png", "-o", "a.tif"],
        ["compare", "odd/a.png", "odd/b.png", "-m", "psnr"],
        ["bench", "odd", "-o", "report", "--codec", "webp", "--network", "none", "--quality", "30,50,70,90", *QUICK],
        ["label", "odd", "-o", "labels", "--pool", "shrink:t=2", "--codec", "webp", "--quality", "60", *QUICK],
    ],
    ids=lambda command: command[0],
)
def test_a_profile_that_does_not_belong_is_noted_by_every_command(run, odd, command):
    ended = run(*command)
    assert DROPPED in " ".join((ended.stderr + ended.stdout.decode(errors="replace")).split())


def test_one_note_for_all_pictures_of_a_bench(run, odd):
    ended = run(
        "bench", "odd", "-o", "report", "--codec", "webp", "--network", "none", "--quality", "30,50,70,90", *QUICK
    )
    assert f"note: a.png and 1 more: {DROPPED}" in " ".join(ended.stderr.split())


def test_a_tiff_with_a_profile_of_the_wrong_type_does_not_end_a_batch(run, folder):
    (folder / "batch").mkdir()
    wrong = bytearray(saved(Image.fromarray(PIXELS), "TIFF", icc_profile=b"x" * 40))
    place = wrong.index(struct.pack("<HH", 34675, 7))
    wrong[place + 2] = 2
    for name, data in (("a.tif", bytes(wrong)), ("b.png", file_of(PIXELS, "PNG"))):
        (folder / "batch" / name).write_bytes(data)
    run("encode", "batch", "-o", "out", "-n", "none", "-c", "webp")
    assert {path.name for path in (folder / "out").rglob("*.webp")} == {"a.webp", "b.webp"}


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0junk", b"Exif\0\0II*\0", b"junk" * 9, b"II*\0\xff\xff\xff\xff" + bytes(30)], ids=range(4)
)
@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp", ".ppm"])
def test_broken_exif_is_dropped_with_a_note(run, folder, exif, suffix):
    (folder / "odd.jpg").write_bytes(file_of(PIXELS, "JPEG", exif=exif))
    ended = run("decode", "odd.jpg", "-o", f"out{suffix}", "--metadata", "all")
    assert "dropped" in ended.stderr or suffix == ".png" or not exif.startswith(b"Exif")
    assert np.array_equal(
        read((folder / f"out{suffix}").read_bytes()).pixels, read((folder / "odd.jpg").read_bytes()).pixels
    )


@pytest.mark.parametrize("suffix", [".ppm", ".bmp"])
def test_a_format_without_profiles_gets_srgb(run, folder, suffix):
    from handmade import ADOBE_RGB

    data = file_of(PIXELS, "PNG", icc_profile=ADOBE_RGB)
    (folder / "wide.png").write_bytes(data)
    ended = run("decode", "wide.png", "-o", f"out{suffix}")
    assert "holds no ICC profile: its colours were converted to sRGB" in " ".join(ended.stderr.split())
    assert np.array_equal(read((folder / f"out{suffix}").read_bytes()).pixels, read(data, metadata="none").pixels)


def test_a_tiff_gets_exif_and_xmp(run, folder):
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    exif[0x0106] = 0  # white is zero: a tag of the file, which must not get into another
    (folder / "odd.jpg").write_bytes(file_of(PIXELS, "JPEG", exif=exif.tobytes(), xmp=b"<x/>"))
    run("decode", "odd.jpg", "-o", "out.tif", "--metadata", "all")
    with Image.open(folder / "out.tif") as picture:
        assert picture.getexif()[0x010F] == "A maker"
        assert picture.tag_v2[700] == b"<x/>"
        assert picture.tag_v2[0x0106] == 2
