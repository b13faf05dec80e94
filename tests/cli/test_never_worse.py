"""``--min-saving``, an input's own quality, lossless files of drawings, ``--max-side`` and ``--scale``."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

ADOBE_LIKE = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@pytest.fixture
def camera(photo, folder):
    """A JPEG of a camera: baseline, turned, with EXIF that tells something."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "secret"
    with Image.open(photo) as picture:
        picture.save(folder / "camera.jpg", quality=70, exif=exif)
    return folder / "camera.jpg"


@pytest.fixture
def page(folder):
    """Text and flat colours."""
    picture = Image.new("RGB", (300, 200), "white")
    draw = ImageDraw.Draw(picture)
    for row in range(14):
        draw.text((8, 4 + 14 * row), f"The quick brown fox jumps over {row} lazy dogs", fill=(10 * row, 0, 90))
    draw.rectangle((230, 40, 290, 150), fill=(200, 30, 30))
    picture.save(folder / "page.png", optimize=True)
    return folder / "page.png"


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("quality", ["70", "75", "98"])
def test_a_jpeg_is_not_coded_again_at_its_own_quality(run, camera, folder, quality):
    ended = run("encode", "camera.jpg", "-o", "out.jpg", "-q", quality, "--json")
    (line,) = ended.lines
    data = (folder / "out.jpg").read_bytes()
    assert line["kept"] == "original" and line["network"] == "none" and line["saving"] > 0
    assert np.array_equal(pixels(data), pixels(camera.read_bytes()))
    assert b"secret" not in data and Image.open(io.BytesIO(data)).getexif()[0x0112] == 6
    assert "original kept" in ended.stderr and "not below the input's own quality" in ended.stderr
    assert (line["width"], line["height"]) == (217, 333)


def test_below_its_own_quality_it_is(run, camera, folder):
    (line,) = run("encode", "camera.jpg", "-o", "out.jpg", "-q", "30", "--json").lines
    assert line["kept"] is None and line["network"] == "rdo-jpeg" and line["saving"] > 0.3


def test_off_encodes_in_any_case(run, camera, folder):
    (line,) = run("encode", "camera.jpg", "-o", "out.jpg", "-q", "75", "--min-saving", "off", "--json").lines
    assert line["kept"] is None and line["network"] == "rdo-jpeg" and line["quality"] == 75


def test_what_saves_too_little_is_not_taken(run, camera, folder):
    for saving, kept in (("2", None), ("95", "original")):
        line = run("encode", "camera.jpg", "-o", "out.jpg", "-q", "50", "--min-saving", saving, "--json", "-f").lines[0]
        assert line["kept"] == kept
    assert "would not be smaller by 95 %" in line["notes"][-1]


def test_bytes_of_metadata_are_no_saving(run, photo, folder):
    """What is left without them is what the result must be smaller than."""
    with Image.open(photo) as picture:
        picture.save(folder / "told.jpg", quality=40, comment=b"x" * 60_000)
    (line,) = run("encode", "told.jpg", "-o", "out.jpg", "-q", "39", "--json").lines
    assert line["saving"] > 0.6
    plain = run("encode", "told.jpg", "-o", "plain.jpg", "-q", "39", "--min-saving", "off", "--json").lines[0]
    assert line["output_bytes"] <= plain["output_bytes"]


@pytest.mark.parametrize("codec", ["webp", "hevc"])
def test_other_codecs_keep_the_original_too(run, photo, folder, codec):
    run("encode", "photo.png", "-o", "small.x/", "-c", codec, "-q", "20" if codec == "webp" else "40")
    (small,) = (folder / "small.x").iterdir()
    (line,) = run("encode", str(small), "-o", "out/", "-c", codec, "--json").lines
    assert line["kept"] == "original" and (folder / line["output"]).read_bytes() == small.read_bytes()


@pytest.mark.parametrize("codec", ["hevc", "avif"])
def test_metadata_of_heic_and_avif_go_without_another_encode(run, camera, folder, codec):
    run("encode", "camera.jpg", "-o", "told/", "-c", codec, "--metadata", "all")
    (told,) = (folder / "told").iterdir()
    for policy in ("icc", "none"):
        (line,) = run("encode", str(told), "-o", f"{policy}/", "-c", codec, "--metadata", policy, "--json").lines
        found = (folder / line["output"]).read_bytes()
        assert line["kept"] == "original" and b"secret" in told.read_bytes() and b"secret" not in found
        assert any("EXIF was left out" in note for note in line["notes"]) == (policy == "icc")
        (judged,) = run("compare", str(told), line["output"], "--metric", "psnr", "--json").lines
        assert judged["scores"]["psnr"] == "Infinity"


def test_where_more_than_the_quality_changes_it_is_coded_by_its_own_tables(run, camera, folder):
    (line,) = run("encode", "camera.jpg", "-o", "out.jpg", "--effort", "0", "--json").lines
    assert (line["kept"], line["tables"], line["quality"], line["network"]) == (None, "input", 70, "none")
    assert Image.open(folder / "out.jpg").quantization == Image.open(camera).quantization
    assert any("which was taken" in note for note in line["notes"])


