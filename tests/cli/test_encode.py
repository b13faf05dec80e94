"""``kcompress encode``: where results go, and what each option does."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

MAGIC = {"jpeg": b"\xff\xd8\xff", "webp": b"RIFF", "hevc": b"ftyp", "bpg": b"BPG\xfb", "avif": b"ftyp"}


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("jpeg", ".jpg"), ("webp", ".webp"), ("hevc", ".heic"), ("bpg", ".bpg"), ("avif", ".avif")],
)
def test_the_result_lies_beside_the_input(run, photo, codec, suffix):
    before = set(photo.parent.iterdir())
    ended = run("encode", photo.name, "--codec", codec)
    assert ended.stdout == b""
    assert set(photo.parent.iterdir()) - before == {photo.with_suffix(suffix)}
    data = photo.with_suffix(suffix).read_bytes()
    assert MAGIC[codec] in data[:8]
    assert len(data) < photo.stat().st_size


def test_jpeg_is_the_codec_without_any_hint(run, small):
    run("encode", "small.png")
    assert small.with_suffix(".jpg").read_bytes().startswith(MAGIC["jpeg"])


@pytest.mark.parametrize("suffix, magic", [
    (".jpg", b"\xff\xd8\xff"), (".JPEG", b"\xff\xd8\xff"), (".jfif", b"\xff\xd8\xff"), (".webp", b"RIFF"),
    (".heic", b"ftyp"), (".heif", b"ftyp"), (".hevc", b"\0\0\0\1"), (".265", b"\0\0\0\1"), (".bpg", b"BPG\xfb"),
    (".avif", b"ftyp"),
])  # fmt: skip
def test_the_suffix_of_the_output_decides(run, small, folder, suffix, magic):
    run("encode", "small.png", "-o", f"new/result{suffix}")
    assert magic in (folder / "new" / f"result{suffix}").read_bytes()[:8]


def test_a_suffix_no_codec_has_is_refused(run, small, folder):
    ended = run("encode", "small.png", "-o", "result.xyz", expect=2)
    assert ".xyz" in ended.stderr and ".webp" in ended.stderr
    assert not (folder / "result.xyz").exists()


@pytest.mark.parametrize("name", ["result.webp", "result.png"])
def test_a_codec_that_contradicts_the_suffix_is_refused(run, small, folder, name):
    ended = run("encode", "small.png", "--codec", "jpeg", "-o", name, expect=2)
    assert ".jpg" in ended.stderr
    assert not (folder / name).exists()


def test_any_other_name_is_fine_with_a_codec(run, small, folder):
    run("encode", "small.png", "--codec", "webp", "-o", "result.v2")
    assert (folder / "result.v2").read_bytes().startswith(b"RIFF")


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("codec, option", [
    ("jpeg", ["-q", "40"]), ("webp", ["-q", "40"]), ("hevc", ["-q", "40"]), ("bpg", ["-q", "40"]),
    ("jpeg", ["--network", "none"]), ("webp", ["--network", "none"]), ("jpeg", ["--strength", "0.5"]),
    ("jpeg", ["--chroma", "444"]), ("hevc", ["--chroma", "444"]), ("bpg", ["--chroma", "444"]),
    ("jpeg", ["--effort", "0"]), ("webp", ["--effort", "0"]), ("hevc", ["--effort", "0"]), ("bpg", ["--effort", "1"]),
    ("avif", ["-q", "40"]), ("avif", ["--chroma", "444"]), ("avif", ["--effort", "0"]), ("avif", ["--bits", "10"]),
    ("avif", ["--network", "shrink"]),
    ("hevc", ["--bits", "10"]), ("bpg", ["--bits", "10"]), ("hevc", ["--param", "aq-mode=0"]),
    ("bpg", ["--param", "cbqpoffs=-3", "--param", "crqpoffs = -3"]),
])  # fmt: skip
def test_an_option_changes_the_bytes(run, photo, folder, codec, option):
    run("encode", "photo.png", "--codec", codec, "-o", "plain/")
    run("encode", "photo.png", "--codec", codec, "-o", "changed/", *option)
    (plain,), (changed,) = (folder / "plain").iterdir(), (folder / "changed").iterdir()
    assert plain.read_bytes() != changed.read_bytes()


def test_strength_0_is_no_network(run, small, folder):
    run("encode", "small.png", "-o", "none.jpg", "--network", "none")
    run("encode", "small.png", "-o", "zero.jpg", "--network", "shrink", "--strength", "0")
    assert (folder / "none.jpg").read_bytes() == (folder / "zero.jpg").read_bytes()


def test_strength_of_no_network(run, small, folder):
    refused = run("encode", "small.png", "-o", "x.jpg", "--network", "none", "--strength", "0.5", expect=2)
    assert "--strength 0.5 has no meaning for --network none" in refused.stderr and not (folder / "x.jpg").exists()
    run("encode", "small.png", "-o", "both/", "--codec", "jpeg,avif", "--strength", "0.5")  # one of two has


@pytest.mark.parametrize(
    ("name", "network", "package"),
    [("pillow", "rdo-jpeg", "PIL"), ("mozjpeg", "rdo-jpeg", "pyvips"), ("jpegli", "none", "pyjpegli")],
)
def test_the_backend_can_be_chosen(run, small, folder, name, network, package):
    pytest.importorskip(package)
    (line,) = run("encode", "small.png", "--backend", name, "--json").lines
    assert line["backend"] == name
    assert line["network"] == network


@pytest.mark.parametrize(
    ("codec", "network"),
    [
        ("jpeg", "rdo-jpeg"), ("webp", "feedback-webp"), ("hevc", "feedback-hevc"), ("bpg", "feedback-hevc"),
        ("avif", "none"),
    ],
)  # fmt: skip
def test_each_codec_has_its_network(run, small, codec, network):
    (line,) = run("encode", "small.png", "--codec", codec, "--json").lines
    assert line["network"] == network


def test_metadata(run, photo, folder):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E] = "balloons"
    with Image.open(photo) as picture:
        picture.save(folder / "rich.png", icc_profile=profile, exif=exif)
    for choice, has in (("none", (False, False)), ("icc", (True, False)), ("all", (True, True))):
        run("encode", "rich.png", "-o", f"{choice}.jpg", "--metadata", choice)
        with Image.open(folder / f"{choice}.jpg") as result:
            assert ("icc_profile" in result.info, 0x010E in result.getexif()) == has


def test_transparency_needs_a_background_in_jpeg(run, small, folder):
    with Image.open(small) as picture:
        picture.putalpha(0)
        picture.save(folder / "clear.png")
    ended = run("encode", "clear.png", expect=4)
    assert "--background" in ended.stderr
    run("encode", "clear.png", "--background", "#ff0000", "-o", "red.jpg")
    red = decoded(folder / "red.jpg").reshape(-1, 3).mean(axis=0)
    assert red[0] > 250 and red[1:].max() < 5
    ended = run("encode", "clear.png", "--background", "reddish", expect=2)
    assert "reddish" in ended.stderr


def test_an_animation_needs_a_frame(run, folder):
    frames = [Image.new("L", (40, 30), level) for level in (0, 128, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    ended = run("encode", "moving.gif", expect=4)
    assert "--frame 0..2" in ended.stderr
    run("encode", "moving.gif", "--frame", "2", "-o", "last.jpg")
    assert decoded(folder / "last.jpg").mean() > 250
    run("encode", "moving.gif", "--frame", "3", "-o", "none.jpg", expect=2)


@pytest.mark.parametrize("arguments, advice", [
    (["-q", "101"], "0..100"), (["-q", "-1"], "0..100"), (["--codec", "bpg", "-q", "52"], "0..51"),
    (["--effort", "3"], "0..2"), (["--strength", "2"], "0..1"), (["--strength", "nan"], "0..1"),
    (["--network", "magic"], "shrink"), (["--backend", "magic"], "cjpeg"),
    (["--codec", "webp", "--chroma", "444"], "420"), (["--sharp-yuv"], "jpeg has no such choice"),
    (["--chroma", "999"], "420"), (["--codec", "gif"], "jpeg"),
    (["--codec", "hevc", "--bits", "12"], "8, 10"), (["--bits", "10"], "8"), (["--param", "aq-mode=1"], "jpeg has no"),
    (["--codec", "hevc", "--param", "aq-mode"], "KEY=VALUE"), (["--codec", "hevc", "--param", "=1"], "KEY=VALUE"),
    (["--codec", "hevc", "--param", "keyint=2"], "aq-mode"), (["--codec", "bpg", "--param", "aq-mode=9"], "0..4"),
    (["--jobs", "0"], "1"), (["--metadata", "some"], "icc"),
    (["--device", "tpu"], "cuda"), (["--device", "cuda:99"], "--device cpu"),
    (["--network", "shrink", "--weights", "mine.safetensors"], "--network"), (["--json", "-o", "-"], "-o FILE"),
])  # fmt: skip
def test_what_is_no_value_of_an_option_is_refused_before_any_work(run, small, folder, arguments, advice):
    ended = run("encode", "small.png", *arguments, expect=2)
    assert advice in ended.stderr
    assert (ended.stdout == b"") == ("--json" not in arguments)
    assert {path.name for path in folder.iterdir()} == {"small.png"}


def test_the_report_line(run, photo):
    (line,) = run("encode", "photo.png", "--codec", "webp", "--backend", "pillow").stderr.splitlines()
    before, after = photo.stat().st_size, photo.with_suffix(".webp").stat().st_size
    sizes = f"{before / 1e3:.3g} kB -> {after / 1e3:.3g} kB ({100 * (after / before - 1):+.1f} %)"
    assert line == f"photo.webp  {sizes}, q 75, feedback-webp" and len(line) <= 80
    told = run("encode", "photo.png", "--codec", "webp", "--backend", "pillow", "--force", "--verbose").stderr
    assert told.startswith(
        f"photo.png -> photo.webp  {sizes}, {8 * after / (333 * 217):.3f} bpp, q 75, feedback-webp 0."
    )
    assert "pillow (Pillow " in told and told.endswith(" s\n")


def test_quiet_says_nothing_but_what_failed(run, small, folder):
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    assert run("encode", "small.png", "-q", "100", "--quiet").stderr == ""
    for command in (["encode", "small.png"], ["encode", "small.png", "broken.png", "-o", "out"]):
        told = run(*command, "--quiet", expect=5 if len(command) == 2 else 1).stderr.splitlines()
        assert len(told) == 1 and told[0].startswith(("kcompress: small.jpg exists", "failed: broken.png"))


@pytest.mark.parametrize("command", ["encode", "decode"])
def test_metadata_that_was_left_out_is_said_once_with_the_option_that_keeps_it(run, small, folder, command):
    exif = Image.Exif()
    exif[0x010E] = "a lake"
    with Image.open(small) as picture:
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            picture.convert("RGB").save(folder / name, exif=exif)
    options = ["-n", "none", "--codec", "webp"] if command == "encode" else []
    told = run(command, "a.jpg", "b.jpg", "c.jpg", "-o", "one/", *options).stderr
    note = "its EXIF was left out, which --metadata all keeps"
    assert told.count(note) == 2 and f"note: 3 pictures: {note}" in told
    for kept in ("all", "none"):
        assert note not in run(command, "a.jpg", "b.jpg", "-o", f"{kept}/", "--metadata", kept, *options).stderr
    assert run("compare", "a.jpg", "b.jpg", "-m", "psnr").stderr == ""


def test_a_result_that_is_larger_is_said_so(run, small):
    run("encode", "small.png", "-q", "1", "-o", "tiny.webp")
    ended = run("encode", "tiny.webp", "-q", "100", "-o", "huge.jpg")
    assert any("larger than the input" in line for line in ended.stderr.splitlines()[1:])


@pytest.mark.parametrize(
    "name, suffix", [("jpg", "jpg"), ("JPEG", "jpg"), ("heic", "heic"), ("heif", "heic"), (".webp", "webp")]
)
def test_codecs_by_the_names_of_their_files(run, small, folder, name, suffix):
    run("encode", "small.png", "-c", name, "-n", "none", "--effort", "0")
    assert (folder / f"small.{suffix}").is_file()


@pytest.mark.parametrize("option, value, allowed", [
    ("--codec", "png", "jpeg, webp, hevc, bpg, avif"), ("--chroma", "411", "420, 444"),
    ("--metadata", "x", "icc, all, none"),
])  # fmt: skip
def test_names_that_are_not_known(run, small, option, value, allowed):
    assert f"{value} is not known. Allowed: {allowed}." in run("encode", "small.png", option, value, expect=2).stderr