def test_a_profile_that_is_to_go_is_converted(run, photo, folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = bytearray(profile)
    place = wide.find(b"gXYZ", 128)
    start = int.from_bytes(wide[place + 4 : place + 8], "big")
    wide[start + 8 : start + 12] = (30000).to_bytes(4, "big")  # a green that is another one
    with Image.open(photo) as picture:
        picture.save(folder / "wide.jpg", quality=70, icc_profile=bytes(wide))
    (line,) = run("encode", "wide.jpg", "-o", "none.jpg", "--metadata", "none", "--json").lines
    assert line["kept"] is None and "icc_profile" not in Image.open(folder / "none.jpg").info
    (line,) = run("encode", "wide.jpg", "-o", "icc.jpg", "--json").lines
    assert line["kept"] == "original" and Image.open(folder / "icc.jpg").info["icc_profile"] == bytes(wide)


def test_a_target_that_the_input_holds_better(run, camera, folder):
    (line,) = run("encode", "camera.jpg", "-o", "out.jpg", "--target", "97", "--json").lines
    assert (line["kept"], line["reached"]) == ("original", 100)
    (line,) = run("encode", "camera.jpg", "-o", "out.jpg", "--target-size", "6k", "--json", "--force").lines
    assert line["kept"] is None and line["reached"] <= 6000


@pytest.mark.parametrize(
    "effort", [["-q", "90"], ["--target", "80"], ["--target-size", "20k"], ["-q", "95", "--effort", "2"]]
)
def test_webp_keeps_drawings_without_loss(run, page, folder, effort):
    (line,) = run("encode", "page.png", "-o", "page.webp", "--json", *effort).lines
    assert line["kept"] in ("lossless", "near-lossless") and line["saving"] > 0.2
    if line["kept"] == "lossless":
        assert np.array_equal(pixels((folder / "page.webp").read_bytes())[:, :, :3], pixels(page.read_bytes()))
    assert line["kept"] in line["notes"][-1]


def test_other_codecs_say_that_it_would(run, page):
    assert "--codec webp takes drawings without loss" in run("encode", "page.png", "-q", "97").stderr


def test_photographs_stay_lossy(run, photo):
    (line,) = run("encode", "photo.png", "-c", "webp", "--json").lines
    assert line["kept"] is None


@pytest.mark.parametrize("how", [["--max-side", "100"], ["--scale", "0.3"]])
def test_smaller_pictures(run, photo, folder, how):
    (line,) = run("encode", "photo.png", "-o", "out.webp", *how, "--json").lines
    assert (line["width"], line["height"]) == (100, 65)
    assert Image.open(folder / "out.webp").size == (100, 65)


def test_a_smaller_picture_is_no_original(run, camera, folder):
    (line,) = run("encode", "camera.jpg", "-o", "out.jpg", "--max-side", "64", "--json").lines
    assert line["kept"] is None and (line["width"], line["height"]) == (42, 64)


def test_a_side_that_the_codec_cannot_take_may_be_made_smaller(run, folder):
    Image.new("RGB", (17000, 8), "red").save(folder / "long.png")
    run("encode", "long.png", "-c", "webp", expect=4)
    run("encode", "long.png", "-c", "webp", "--max-side", "8000", "-n", "none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--min-saving", "-1"], ["--min-saving -1", "percentage", "off"]),
        (["--min-saving", "100"], ["--min-saving 100"]),
        (["--min-saving", "some"], ["some is no percentage"]),
        (["--scale", "2"], ["--scale 2", "not enlarged"]),
        (["--scale", "0"], ["--scale 0"]),
        (["--scale", "nan"], ["--scale nan"]),
        (["--scale", "0.5", "--max-side", "10"], ["--max-side 10 and --scale 0.5 exclude"]),
        (["--max-side", "0"], ["--max-side"]),
    ],
)
def test_nonsense_is_refused(run, small, folder, arguments, words):
    ended = run("encode", "small.png", *arguments, expect=2)
    assert all(word in ended.stderr for word in words), ended.stderr
    assert list(folder.iterdir()) == [small]


def test_batches_do_not_depend_on_jobs(run, camera, page, album, folder):
    shutil.copy(camera, album / "camera.jpg")
    shutil.copy(page, album / "page.png")
    for jobs in ("1", "3"):
        run("encode", "album", "-o", jobs, "-c", "webp", "--jobs", jobs, "--max-side", "80")
    one, three = (sorted((folder / jobs).rglob("*.webp")) for jobs in ("1", "3"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in three] and len(one) == 6


def test_notes_on_what_is_kept_are_true_of_it(run, photo, folder):
    """Damage is told; what only a result would lack is not."""
    with Image.open(photo) as picture:
        picture.save(folder / "whole.jpg", quality=50, progressive=True)
        ten = np.asarray(picture.convert("L"), np.uint16)[:64, :64] * 257
    data = (folder / "whole.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(data[: data.rindex(b"\xff\xda")] + b"\xff\xd9")
    (line,) = run("encode", "half.jpg", "-o", "out.jpg", "--json").lines
    assert line["kept"] == "original" and any("last scans are missing" in note for note in line["notes"])
    Image.fromarray(ten).save(folder / "ten.png")
    run("encode", "ten.png", "-o", "ten.avif", "--bits", "10", "-q", "60")
    (line,) = run("encode", "ten.avif", "-o", "out.avif", "-q", "60", "--json").lines
    assert line["kept"] == "original" and not any("8 bits" in note for note in line["notes"])
